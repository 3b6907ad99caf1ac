"""Small LeRobot data sets, changed as another recorder would have written them."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from stamped import stamped_segment

from serl_ray.data.demos import find_files, read_file


def read(folder, **options):
    return [segment for file in find_files(str(folder)) for segment in read_file(file, **options)]


def episode(n=5, number=0, **changes):
    return replace(stamped_segment(number, 0, n, done=True), **changes)


def frames_of(n, size=(32, 48), seed=0):
    """Smooth pictures (n, H, W, 3) of a brightness of their own, which a video keeps nearly."""
    base = np.linspace(40, 60, size[0] * size[1]).reshape(*size, 1)
    return (base + 10 * np.arange(n)[:, None, None, None] + seed * np.ones(3)).astype(np.uint8)


def rewritten(folder, change):
    """The data set with the table of each data file changed, as another recorder would have written it."""
    for path in folder.rglob("data/*/*.parquet"):
        pq.write_table(change(pq.read_table(path)), path)
    return folder


def without(*columns):
    return lambda table: table.drop_columns(columns)


def with_column(name, values, kind=None):
    """A change of a table: a column of these values, in place of one of this name."""

    def change(table):
        array, index = pa.array(values, kind), table.schema.get_field_index(name)
        return table.append_column(name, array) if index < 0 else table.set_column(index, name, array)

    return change


def change_info(folder, **changes):
    path = folder / "meta" / "info.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
