"""Demonstrations that are wrong: where they lie, and what is in pickles and Parquet files."""

from __future__ import annotations

import collections
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from cases import Case, assert_refused, column, dump, helped_segment, read, segment, table, transitions

from serl_ray.data.demos import write_demos
from serl_ray.data.errors import DemoError


def in_file(name: str, content: bytes = b"") -> Callable[[Path], Any]:
    """Reads a file of this content."""

    def do(folder: Path) -> Any:
        (folder / name).write_bytes(content)
        return read(folder / name)

    return do


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:6652\nsize 146946961\n"
PLACES = [
    Case(
        "missing",
        lambda folder: read(folder / "demos.pkl"),
        FileNotFoundError,
        r"demos\.pkl: no demonstrations there\. Give",
    ),
    Case("no match", lambda folder: read(folder / "*.pkl"), FileNotFoundError, r"\*\.pkl: no demonstrations there"),
    Case("empty folder", read, FileNotFoundError, "no demonstrations there"),
    Case("another ending", in_file("demos.npz"), FileNotFoundError, r"demos\.npz: no demonstrations there"),
    Case(
        "unknown scheme", lambda _: read("ftp://robot/demos.pkl"), ValueError, "ftp://robot.*begins with s3://, gs://"
    ),
    Case("an empty pickle", in_file("a.pkl"), DemoError, r"a\.pkl: cut off, or not a pickle .* Copy the file again"),
    Case("text as pickle", in_file("a.pkl", b"hello"), DemoError, r"a\.pkl: cut off, or not a pickle"),
    Case("an empty Parquet file", in_file("a.parquet"), DemoError, r"a\.parquet: cut off, or not a Parquet file"),
    Case(
        "LFS as Parquet",
        in_file("a.parquet", POINTER),
        DemoError,
        r"a\.parquet: a Git LFS pointer; .*Run `git lfs pull`",
    ),
    Case("LFS as pickle", in_file("a.pkl", POINTER), DemoError, r"a\.pkl: a Git LFS pointer; .*Run `git lfs pull`"),
    Case(
        "text as Parquet", in_file("a.parquet", b"hello" * 9), DemoError, r"a\.parquet: cut off, or not a Parquet file"
    ),
]


def pickled(name: str, value: Any, says: str) -> Case:
    return Case(
        f"pickle: {name}", lambda folder: read(dump(folder / "demos.pkl", value)), DemoError, rf"demos\.pkl: {says}"
    )


def changed(index: int, **fields: Any) -> list[dict[str, Any]]:
    good = transitions()
    good[index] = {name: value for name, value in {**good[index], **fields}.items() if value is not None}
    return good


def seen(index: int, **arrays: Any) -> list[dict[str, Any]]:
    return changed(index, observations={**transitions()[index]["observations"], **arrays})


def laughs() -> Any:
    """A list that names itself so often that its numbers fill no memory there is."""
    value: Any = [0.0] * 100
    for _ in range(9):
        value = [value] * 100
    return value


PICKLES = [
    pickled("a dict", {"observations": []}, "expected a list of transitions, found a dict"),
    pickled("an array", np.zeros(3), "expected a list of transitions, found a ndarray"),
    pickled("an empty list", [], "expected a list of transitions, found an empty list"),
    pickled("code", [collections.deque()], "this pickle asks for collections.deque, which is not plain data"),
    pickled("a path", [Path("a")], "this pickle asks for pathlib.PosixPath"),
    pickled("no rewards", changed(2, rewards=None), "transition 2: rewards: expected a value, found only observations"),
    pickled("no actions", changed(0, actions=None), "transition 0: actions: expected a value"),
    pickled(
        "NaN as reward", changed(1, rewards=np.nan), "transition 1: rewards: expected one finite number, found nan"
    ),
    pickled(
        "a list of rewards", changed(1, rewards=[[1], [1, 2]]), "transition 1: rewards: expected one finite number"
    ),
    pickled("endless rewards", changed(1, rewards=laughs()), r"this pickle of \d+ instructions has"),
    pickled("endless dones", changed(1, dones=laughs()), r"this pickle of \d+ instructions has"),
    pickled(
        "a penalty that rewards", changed(1, grasp_penalty=0.02), "transition 1: grasp_penalty: expected 0 or less"
    ),
    pickled("an action outside", changed(1, actions=np.array([0, 30.0])), r"transition 1: actions\[1\]: .* found 30"),
    pickled("NaN as action", changed(1, actions=np.full(2, np.nan)), r"transition 1: actions\[0\]: .* found nan"),
    pickled(
        "a longer action", changed(3, actions=np.zeros(3)), "transition 3: actions: expected as many numbers as in"
    ),
    pickled("a word as action", changed(0, actions="left"), "transition 0: actions: expected a vector of numbers"),
    pickled("endless actions", changed(0, actions=laughs()), r"this pickle of \d+ instructions has"),
    pickled(
        "a dict as observation",
        seen(0, images={"front": 0}),
        r"transition 0: .*flatten it, write observations\['front'\]",
    ),
    pickled("no observations", changed(0, observations={}), "transition 0: observations: expected a dict of arrays"),
    pickled(
        "a word as observation",
        seen(0, state="left"),
        r"transition 0: observations\['state'\]: expected an array of num",
    ),
    pickled("an endless observation", seen(0, state=laughs()), r"this pickle of \d+ instructions has"),
    pickled(
        "a ragged observation",
        seen(0, state=[[1], [1, 2]]),
        r"transition 0: observations\['state'\]: expected an array",
    ),
    pickled(
        "NaN in the state", seen(1, state=np.full(3, np.nan, "f4")), r"transition 1: observations\['state'\]: .* nan"
    ),
    pickled(
        "a longer state",
        seen(2, state=np.zeros(4, "f4")),
        r"transition 2: .*of shape \(3,\), found float32 of shape \(4,\)",
    ),
    pickled("a whole state", seen(2, state=np.zeros(3, int)), "transition 2: .*expected float32 .*, found int64"),
    pickled("a float image", seen(0, front=np.zeros((4, 6, 3))), r"transition 0: .*expected an image .* of uint8"),
    pickled(
        "channels first",
        seen(2, front=np.zeros((3, 4, 6), np.uint8)),
        r"transition 2: .*found uint8 of shape \(3, 4, 6\)",
    ),
]


def parquet(name: str, change: Callable[[pa.Table], pa.Table], says: str) -> Case:
    def do(folder: Path) -> Any:
        write_demos(folder / "demos", [helped_segment()])
        pq.write_table(change(pq.read_table(folder / "demos" / "shard-00000.parquet")), folder / "new.parquet")
        return read(folder / "new.parquet")

    return Case(f"Parquet: {name}", do, DemoError, rf"new\.parquet: {says}")


def described(**changes: Any) -> Callable[[pa.Table], pa.Table]:
    def change(data: pa.Table) -> pa.Table:
        good = json.loads(data.schema.metadata[b"serl_ray"])
        return data.replace_schema_metadata({b"serl_ray": json.dumps({**good, **changes})})

    return change


VECTORS, INT32 = pa.list_(pa.float32()), pa.int32()
HUGE = {"state": {"shape": [10**12], "dtype": "<f4"}, "front": {"shape": [10**6, 10**6, 3], "dtype": "|u1"}}
PARQUETS = [
    parquet(
        "another writer's",
        lambda data: data.replace_schema_metadata(None),
        "a Parquet file that serl_ray did not write",
    ),
    parquet(
        "a newer version", described(version=2), "written in version 2 of the format; this release reads version 1"
    ),
    parquet("no version", lambda data: data.replace_schema_metadata({b"serl_ray": "{}"}), "its metadata are damaged"),
    parquet("no JSON", lambda data: data.replace_schema_metadata({b"serl_ray": "{"}), "its metadata are damaged"),
    parquet("objects", described(observations={"state": {"shape": [3], "dtype": "|O"}}), "its metadata .*dtype '|O'"),
    parquet("a promise", described(observations=HUGE), "its metadata are damaged .*1000000000000"),
    parquet(
        "another shape",
        described(observations={"front": {"shape": [9, 9, 3], "dtype": "|u1"}}),
        "column .*front: expected",
    ),
    parquet(
        "a column missing", lambda data: data.drop_columns(["rewards"]), "column rewards: expected numbers, found none"
    ),
    parquet("words", column("rewards", list("abcd")), "column rewards: expected numbers, found string"),
    parquet("empty places", column("dones", [False, None, False, True]), "row 0: column dones has empty places"),
    parquet(
        "an action outside", lambda data: column("actions", [[0.0, 2.0]] * 4)(data), "column actions: expected float32"
    ),
    parquet(
        "an action of another length",
        column("actions", [[0.0], [0.0, 0.0, 0.0], [0.0, 0.0], [0.0, 0.0]], VECTORS),
        r"row 0: column actions: expected float32 of shape \(2,\) in each row, found one of [13] numbers",
    ),
    parquet(
        "a policy's action of another length",
        column("policy_actions", [[0.0] * 3] * 4, pa.list_(pa.float32(), 3)),
        r"row 0: column policy_actions: expected float32 of shape \(2,\) in each row, found one of 3 numbers",
    ),
    parquet(
        "a policy's action outside",
        column("policy_actions", [[0.0, 0.0], [0.0, 1.5], [0.0, 0.0], [0.0, 0.0]], VECTORS),
        r"transition 1: policy_actions\[1\]: expected a number in \[-1, 1\], found 1\.5",
    ),
    parquet(
        "NaN as a policy's action",
        column("policy_actions", [[0.0, None]] * 4, VECTORS),
        r"transition 0: policy_actions\[1\]: expected a number in \[-1, 1\], found nan",
    ),
    parquet(
        "a policy's action missing",
        column("policy_actions", [[0.0, 0.0], None, [0.0, 0.0], [0.0, 0.0]], pa.list_(pa.float32(), 2)),
        "row 0: column policy_actions has empty places",
    ),
    parquet(
        "a negative intervention",
        column("intervention", [0, -1, 1, 0], INT32),
        "transition 1: intervention: expected 0 or more, found -1",
    ),
    parquet(
        "an intervention of the policy",
        column("intervention", [0, 1, 1, 2], INT32),
        "transition 3: source: expected one of policy, held where intervention is 0, else another, found 'policy'",
    ),
    parquet(
        "an intervention without a number",
        column("intervention", [0, 1, 0, 0], INT32),
        "transition 2: intervention: expected 1 or more where intervened is true, found 0",
    ),
    parquet("a number missing", column("intervention", [0, None, 1, 0], INT32), "row 0: column intervention has empty"),
    parquet(
        "wide numbers", column("intervention", [0, 1, 2**40, 0]), "column intervention: expected int32, found int64"
    ),
    parquet(
        "no column of numbers",
        lambda data: data.drop_columns(["intervention"]),
        "column intervention: expected int32, found none",
    ),
    parquet("sources as numbers", column("source", [0, 1, 1, 0]), "column source: expected strings, found int64"),
    parquet("a source missing", column("source", ["policy", "env", None, "policy"]), "row 0: column source has empty"),
    parquet(
        "another source of the policy",
        column("source", ["web\npage", "env", "env", "policy"]),
        r"transition 0: source: expected one of policy, held where .*, else another, found 'web\\npage'",
    ),
    parquet(
        "the policy as the person",
        column("source", ["policy", "env", "policy", "policy"]),
        "transition 2: source: expected one of policy, held where intervention is 0, else another, found 'policy'",
    ),
    parquet(
        "NaN as reward",
        column("rewards", np.full(4, np.nan)),
        "transition 0: rewards: expected finite numbers, found nan",
    ),
    parquet("a mask of a half", column("masks", [1, 1, 0.5, 0]), "transition 2: masks: expected 0 or 1, found 0.5"),
    parquet(
        "a mask within",
        column("masks", [1, 0, 1, 0]),
        "transition 1: masks: expected 1 where the episode goes on, found 0",
    ),
    parquet(
        "half an episode",
        lambda data: data.slice(0, 2),
        "row 0: its row group of 2 rows ends without final observations",
    ),
]


@table(PLACES + PICKLES + PARQUETS)
def test_wrong_demonstrations_are_refused(case, tmp_path):
    assert_refused(case, tmp_path)


def test_what_is_right_is_read(tmp_path):
    dump(tmp_path / "demos.pkl", transitions())
    write_demos(tmp_path / "demos", [segment()])
    for name in ("demos.pkl", "demos"):
        assert [len(found) for found in read(tmp_path / name)] == [4]
