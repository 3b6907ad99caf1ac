"""The rows of a LeRobot data file by episode."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from serl_ray.files.tables import read_group

INDEXED = ("episode_index", "frame_index")


def episode_tables(file: pq.ParquetFile, columns: list[str], path: str) -> Iterator[tuple[int, pa.Table | ValueError]]:
    """The number of the first row and the rows of each episode; an error in place of unreadable rows."""
    first = row = 0
    pending: list[pa.Table] = []
    for group in range(file.num_row_groups):
        try:
            table = read_group(file, group, columns, f"{path}: row {row}")
            if empty := [name for name in INDEXED if table.column(name).null_count]:
                raise ValueError(f"{path}: row {row}: column {empty[0]} has empty places. Copy the file again.")
        except ValueError as error:
            if pending:
                yield first, pa.concat_tables(pending)
            yield row, error
            pending, row = [], row + file.metadata.row_group(group).num_rows
            continue
        for piece in _by_episode(table):
            if pending and episode_of(pending[0]) != episode_of(piece):
                yield first, pa.concat_tables(pending)
                pending = []
            first = first if pending else row
            pending.append(piece)
            row += len(piece)
    if pending:
        yield first, pa.concat_tables(pending)


def episode_of(table: pa.Table) -> int:
    """The index of the episode of some rows."""
    return int(table.column("episode_index")[0].as_py())


def _by_episode(table: pa.Table) -> Iterator[pa.Table]:
    changes = np.flatnonzero(np.diff(table.column("episode_index").to_numpy())) + 1
    for start, stop in pairwise([0, *changes.tolist(), len(table)]):
        if stop > start:
            yield table.slice(start, stop - start)
