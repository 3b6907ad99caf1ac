"""The lengths of the episodes in demonstrations, read without their images where the format allows it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress

import pyarrow as pa
import pyarrow.parquet as pq

from serl_ray.data.demos import find_files, is_pickle, read_file
from serl_ray.data.formats.lerobot.folder import LeRobotFolder, folder_of
from serl_ray.data.observations import Selection
from serl_ray.files.paths import absolute
from serl_ray.files.tables import open_parquet, read_group

_EPISODE = "episode"


def episode_lengths(paths: str | Sequence[str], select: Selection | None = None) -> list[int]:
    """The transitions of each episode of the demonstrations at `paths`.

    Of Parquet files it takes the metadata, or the column of episodes; of LeRobot data sets the metadata, in which an
    episode has a row for each frame. Only a pickle must be read as a whole. What cannot be read has no length; reading
    says what is wrong with it.

    Args:
        paths: paths of the demonstrations; see `find_files`.
        select: the agent's part of the observations, which must be sound in a pickle; None for all of them.

    Raises:
        FileNotFoundError: there are no demonstrations.
    """
    lengths: Counter[str] = Counter()
    for file in find_files(paths):
        with suppress(ValueError, OSError, KeyError, TypeError, pa.ArrowException):
            if is_pickle(file):
                lengths.update(_in_pickle(file, select))
            elif folder := folder_of(file):
                lengths.update(_in_lerobot(folder, file))
            else:
                lengths.update(_in_parquet(file))
    return list(lengths.values())


def _in_pickle(path: str, select: Selection | None) -> Counter[str]:
    segments = read_file(path, select=select, on_bad=lambda error: None)
    return Counter({str(segment.episode): len(segment) for segment in segments})


def _in_lerobot(folder: LeRobotFolder, path: str) -> Counter[str]:
    indices = folder.files.get(absolute(path), [])
    return Counter({f"{folder.root}#{index}": int(folder.episodes[index]["length"]) for index in indices})


def _in_parquet(path: str) -> Counter[str]:
    lengths: Counter[str] = Counter()
    with open_parquet(path) as file:
        for group in range(file.num_row_groups):
            name = _only_episode(file, group)
            if name is not None:
                lengths[name] += file.metadata.row_group(group).num_rows
            else:
                lengths.update(read_group(file, group, [_EPISODE], path).column(0).to_pylist())
    return lengths


def _only_episode(file: pq.ParquetFile, group: int) -> str | None:
    """The episode of a row group by its statistics; None where it has several, or no statistics."""
    described = file.metadata.row_group(group)
    for index in range(described.num_columns):
        if (column := described.column(index)).path_in_schema == _EPISODE:
            known = column.statistics
            return known.min if known is not None and known.has_min_max and known.min == known.max else None
    return None
