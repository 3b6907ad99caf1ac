"""Columns of a Parquet file of segments, one row per transition.

Every file has `episode, step, actions, rewards, masks, dones, truncateds, grasp_penalty, intervened`, and for each
observation key `observations.<key>` (the policy's input at this step) and `final_observations.<key>` (the observation
after the step, null except in the last row of a segment).

Optional columns are null where nothing is known, and missing in files of older releases. `success` is `info["success"]`
of the last row of a segment, and null in all others. `policy_actions`, `intervention` and `source` are the `Actors` of
a segment, in all of its rows or in none.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from serl_ray.data.formats.arrays import holds, to_arrow, to_numpy
from serl_ray.data.formats.layout import Layout
from serl_ray.data.schema import TRANSITION_FIELDS, Actors, ArraySpec, Segment

SUCCESS_COLUMN = "success"
ACTORS = ("policy_actions", "intervention", "source")
OPTIONAL = (SUCCESS_COLUMN, *ACTORS)


def columns_in(schema: pa.Schema, layout: Layout) -> list[str]:
    """The columns to read from a file: those that every file has, and the optional ones in this file."""
    success = [SUCCESS_COLUMN] if SUCCESS_COLUMN in schema.names else []
    actors = ACTORS if ACTORS[0] in schema.names else ()
    return [*needed_columns(layout), *success, *actors]


def needed_columns(layout: Layout) -> list[str]:
    """The columns that every file of this layout has."""
    observations = [
        f"{prefix}.{key}" for prefix in ("observations", "final_observations") for key in layout.observations
    ]
    return ["episode", "step", *observations, *TRANSITION_FIELDS]


def check_columns(schema: pa.Schema, layout: Layout, path: str) -> None:
    """Raises ValueError for a column that is missing or has another type than in the layout."""
    arrays = {"actions": layout.actions, "policy_actions": layout.actions}
    for prefix in ("observations", "final_observations"):
        arrays |= {f"{prefix}.{key}": spec for key, spec in layout.observations.items()}
    if not layout.observations or layout.action_dim < 1:
        raise ValueError(f"{path}: no observations or no actions in it. Record the demonstrations again.")
    for name in columns_in(schema, layout):
        found = schema.field(name).type if schema.names.count(name) == 1 else None
        fits, expected = (holds(found, arrays[name]), str(arrays[name])) if name in arrays else _fit(name, found)
        if not fits:
            raise ValueError(
                f"{path}: column {name}: expected {expected}, found {found or 'none'}. Copy the file again."
            )


def _fit(name: str, found: pa.DataType | None) -> tuple[bool, str]:
    """The fit of a column without arrays: true if its type can be read, and a word for what it should hold."""
    if name in ("episode", "source"):
        return found in (pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())), "strings"
    if name == SUCCESS_COLUMN:
        return found == pa.bool_(), "booleans"
    if name == "intervention":
        return found == pa.int32(), "int32"
    return found is not None and pa.types.is_primitive(found) and not pa.types.is_temporal(found), "numbers"


def to_optional(segment: Segment, spec: ArraySpec) -> dict[str, pa.Array]:
    """The optional columns of a segment, whose actions have this spec."""
    n, actors = len(segment), segment.actors
    success = pa.array([None] * (n - 1) + [segment.success], pa.bool_())
    if actors is None:
        kinds = (pa.list_(pa.float32(), spec.shape[0]), pa.int32(), pa.string())
        return {SUCCESS_COLUMN: success, **{name: pa.nulls(n, kind) for name, kind in zip(ACTORS, kinds, strict=True)}}
    sources = pa.array(actors.sources, pa.string())
    columns = (to_arrow(actors.policy_actions, spec), pa.array(actors.interventions), sources)
    return {SUCCESS_COLUMN: success, **dict(zip(ACTORS, columns, strict=True))}


def from_optional(table: pa.Table, spec: ArraySpec, where: str) -> dict[str, Any]:
    """The success and the actors of the segment whose rows are in `table`; `where` names it in errors."""
    there = table.column_names
    success = table.column(SUCCESS_COLUMN)[-1].as_py() if SUCCESS_COLUMN in there else None
    columns = [table.column(name) for name in ACTORS] if ACTORS[0] in there else []
    nulls = [column.null_count for column in columns]
    if all(count == len(table) for count in nulls):
        return {"success": success, "actors": None}
    if any(nulls):
        raise empty_places(where, next(name for name, count in zip(ACTORS, nulls, strict=True) if count))
    actions, interventions, sources = columns
    policy_actions = to_numpy(actions, spec, f"{where}: column {ACTORS[0]}")
    return {"success": success, "actors": Actors(policy_actions, interventions.to_numpy(), sources.to_numpy())}


def empty_places(where: str, name: str) -> ValueError:
    """The error for a column with nulls among its values."""
    return ValueError(f"{where}: column {name} has empty places. Record the episode again, or leave it out.")
