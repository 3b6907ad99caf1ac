"""Small files that promise much: they are refused before any memory is taken for it."""

from __future__ import annotations

import json
import re
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from cases import dump, read, segment, transitions

from serl_ray.data.demos import write_demos
from serl_ray.data.errors import DemoError
from serl_ray.data.formats.lerobot.writer import LeRobotFormat, write_lerobot

MOST = 2**28
"""Bytes that reading one of these may add to a process."""

READER = """
import sys
from memory import Growth
from serl_ray.data.demos import find_files, read_file
for path in sys.argv[1:]:
    growth = Growth()
    try:
        for file in find_files(path):
            for _ in read_file(file): pass
        print(growth.bytes(), "nothing")
    except Exception as error:
        print(growth.bytes(), type(error).__name__, error)
"""


def png(width: int, height: int) -> bytes:
    """The head of a picture of this size."""
    chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = b"IDAT" + zlib.compress(bytes(1000))
    chunks = (struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in (chunk, data, b"IEND"))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def instructions(code: bytes) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        (folder / "demos.pkl").write_bytes(b"\x80\x05" + code + b".")
        return folder / "demos.pkl"

    return write


def one_frame_in_all(folder: Path) -> Path:
    """A list that is its own item ten times over, as every reward and action."""
    value: Any = [0.0] * 1000
    for _ in range(5):
        value = [value] * 1000
    return dump(folder / "demos.pkl", [{**item, "rewards": value, "actions": value} for item in transitions()])


def layout(folder: Path) -> Path:
    write_demos(folder / "demos", [segment()])
    path = folder / "demos" / "shard-00000.parquet"
    data = pq.read_table(path)
    described = json.loads(data.schema.metadata[b"serl_ray"])
    described["observations"]["front"]["shape"] = [30_000, 30_000, 3]
    pq.write_table(data.replace_schema_metadata({b"serl_ray": json.dumps(described)}), path)
    return path


def picture(folder: Path) -> Path:
    write_lerobot(folder / "set", [segment()], LeRobotFormat("v2.1"))
    [path] = (folder / "set").rglob("*000000.parquet")
    data = pq.read_table(path)
    name = "observation.images.front"
    pictures = pa.array([{"bytes": png(13_000, 13_000), "path": None}] * len(data), data.schema.field(name).type)
    pq.write_table(data.set_column(data.schema.get_field_index(name), name, pictures), path)
    return folder / "set"


def parquet(folder: Path) -> Path:
    write_demos(folder / "demos", [segment()])
    return folder / "demos" / "shard-00000.parquet"


def pickled(folder: Path) -> Path:
    return dump(folder / "demos.pkl", transitions())


PROMISES = {
    "remembered objects": (instructions(b"Nr\xff\xff\xff\x7f"), "DemoError .*demos.pkl: cut off, or not a pickle"),
    "bytes": (instructions(b"\x8e" + struct.pack("<Q", 10**12)), "DemoError .*demos.pkl: cut off"),
    "changeable bytes": (instructions(b"\x96" + struct.pack("<Q", 10**10)), "DemoError .*demos.pkl: cut off"),
    "a frame": (instructions(b"\x95" + struct.pack("<Q", 10**12) + b"N"), "DemoError .*demos.pkl: cut off"),
    "lists of lists": (one_frame_in_all, "DemoError .*this pickle of .* instructions has .* values"),
    "a layout": (layout, "DemoError .*column observations.front: expected uint8 of shape .30000, 30000, 3."),
    "pictures": (picture, "DemoError .*(GB of memory are free|broken or too large)"),
}


@pytest.fixture(scope="module")
def lines(tmp_path_factory, python_path) -> dict[str, str]:
    """What a process of its own says of each file: by how many bytes it has grown at its peak, and the error."""
    paths = [str(write(tmp_path_factory.mktemp("promise"))) for write, _ in PROMISES.values()]
    found = subprocess.run(
        [sys.executable, "-c", READER, *paths], capture_output=True, text=True, timeout=120, check=True
    )
    return dict(zip(PROMISES, found.stdout.splitlines(), strict=True))


@pytest.mark.parametrize("name", PROMISES)
def test_a_promise_takes_no_memory(name, lines):
    assert re.search(PROMISES[name][1], lines[name]), lines[name]
    assert int(lines[name].split()[0]) < MOST


@pytest.mark.parametrize("write", [parquet, pickled])
def test_what_does_not_fit_into_free_memory_is_refused(write, tmp_path, monkeypatch):
    path = write(tmp_path)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=300))
    with pytest.raises(
        DemoError, match=r"(row|transition) 0: it claims to hold .* GB, but 3e-07 GB of memory are free"
    ):
        read(path)
