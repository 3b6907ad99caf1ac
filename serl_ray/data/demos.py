"""Reading and writing of demonstrations: pickles, Parquet shards and LeRobot data sets."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import ray.data

from serl_ray.data.beside import unread_data, warn_of_unread
from serl_ray.data.checks import DemoChecks
from serl_ray.data.errors import DemoError, ShortEpisode, warn_once
from serl_ray.data.formats.hil_serl import read_first_transition, read_pickle_parts, write_pickle
from serl_ray.data.formats.lerobot.folder import LeRobotFolder, folder_of, is_lerobot
from serl_ray.data.formats.lerobot.reader import AS_RECORDED, LeRobotOptions, read_lerobot_parts
from serl_ray.data.formats.parquet import read_parts, write_shards
from serl_ray.data.formats.pickle_unread import warn_of_fields
from serl_ray.data.observations import Keep, Selection, keep_all
from serl_ray.data.reading import plain_errors, warn_dropped
from serl_ray.data.schema import TRANSITION_FIELDS, ArraySpec, Part, Segment
from serl_ray.data.validation import check_axes, check_segment
from serl_ray.files.paths import PICKLES
from serl_ray.files.uris import expand, suffix

logger = logging.getLogger(__name__)

ZIPPED = ".gz"
PARQUET = ".parquet"

Encode = Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]
"""Function from selected observations (n + 1, ...) by key to those that are stored, such as a partial `encode_demo`."""
OnBad = Callable[[DemoError], None]
"""Handler for a bad episode or file. Unless it raises, reading continues after the bad part."""


def write_demos(path: str | os.PathLike[str], segments: Iterable[Segment]) -> None:
    """Writes segments to a HIL-SERL pickle if `path` ends in .pkl or .pickle, else to a folder of Parquet shards.

    The result appears at `path` only when it is complete, and nothing is overwritten.
    """
    with completed(path) as target:
        if target.suffix in PICKLES:
            write_pickle(target, segments)
        else:
            target.mkdir()
            write_shards(target, segments)


def is_pickle(file: str | os.PathLike[str]) -> bool:
    """True for the name of a pickle, also of one that is compressed, such as demos.pkl.gz."""
    return suffix(file) in PICKLES or (suffix(file) == ZIPPED and suffix(str(file).removesuffix(ZIPPED)) in PICKLES)


@contextmanager
def completed(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary name for a file or folder, which is renamed to `path` when the block ends without an error.

    Raises:
        FileExistsError: `path` exists.
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
    select: Selection | None = None,
    encode: Encode | None = None,
    skip_bad: bool = False,
) -> ray.data.Dataset:
    """A lazy dataset of segments, in the order of `paths` and of file names, with one read task per file.

    Args:
        paths: demonstrations, as for `find_files`.
        observation_spec: shapes and types that the stored observations must have; None for those of the first.
        action_dim: numbers that an action must have; None for those of the first.
        select: the agent's part of the observations, the rest of which is not read; None for all of them as they are.
        encode: change of the selected observations before they are stored; None for none.
        skip_bad: whether bad episodes are counted and left out, in place of an error.
    """
    files = find_files(paths)
    dataset = ray.data.from_items([{"path": file} for file in files], override_num_blocks=len(files))
    dataset.context.execution_options.preserve_order = True
    read = partial(
        _read_rows,
        skip_bad=skip_bad,
        observation_spec=observation_spec,
        action_dim=action_dim,
        select=select,
        encode=encode,
    )
    return dataset.flat_map(read)


def segments(dataset: ray.data.Dataset, checks: DemoChecks | None = None) -> Iterator[Segment]:
    """The segments of a dataset from `read_demos`, as they arrive; a warning at the end counts the episodes that were
    left out.

    Args:
        dataset: the dataset.
        checks: checks that see each segment; what is odd about all of them is a warning at the end, too.

    Raises:
        DemoError: a file does not fit, or all episodes were skipped.
    """
    errors: list[str] = []
    num_good = 0
    with plain_errors(DemoError):
        for row in dataset.iter_rows():
            errors += row.pop("errors", ())
            if row.get("episode") is not None:
                num_good += 1
                segment = _from_row(row)
                if checks is not None:
                    checks.add(segment)
                yield segment
    warn_dropped(errors, num_good)
    for oddity in checks.warnings() if checks is not None else ():
        logger.warning("Demonstrations: %s", oddity)


def find_files(paths: str | Sequence[str]) -> list[str]:
    """The demonstration files at `paths`; for a LeRobot folder, the files named in its metadata."""
    files: list[str] = []
    for path in [paths] if isinstance(paths, str | os.PathLike) else paths:
        found = {name: _files_of(name) for name in ([path] if is_lerobot(path) else expand(path))}
        others = unread_data(name for name, inside in found.items() if not inside)
        if not any(found.values()):
            raise FileNotFoundError(
                f"{path or repr(path)}: no demonstrations there{others and f', only {others}'}. Give .pkl or .parquet "
                "files, a folder that has some, a LeRobot folder, or a pattern."
            )
        warn_of_unread(path, others)
        files += [file for inside in found.values() for file in inside]
    if twice := [file for file, count in Counter(files).items() if count > 1]:
        warn_once(f"{twice[0]} is named twice, and read once ({len(twice)} files are).")
    return list(dict.fromkeys(files))


def _files_of(name: str) -> list[str]:
    if is_pickle(name) or suffix(name) == PARQUET:
        return [name]
    return LeRobotFolder.open(name).data_files() if is_lerobot(name) else []


def raise_bad(error: DemoError) -> None:
    """Raises the error; the `OnBad` that ends reading. An episode that is too short is a warning."""
    if not isinstance(error, ShortEpisode):
        raise error
    logger.warning("%s It is left out.", error)


def note_bad(errors: list[DemoError], skip_bad: bool) -> OnBad:
    """The `OnBad` that adds an error to a list, and raises it unless bad episodes, or only too short ones, are
    skipped."""

    def note(error: DemoError) -> None:
        if not skip_bad and not isinstance(error, ShortEpisode):
            raise error
        errors.append(error)

    return note


def read_file(
    path: str,
    observation_spec: Mapping[str, ArraySpec] | None = None,
    action_dim: int | None = None,
    select: Selection | None = None,
    encode: Encode | None = None,
    on_bad: OnBad = raise_bad,
    lerobot: LeRobotOptions = AS_RECORDED,
    change: Callable[[Segment], Segment] | None = None,
) -> Iterator[Segment]:
    """The checked segments of one file, without Ray.

    Args:
        path: path of a file from `find_files`.
        observation_spec, action_dim, select, encode: arguments of `read_demos`.
        on_bad: handler for the error of a bad episode or an unreadable file; by default it is raised.
        lerobot: options of LeRobot data sets.
        change: function of a segment that is called before it is checked; None for none.
    """
    keep: Keep = (lambda keys: observation_spec or keys) if select is None else select.used
    with _errors_to(on_bad, path):
        for read in _parts(path, keep, observation_spec if select is None else None, lerobot):
            with _errors_to(on_bad, path):
                found = []
                for first, segment in read():
                    if select is not None:
                        segment = _selected(path, first, segment, select, encode)
                    segment = change(segment) if change else segment
                    check_segment(path, first, segment, observation_spec, action_dim)
                    found.append(segment)
                if not found:
                    raise ShortEpisode(f"{path}: an episode of one frame, with no observation after its action.")
                yield from found


def first_segment(path: str, keep: Keep = keep_all) -> Segment:
    """The first segment of a file with the observations to keep; of a pickle, its first transition.

    Raises:
        DemoError: it cannot be read, or there is none.
    """
    with _errors_to(raise_bad, path):
        if is_pickle(path):
            return read_first_transition(path, keep)
        for read in _parts(path, keep, None, AS_RECORDED):
            for first, segment in read():
                check_segment(path, first, segment, None, None)
                return segment
    raise DemoError(f"{path}: no transitions. Record demonstrations with serl record.")


def _selected(path: str, first: int, segment: Segment, select: Selection, encode: Encode | None) -> Segment:
    """The agent's part of a segment, whose transitions are numbered from `first` in errors."""
    observations = select(segment.observations)
    segment = replace(segment, observations=encode(observations) if encode else observations)
    check_axes(path, first, segment)
    return segment


@contextmanager
def _errors_to(on_bad: OnBad, path: str) -> Iterator[None]:
    """Passes errors in the block to `on_bad`, with the name of the file."""
    try:
        yield
    except (ValueError, OSError, pa.ArrowException) as error:
        if isinstance(error, DemoError):
            on_bad(error)
        else:
            named = DemoError(str(error) if path in str(error) else f"{path}: {error}")
            named.__cause__ = error
            on_bad(named)


def _parts(
    path: str, keep: Keep, observation_spec: Mapping[str, ArraySpec] | None, lerobot: LeRobotOptions
) -> Iterator[Part]:
    if is_pickle(path):
        return read_pickle_parts(path, keep, observation_spec, warn_of_fields)
    folder = folder_of(path)
    if folder is None:
        return read_parts(path, keep)
    return read_lerobot_parts(folder, path, keep, observation_spec, lerobot)


def _read_rows(item: dict[str, Any], skip_bad: bool, **options: Any) -> Iterator[dict[str, Any]]:
    """The rows of a file; the last row, or a row of its own, has the errors of episodes that were left out."""
    errors: list[DemoError] = []
    row: dict[str, Any] = {}
    for segment in read_file(item["path"], on_bad=note_bad(errors, skip_bad), **options):
        if row:
            yield {**row, "errors": []}
        row = _to_row(segment)
    if row or errors:
        yield {**row, "errors": [str(error) for error in errors]}


def _to_row(segment: Segment) -> dict[str, Any]:
    """A segment as flat columns, for Ray Data: what replays sample, without success and actors."""
    observations = {f"observations.{key}": rows for key, rows in segment.observations.items()}
    columns = {field: getattr(segment, field) for field in TRANSITION_FIELDS}
    return {"episode": segment.episode, "first_step": segment.first_step, **observations, **columns}


def _from_row(row: dict[str, Any]) -> Segment:
    prefix = "observations."
    observations = {name.removeprefix(prefix): rows for name, rows in row.items() if name.startswith(prefix)}
    return Segment(
        observations=observations, **{name: value for name, value in row.items() if not name.startswith(prefix)}
    )
