"""Segments as Parquet with one row per transition, the format of all stored experience.

`formats.columns` describes the columns. Vectors are lists of numbers; other arrays are raw bytes in C order. Shapes and
dtypes are in the metadata of the file under `serl_ray`, as JSON. A row group holds whole segments.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from serl_ray.data.errors import listed, warn_once
from serl_ray.data.formats.arrays import to_arrow, to_numpy
from serl_ray.data.formats.columns import (
    OPTIONAL,
    check_columns,
    columns_in,
    empty_places,
    from_optional,
    needed_columns,
    to_optional,
)
from serl_ray.data.formats.layout import METADATA_KEY, Layout
from serl_ray.data.observations import Keep, keep_all
from serl_ray.data.schema import SCALAR_FIELDS, Part, Segment
from serl_ray.files.tables import open_parquet, read_group
from serl_ray.types import ActionScale

TRUNK_KEY, SCALE_KEY = b"serl_ray.trunk", b"serl_ray.action_scale"
SHARD_BYTES = 256 * 2**20
"""Observation bytes, before compression, after which a new shard is started."""
SEGMENTS_A_GROUP = 64
"""Number of segments in a row group of `write_segments`, because they may be short."""


def write_shards(folder: str | os.PathLike[str], segments: Iterable[Segment], scale: ActionScale | None = None) -> None:
    """Writes segments of one layout as `shard-00000.parquet`, ... into an existing folder.

    Args:
        folder: the folder.
        segments: the segments.
        scale: scale by which the actions were mapped to [-1, 1], to be stored; None if they were not.
    """
    stored = {SCALE_KEY: scale.to_json()} if scale else {}
    writer: pq.ParquetWriter | None = None
    layout: Layout | None = None
    num_shards = written = 0
    try:
        for segment in segments:
            table = _to_table(segment, layout := _same_layout(layout, segment), stored)
            if writer is None or written > SHARD_BYTES:
                if writer is not None:
                    writer.close()
                writer = _open_shard(Path(folder) / f"shard-{num_shards:05d}.parquet", table.schema)
                num_shards, written = num_shards + 1, 0
            writer.write_table(table, row_group_size=len(segment))
            written += sum(rows.nbytes for rows in segment.observations.values())
    finally:
        if writer is not None:
            writer.close()
    if layout is None:
        raise ValueError(f"{folder}: there is no segment to write.")


def write_segments(
    path: str | os.PathLike[str],
    segments: Sequence[Segment],
    trunk: str | None = None,
    scale: ActionScale | None = None,
) -> None:
    """Writes segments of one layout to a Parquet file.

    Args:
        path: path of the file.
        segments: the segments, at least one.
        trunk: fingerprint of the trunk that made stored maps; None for images.
        scale: scale of the actions, as for `write_shards`.
    """
    layout = Layout.of(segments[0])
    stored = ({TRUNK_KEY: trunk} if trunk else {}) | ({SCALE_KEY: scale.to_json()} if scale else {})
    tables = [_to_table(segment, _same_layout(layout, segment), stored) for segment in segments]
    with _open_shard(Path(path), tables[0].schema) as writer:
        for first in range(0, len(tables), SEGMENTS_A_GROUP):
            group = pa.concat_tables(tables[first : first + SEGMENTS_A_GROUP])
            writer.write_table(group, row_group_size=len(group))


def trunk_of(path: str | os.PathLike[str]) -> str | None:
    """The fingerprint of the trunk that made the maps in a file; None for a file without maps."""
    trunk = _stored(path, TRUNK_KEY)
    return None if trunk is None else trunk.decode(errors="replace")


def scale_of(path: str | os.PathLike[str]) -> ActionScale | None:
    """The scale by which the actions in a file were mapped to [-1, 1]; None if they were not.

    Raises:
        ValueError: the scale is damaged.
    """
    scale = _stored(path, SCALE_KEY)
    try:
        return None if scale is None else ActionScale.from_json(scale)
    except ValueError as error:
        raise ValueError(f"{path}: {error}. Copy the file again.") from error


def _stored(path: str | os.PathLike[str], key: bytes) -> bytes | None:
    with open_parquet(str(path)) as file:
        value: bytes | None = (file.schema_arrow.metadata or {}).get(key)
    return value


def write_episode(folder: str | os.PathLike[str], segment: Segment, scale: ActionScale | None = None) -> None:
    """Writes one episode to its own Parquet file, `EPISODE.parquet`, in a folder that several processes may share.

    Args:
        folder: the folder, which is made if it is missing.
        segment: the episode.
        scale: scale of its actions, as for `write_shards`.

    Raises:
        ValueError: the name of the episode leads out of the folder.
    """
    folder, name = Path(folder), f"{segment.episode}.parquet"
    if Path(name).name != name:
        raise ValueError(f"{folder}: episode {segment.episode!r} cannot be written there, because its name is a path.")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".episode.", dir=folder) as beside:
        write_shards(beside, [segment], scale)
        [shard] = Path(beside).iterdir()
        shard.rename(folder / name)


def read_segments(path: str | os.PathLike[str], keys: Collection[str] | None = None) -> Iterator[Segment]:
    """The segments of one Parquet file in order, with the observations in `keys` (by default all)."""
    for read in read_parts(path, keep_all if keys is None else lambda _: keys):
        for _, segment in read():
            yield segment


def read_parts(path: str | os.PathLike[str], keep: Keep = keep_all) -> Iterator[Part]:
    """The segments of one Parquet file with the observations to keep, to be read one by one.

    Raises:
        ValueError: the file as a whole does not fit. Errors of a segment are raised by its part.
    """
    with open_parquet(str(path)) as file:
        layout = Layout.from_file(file, str(path))
        keys = keep(layout.observations)
        if missing := sorted(set(keys) - set(layout.observations)):
            raise ValueError(
                f"{path}: no observations {', '.join(missing)}; the file has {', '.join(layout.observations)}."
            )
        kept = {key: spec for key, spec in layout.observations.items() if key in keys}
        known = columns_in(file.schema_arrow, layout)
        if unused := [name for name in file.schema_arrow.names if name not in known]:
            warn_once(f"{path}: columns that are not used: {listed(unused)}.")
        layout = Layout(kept, layout.action_dim)
        check_columns(file.schema_arrow, layout, str(path))
        first_row = 0
        for group in range(file.num_row_groups):
            yield from _group_parts(file, group, layout, str(path), first_row)
            first_row += file.metadata.row_group(group).num_rows


def _group_parts(file: pq.ParquetFile, group: int, layout: Layout, path: str, first_row: int) -> Iterator[Part]:
    """The segments of a row group; for an unreadable group, a part that raises its error."""
    where = f"{path}: row {first_row}"
    try:
        table = read_group(file, group, columns_in(file.schema_arrow, layout), where).combine_chunks()
        stops = _stops(table, layout, where)
    except (ValueError, pa.ArrowException) as error:
        yield partial(_raise, where, error)
        return
    for start, stop in zip([0, *stops[:-1]], stops, strict=True):
        yield partial(_read_part, table.slice(start, stop - start), layout, path, first_row + int(start))


def _read_part(table: pa.Table, layout: Layout, path: str, first_row: int) -> list[tuple[int, Segment]]:
    return [(first_row, _to_segment(table, layout, f"{path}: row {first_row}"))]


def _raise(where: str, error: Exception) -> list[tuple[int, Segment]]:
    if where in str(error):
        raise error
    raise ValueError(f"{where}: its row group cannot be read ({error}). Copy the file again.") from error


def _same_layout(layout: Layout | None, segment: Segment) -> Layout:
    found = Layout.of(segment)
    if layout is not None and layout != found:
        raise ValueError(
            f"Episode {segment.episode!r} has the layout {found.to_json()}, the episodes before it {layout.to_json()}."
        )
    return found


def _open_shard(path: Path, schema: pa.Schema) -> pq.ParquetWriter:
    """A writer with checksums, and without dictionaries and statistics of observation columns."""
    indexed = [name for name in schema.names if "observations." not in name]
    return pq.ParquetWriter(
        path,
        schema,
        compression="zstd",
        use_dictionary=["episode", "source"],
        write_statistics=indexed,
        write_page_checksum=True,
    )


def _to_table(segment: Segment, layout: Layout, stored: Mapping[bytes, str]) -> pa.Table:
    """The rows of a segment, with `stored` in the metadata beside the layout."""
    n = len(segment)
    columns: dict[str, pa.Array] = {
        "episode": pa.array([segment.episode] * n, pa.string()),
        "step": pa.array(np.arange(segment.first_step, segment.first_step + n)),
    }
    for key, spec in layout.observations.items():
        rows = to_arrow(segment.observations[key], spec)
        columns[f"observations.{key}"] = rows[:n]
        columns[f"final_observations.{key}"] = pa.concat_arrays([pa.nulls(n - 1, rows.type), rows[n:]])
    columns["actions"] = to_arrow(segment.actions, layout.actions)
    for field, dtype in SCALAR_FIELDS.items():
        columns[field] = pa.array(getattr(segment, field), pa.from_numpy_dtype(dtype))
    columns |= to_optional(segment, layout.actions)
    return (
        pa.table(columns)
        .select([*needed_columns(layout), *OPTIONAL])
        .replace_schema_metadata({METADATA_KEY: layout.to_json(), **stored})
    )


def _stops(table: pa.Table, layout: Layout, where: str) -> np.ndarray:
    """Row numbers at which to cut a row group: after each row with a final observation."""
    finals = {key: table.column(f"final_observations.{key}").combine_chunks() for key in layout.observations}
    is_last = np.logical_and.reduce([final.is_valid().to_numpy(zero_copy_only=False) for final in finals.values()])
    stops = np.flatnonzero(is_last) + 1
    if not len(stops) or stops[-1] != len(table):
        raise ValueError(
            f"{where}: its row group of {len(table)} rows ends without final observations. Keep row groups whole."
        )
    return stops


def _to_segment(table: pa.Table, layout: Layout, where: str) -> Segment:
    n = len(table)
    steps = table.column("step").to_numpy()
    episodes = table.column("episode").unique().to_pylist()
    if len(episodes) > 1 or (np.diff(steps) != 1).any():
        raise ValueError(
            f"{where}: a segment mixes episodes {episodes[:3]} or skips steps. Keep its rows together and in order."
        )
    for name in needed_columns(layout):
        if not name.startswith("final_") and table.column(name).null_count:
            raise empty_places(where, name)
    observations = {}
    for key, spec in layout.observations.items():
        name, final_name = f"observations.{key}", f"final_observations.{key}"
        rows = to_numpy(table.column(name), spec, f"{where}: column {name}")
        final = to_numpy(table.column(final_name).slice(n - 1), spec, f"{where}: column {final_name}")
        observations[key] = np.concatenate([rows, final])
    columns: dict[str, Any] = {field: table.column(field).to_numpy() for field in SCALAR_FIELDS}
    actions = to_numpy(table.column("actions"), layout.actions, f"{where}: column actions")
    columns |= from_optional(table, layout.actions, where)
    return Segment(observations=observations, actions=actions, episode=episodes[0], first_step=int(steps[0]), **columns)
