"""Demonstrations in and out: pickles, Parquet shards and LeRobot data sets, read in parallel and checked where they enter."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import ray.data

from serl_ray.data.formats.hil_serl import DemoError, demo_error, read_pickle_parts, write_pickle
from serl_ray.data.formats.lerobot.folder import LeRobotFolder, folder_of, is_lerobot
from serl_ray.data.formats.lerobot.reader import AS_RECORDED, LeRobotOptions, read_lerobot_parts
from serl_ray.data.formats.parquet import VERSION, read_parts, write_shards
from serl_ray.data.reading import plain_errors, warn_dropped
from serl_ray.data.schema import ACTION_TOLERANCE, TRANSITION_FIELDS, ArraySpec, Part, Segment
from serl_ray.files.uris import expand, suffix

PICKLES = (".pkl", ".pickle")
PARQUET = ".parquet"

Select = Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]
"""Makes what the agent sees, (n + 1, ...) by key, of what was recorded; such as a partial `select_observations`."""
OnBad = Callable[[DemoError], None]
"""What becomes of a bad episode or file: it raises, or notes the error, and reading goes on behind what was bad."""


def write_demos(path: str | os.PathLike[str], segments: Iterable[Segment]) -> None:
    """Write segments to a HIL-SERL pickle where `path` ends in .pkl or .pickle, else to a folder of Parquet shards.

    What is written appears under its name only when it is complete, and nothing that exists is overwritten.
    """
    with completed(path) as target:
        if target.suffix in PICKLES:
            write_pickle(target, segments)
        else:
            target.mkdir()
            write_shards(target, segments)


@contextmanager
def completed(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A name to write a file or folder under, which becomes `path` once the block has ended well.

    Raises:
        FileExistsError: there is something at `path`.
    """
    path = Path(path)
    if path.exists():
        raise FileExistsError(f"{path} exists already. Choose another name, or delete it first.")
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        yield beside / path.name
        (beside / path.name).rename(path)
    finally:
        shutil.rmtree(beside)


def read_demos(
    paths: str | Sequence[str],
    observation_spec: Mapping[str, ArraySpec] | None = None,
    action_dim: int | None = None,
    select: Select | None = None,
    skip_bad: bool = False,
) -> ray.data.Dataset:
    """A lazy dataset whose rows are segments, one read task a file, in the order of `paths` and then of file names.

    Args:
        paths: files, folders of files, LeRobot folders, patterns such as `demos/*.pkl`, or URIs of these such as
            `s3://bucket/demos`; every worker must see them under these names.
        observation_spec: the observation keys to keep, with their shapes and dtypes; by default all, as they are.
        action_dim: length of an env action; by default what each file has.
        select: applied to the observations of each segment; `observation_spec` is then of its results.
        skip_bad: drop episodes that do not fit, and files that cannot be read, in place of raising; `segments` counts them.

    Raises:
        FileNotFoundError: there is no demonstration file at one of `paths`.
        DemoError: a file does not fit; raised by `segments` as the data are read.
    """
    files = find_files(paths)
    dataset = ray.data.from_items([{"path": file} for file in files], override_num_blocks=len(files))
    dataset.context.execution_options.preserve_order = True
    options = {"observation_spec": observation_spec, "action_dim": action_dim, "select": select}
    return dataset.flat_map(partial(_read_rows, skip_bad=skip_bad, **options))


def segments(dataset: ray.data.Dataset) -> Iterator[Segment]:
    """The segments of a dataset from `read_demos`, as they arrive.

    Where it was told to skip what is bad, a warning at the end counts it.

    Raises:
        DemoError: a file does not fit, or nothing is left of what was skipped.
    """
    errors: list[str] = []
    num_good = 0
    with plain_errors(DemoError):
        for row in dataset.iter_rows():
            errors += row.pop("errors", ())
            if row.get("episode") is not None:
                num_good += 1
                yield _from_row(row)
    warn_dropped(errors, num_good)


def find_files(paths: str | Sequence[str]) -> list[str]:
    """The demonstration files that `paths` stand for; of a LeRobot folder those that its meta data name."""
    files: list[str] = []
    for path in [paths] if isinstance(paths, str | os.PathLike) else paths:
        found = [file for name in ([path] if is_lerobot(path) else expand(path)) for file in _files_of(name)]
        if not found:
            raise FileNotFoundError(
                f"{path}: no demonstrations there. Give .pkl or .parquet files, a folder that has some, a LeRobot folder, "
                "or a pattern."
            )
        files += found
    return files


def _files_of(name: str) -> list[str]:
    if suffix(name) in (*PICKLES, PARQUET):
        return [name]
    return LeRobotFolder.open(name).data_files() if is_lerobot(name) else []


def format_of(file: str) -> str:
    """The format of a demonstration file, with its version, in words."""
    if suffix(file) in PICKLES:
        return "HIL-SERL pickle"
    folder = folder_of(file)
    return f"Parquet version {VERSION}" if folder is None else f"LeRobot {folder.version}"


def raise_bad(error: DemoError) -> None:
    """The `OnBad` that ends the reading."""
    raise error


def read_file(
    path: str,
    observation_spec: Mapping[str, ArraySpec] | None = None,
    action_dim: int | None = None,
    select: Select | None = None,
    on_bad: OnBad = raise_bad,
    lerobot: LeRobotOptions = AS_RECORDED,
) -> Iterator[Segment]:
    """The checked segments of one file, without Ray.

    Args:
        path: a file, as `find_files` finds it.
        observation_spec: as of `read_demos`, and so are `action_dim` and `select`.
        action_dim: see there.
        select: see there.
        on_bad: takes the error of an episode that does not fit or of a file that cannot be read; by default raises it.
        lerobot: how to read LeRobot data sets.
    """
    recorded_spec = observation_spec if select is None else None
    with _handing(path, on_bad):
        for read in _parts(path, recorded_spec, lerobot):
            with _handing(path, on_bad):
                yield from [_checked(path, first, segment, observation_spec, action_dim, select) for first, segment in read()]


def _checked(
    path: str,
    first: int,
    segment: Segment,
    observation_spec: Mapping[str, ArraySpec] | None,
    action_dim: int | None,
    select: Select | None,
) -> Segment:
    """What the agent sees of a segment, the transitions of which are numbered from `first`."""
    if select is not None:
        segment = replace(segment, observations=select(segment.observations))
    _validate(path, first, segment, observation_spec, action_dim)
    return segment


@contextmanager
def _handing(path: str, on_bad: OnBad) -> Iterator[None]:
    """Hands what goes wrong in the block to `on_bad`, with the name of the file."""
    try:
        yield
    except (ValueError, OSError, pa.ArrowException) as error:
        if isinstance(error, DemoError):
            on_bad(error)
        else:
            named = DemoError(str(error) if path in str(error) else f"{path}: {error}")
            named.__cause__ = error
            on_bad(named)


def _parts(path: str, observation_spec: Mapping[str, ArraySpec] | None, lerobot: LeRobotOptions) -> Iterator[Part]:
    if suffix(path) in PICKLES:
        return read_pickle_parts(path, observation_spec)
    folder = folder_of(path)
    return read_parts(path, observation_spec) if folder is None else read_lerobot_parts(folder, path, observation_spec, lerobot)


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


def _read_rows(item: dict[str, Any], skip_bad: bool, **options: Any) -> Iterator[dict[str, Any]]:
    """The rows of one file. What was skipped goes with the last of them, or alone where no segment is left."""
    if not skip_bad:
        yield from map(_to_row, read_file(item["path"], **options))
        return
    errors: list[DemoError] = []
    row: dict[str, Any] = {}
    for segment in read_file(item["path"], on_bad=errors.append, **options):
        if row:
            yield {**row, "errors": []}
        row = _to_row(segment)
    if row or errors:
        yield {**row, "errors": [str(error) for error in errors]}


def _to_row(segment: Segment) -> dict[str, Any]:
    """A segment as flat columns, for Ray Data."""
    frames = {f"observations.{key}": rows for key, rows in segment.observations.items()}
    columns = {field: getattr(segment, field) for field in TRANSITION_FIELDS}
    return {"episode": segment.episode, "first_step": segment.first_step, **frames, **columns}


def _from_row(row: dict[str, Any]) -> Segment:
    prefix = "observations."
    observations = {name.removeprefix(prefix): rows for name, rows in row.items() if name.startswith(prefix)}
    return Segment(observations=observations, **{name: value for name, value in row.items() if not name.startswith(prefix)})
