"""Demonstrations with bytes that somebody has changed: they are read, or refused by an error of ours that names the
file."""

from __future__ import annotations

import gzip
import json
import pickle
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import memory
import numpy as np
import pytest
from cases import dump, helped_segment, read, segment, transitions
from fuzzing import EDITS, MOST_GROWTH, edited, fuzz
from hypothesis import given
from hypothesis import strategies as st

from serl_ray.data.demos import write_demos
from serl_ray.data.errors import DemoError
from serl_ray.data.formats.lerobot.writer import LeRobotFormat, write_lerobot

REFUSALS = (DemoError, ValueError, FileNotFoundError)


def is_read_or_refused(path: Path, named: Path | None = None) -> None:
    try:
        read(path)
    except Exception as error:
        assert type(error) in REFUSALS, f"{type(error).__name__}: {error}"
        assert str(named or path) in str(error)


@pytest.fixture(autouse=True)
def little_memory(good):
    with memory.at_most(MOST_GROWTH):
        yield


def test_a_peak_of_memory_is_seen():
    with pytest.raises(AssertionError), memory.at_most(2**26):
        np.ones(2**27, np.uint8)


@pytest.fixture(scope="module")
def good(tmp_path_factory) -> Path:
    """Small demonstrations of every format."""
    root = tmp_path_factory.mktemp("good")
    dump(root / "demos.pkl", transitions())
    write_demos(root / "shards", [segment(2, 1), helped_segment()])
    write_lerobot(root / "v2", [segment(3)], LeRobotFormat("v2.1"))
    write_lerobot(root / "v3", [segment(3), segment(2, 1)], LeRobotFormat("v3.0"))
    frames = np.random.default_rng(0).integers(0, 256, (13, 32, 48, 3), np.uint8)
    write_lerobot(
        root / "videos", [replace(segment(12), observations={"front": frames})], LeRobotFormat("v3.0", videos=True)
    )
    return root


@given(edits=EDITS)
@fuzz(300)
def test_a_pickle(good, edits):
    path = good.parent / "fuzzed.pkl"
    path.write_bytes(edited((good / "demos.pkl").read_bytes(), edits))
    is_read_or_refused(path)


@given(opcodes=st.binary(min_size=1, max_size=60))
@fuzz(300)
def test_a_pickle_of_any_instructions(good, opcodes):
    path = good.parent / "fuzzed.pkl"
    path.write_bytes(b"\x80\x05" + opcodes + b".")
    is_read_or_refused(path)


@given(edits=EDITS, is_appended=st.booleans())
@fuzz(150)
def test_a_compressed_pickle(good, edits, is_appended):
    path = good.parent / "fuzzed.pkl"
    raw = (good / "demos.pkl").read_bytes() * (1 + is_appended)
    path.write_bytes(edited(gzip.compress(raw), edits))
    is_read_or_refused(path)


@given(edits=EDITS)
@fuzz(150)
def test_a_pickle_of_an_episode_as_arrays(good, edits):
    path = good.parent / "fuzzed.pkl"
    listed = transitions()
    steps = [listed[0]["observations"], *(t["next_observations"] for t in listed)]
    observations = {key: np.stack([step[key] for step in steps]) for key in steps[0]}
    arrays = {key: np.stack([t[key] for t in listed]) for key in ("actions", "rewards", "dones", "masks")}
    path.write_bytes(edited(pickle.dumps({"observations": observations, **arrays}), edits))
    is_read_or_refused(path)


def test_a_little_file_that_unfolds_to_much_takes_no_memory(good):
    path = good.parent / "fuzzed.pkl"
    path.write_bytes(gzip.compress(bytes(2**28)))
    is_read_or_refused(path)


@given(edits=EDITS)
@fuzz(300)
def test_a_parquet_file(good, edits):
    path = good.parent / "fuzzed.parquet"
    path.write_bytes(edited((good / "shards" / "shard-00000.parquet").read_bytes(), edits))
    is_read_or_refused(path)


@given(
    version=st.sampled_from(["v2", "v3"]),
    kind=st.sampled_from(["parquet", "json", "jsonl"]),
    number=st.integers(0, 9),
    edits=EDITS,
)
@fuzz(150)
def test_a_lerobot_data_set(good, version, kind, number, edits):
    root = copied(good / version)
    files = sorted(root.rglob(f"*.{kind}")) or sorted(root.rglob("*.json"))
    path = files[number % len(files)]
    path.write_bytes(edited(path.read_bytes(), edits))
    is_read_or_refused(root)


@given(edits=EDITS)
@fuzz(150)
def test_a_video(good, edits):
    root = copied(good / "videos")
    [path] = root.rglob("*.mp4")
    path.write_bytes(edited(path.read_bytes(), edits))
    is_read_or_refused(root)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=9)
    | st.sampled_from(["float32", "image", "video"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(data=st.data(), value=JSON, is_removed=st.booleans())
@fuzz(150)
def test_the_description_of_a_lerobot_data_set(good, data, value, is_removed):
    root = copied(good / data.draw(st.sampled_from(["v2", "v3"])))
    path = root / "meta" / "info.json"
    info = inner = json.loads(path.read_text())
    while True:
        key = data.draw(st.sampled_from(sorted(inner) if isinstance(inner, dict) else range(len(inner))))
        if not (isinstance(inner[key], dict | list) and inner[key] and data.draw(st.booleans())):
            break
        inner = inner[key]
    inner[key] = value
    if is_removed:
        del inner[key]
    path.write_text(json.dumps(info))
    is_read_or_refused(root)


def copied(source: Path) -> Path:
    """The only copy of a data set, of which nothing is remembered: its name is new."""
    for old in source.parent.parent.glob("fuzzed-*"):
        shutil.rmtree(old)
    target = Path(tempfile.mkdtemp(prefix="fuzzed-", dir=source.parent.parent)) / source.name
    shutil.copytree(source, target)
    return target
