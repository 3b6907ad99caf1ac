"""Demonstrations in and out: HIL-SERL pickles and Parquet shards, read in parallel by Ray Data and checked where they enter."""

from __future__ import annotations

import glob
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import ray.data

from serl_ray.data.hil_serl import DemoError, demo_error, read_pickle_segments, write_pickle
from serl_ray.data.parquet import read_segments, write_shards
from serl_ray.data.reading import plain_errors
from serl_ray.data.schema import TRANSITION_FIELDS, ArraySpec, Segment

PICKLES = (".pkl", ".pickle")
PARQUET = ".parquet"
ACTION_TOLERANCE = 1e-6
"""How far float arithmetic may carry an action out of [-1, 1]."""

Select = Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]
"""Makes what the agent sees, (n + 1, ...) by key, of what was recorded; such as a partial `select_observations`."""


def write_demos(path: str | os.PathLike[str], segments: Iterable[Segment]) -> None:
    """Write segments to a HIL-SERL pickle where `path` ends in .pkl or .pickle, else to a folder of Parquet shards.

    What is written appears under its name only when it is complete, and nothing that exists is overwritten.
    """
    path = Path(path)
    if path.exists():
        raise FileExistsError(f"{path} exists already. Choose another name, or delete it first.")
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        is_pickle = path.suffix in PICKLES
        target = beside / path.name
        if is_pickle:
            write_pickle(target, segments)
        else:
            target.mkdir()
            write_shards(target, segments)
        target.rename(path)
    finally:
        shutil.rmtree(beside)


def read_demos(
    paths: str | Sequence[str],
    observation_spec: Mapping[str, ArraySpec] | None = None,
    action_dim: int | None = None,
    select: Select | None = None,
) -> ray.data.Dataset:
    """A lazy dataset whose rows are segments, one read task a file, in the order of `paths` and then of file names.

    Args:
        paths: files, folders of files, or patterns such as `demos/*.pkl`; every worker must see them under these names.
        observation_spec: the observation keys to keep, with their shapes and dtypes; by default all, as they are.
        action_dim: length of an env action; by default what each file has.
        select: applied to the observations of each segment; `observation_spec` is then of its results.

    Raises:
        FileNotFoundError: there is no demonstration file at one of `paths`.
        DemoError: a file does not fit; raised by `segments` as the data are read.
    """
    files = find_files(paths)
    dataset = ray.data.from_items([{"path": file} for file in files], override_num_blocks=len(files))
    dataset.context.execution_options.preserve_order = True
    return dataset.flat_map(partial(_read_rows, observation_spec=observation_spec, action_dim=action_dim, select=select))


def segments(dataset: ray.data.Dataset) -> Iterator[Segment]:
    """The segments of a dataset from `read_demos`, as they arrive."""
    with plain_errors(DemoError):
        for row in dataset.iter_rows():
            yield _from_row(row)


def find_files(paths: str | Sequence[str]) -> list[str]:
    """The demonstration files that `paths` stand for."""
    files: list[str] = []
    for path in [paths] if isinstance(paths, str | os.PathLike) else paths:
        pattern = os.path.join(glob.escape(path), "*") if os.path.isdir(path) else path
        found = [path] if os.path.isfile(path) else sorted(glob.glob(pattern, recursive=True))
        found = [os.path.abspath(file) for file in found if file.endswith((*PICKLES, PARQUET))]
        if not found:
            raise FileNotFoundError(
                f"{path}: no demonstrations there. Give .pkl or .parquet files, a folder that has some, or a pattern."
            )
        files += found
    return files


def read_file(
    path: str,
    observation_spec: Mapping[str, ArraySpec] | None = None,
    action_dim: int | None = None,
    select: Select | None = None,
) -> Iterator[Segment]:
    """The checked segments of one file, without Ray; arguments as of `read_demos`."""
    recorded_spec = observation_spec if select is None else None
    try:
        for first_transition, segment in _read_numbered(path, recorded_spec):
            if select is not None:
                segment = replace(segment, observations=select(segment.observations))
            _validate(path, first_transition, segment, observation_spec, action_dim)
            yield segment
    except DemoError:
        raise
    except ValueError as error:
        raise DemoError(str(error) if path in str(error) else f"{path}: {error}") from error


def _read_numbered(path: str, observation_spec: Mapping[str, ArraySpec] | None) -> Iterator[tuple[int, Segment]]:
    """Segments, each with the number of its first transition in the file."""
    if path.endswith(PICKLES):
        yield from read_pickle_segments(path, observation_spec)
        return
    first_transition = 0
    for segment in read_segments(path, observation_spec):
        yield first_transition, segment
        first_transition += len(segment)


def _validate(
    path: str, first: int, segment: Segment, observation_spec: Mapping[str, ArraySpec] | None, action_dim: int | None
) -> None:
    """Raise a `DemoError` for the first thing that no training should see."""
    for key, spec in (observation_spec or {}).items():
        found = segment.observation_spec.get(key, f"only {', '.join(segment.observations)}")
        if found != spec:
            raise demo_error(path, first, f"observations[{key!r}]", str(spec), str(found))
    if action_dim not in (None, segment.actions.shape[1]):
        expected = f"{action_dim} numbers, the action space of the env"
        raise demo_error(path, first, "actions", expected, str(segment.actions.shape[1]))
    is_outside = ~(np.abs(segment.actions) <= 1 + ACTION_TOLERANCE)
    if is_outside.any():
        t, dim = np.argwhere(is_outside)[0]
        raise demo_error(path, first + t, f"actions[{dim}]", "a number in [-1, 1]", str(segment.actions[t, dim]))
    for key, rows in segment.observations.items():
        _check_finite(path, first, f"observations[{key!r}]", rows)
    for field in ("rewards", "masks", "grasp_penalty"):
        _check_finite(path, first, field, getattr(segment, field))


def _check_finite(path: str, first: int, key: str, rows: np.ndarray) -> None:
    if rows.dtype.kind == "f" and not np.isfinite(rows).all():
        where = tuple(np.argwhere(~np.isfinite(rows))[0])
        raise demo_error(path, first + where[0], key, "finite numbers", str(rows[where]))


def _read_rows(item: dict[str, Any], **options: Any) -> Iterator[dict[str, Any]]:
    return map(_to_row, read_file(item["path"], **options))


def _to_row(segment: Segment) -> dict[str, Any]:
    """A segment as flat columns, for Ray Data."""
    frames = {f"observations.{key}": rows for key, rows in segment.observations.items()}
    columns = {field: getattr(segment, field) for field in TRANSITION_FIELDS}
    return {"episode": segment.episode, "first_step": segment.first_step, **frames, **columns}


def _from_row(row: dict[str, Any]) -> Segment:
    prefix = "observations."
    observations = {name.removeprefix(prefix): rows for name, rows in row.items() if name.startswith(prefix)}
    return Segment(observations=observations, **{name: value for name, value in row.items() if not name.startswith(prefix)})
