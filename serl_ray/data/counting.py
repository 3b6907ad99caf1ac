"""The number of observations in demonstrations, counted before any of them is kept."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import ray.data

from serl_ray.data.demos import find_files, is_pickle
from serl_ray.data.errors import DemoError
from serl_ray.data.formats.hil_serl import read_pickle_parts
from serl_ray.data.formats.lerobot.features import DONE, TERMINATED, TRUNCATED
from serl_ray.data.formats.lerobot.folder import folder_of
from serl_ray.data.formats.lerobot.rows import read_numbers
from serl_ray.data.observations import Keep, keep_all
from serl_ray.data.reading import plain_errors
from serl_ray.data.schema import Part
from serl_ray.files.tables import open_parquet, read_group


def count_observations(paths: str | Sequence[str], keep: Keep = keep_all) -> int:
    """The most observations that the demonstrations at `paths` have, by Ray Data: one a transition, and one more a
    segment.

    Only a pickle must be read as a whole for it, with the observations to `keep`. What cannot be read is not counted;
    reading says what is wrong with it.
    """
    files = find_files(paths)
    dataset = ray.data.from_items([{"path": file} for file in files], override_num_blocks=len(files))
    with plain_errors(DemoError):
        return sum(row["observations"] for row in dataset.map(partial(_count, keep=keep)).iter_rows())


def _count(item: dict[str, Any], keep: Keep) -> dict[str, int]:
    return {"observations": count_in_file(item["path"], keep)}


def count_in_file(path: str, keep: Keep = keep_all) -> int:
    """The most observations in a file of demonstrations; 0 if it cannot be read."""
    try:
        if is_pickle(path):
            return sum(map(_count_in_episode, read_pickle_parts(path, keep)))
        return _count_in_parquet(path) if folder_of(path) is None else _count_in_lerobot(path)
    except (ValueError, OSError, KeyError, pa.ArrowException):
        return 0


def _count_in_episode(read: Part) -> int:
    """The observations in an episode of a pickle, with those that no agent will see; 0 if it cannot be read."""
    with suppress(ValueError):
        return sum(len(segment) + 1 for _, segment in read())
    return 0


def _count_in_parquet(path: str) -> int:
    """The rows of a file, and its final observations, of which each segment has one."""
    with open_parquet(path) as file:
        [final, *_] = [name for name in file.schema_arrow.names if name.startswith("final_observations.")]
        column = _read(file, [final], path).column(0)
    return 2 * len(column) - int(column.null_count)


def _count_in_lerobot(path: str) -> int:
    """The rows of a file, its episodes, and the steps that end a segment."""
    with open_parquet(path) as file:
        flags = [column for column in (DONE, TERMINATED, TRUNCATED) if column in file.schema_arrow.names]
        table = _read(file, ["episode_index", *flags], path)
    is_end = np.zeros(len(table), bool)
    for column in flags:
        is_end |= read_numbers(table, column, (), np.dtype(bool), path)
    return len(table) + len(table.column("episode_index").unique()) + int(is_end.sum())


def _read(file: pq.ParquetFile, columns: list[str], path: str) -> pa.Table:
    return pa.concat_tables([read_group(file, group, columns, path) for group in range(file.num_row_groups)])
