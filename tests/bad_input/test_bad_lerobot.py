"""LeRobot data sets that are wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from cases import Case, assert_refused, column, read, segment, table

from serl_ray.data.errors import DemoError
from serl_ray.data.formats.lerobot.reader import LeRobotOptions
from serl_ray.data.formats.lerobot.writer import LeRobotFormat, write_lerobot


def lerobot(
    name: str,
    change: Callable[[Path], Any],
    says: str,
    error: type[Exception] = DemoError,
    version: str = "v2.1",
    **options: bool,
) -> Case:
    def do(folder: Path) -> Any:
        episodes = [segment(), segment(3, 1)] if version == "v3.0" else [segment()]
        write_lerobot(folder / "set", episodes, LeRobotFormat(version))
        change(folder / "set")
        return read(folder / "set", LeRobotOptions(**options))

    return Case(f"LeRobot: {name}", do, error, says)


def info(**changes: Any) -> Callable[[Path], Any]:
    def change(root: Path) -> None:
        path = root / "meta" / "info.json"
        path.write_text(json.dumps({k: v for k, v in {**json.loads(path.read_text()), **changes}.items() if v != "-"}))

    return change


def feature(name: str, **changes: Any) -> Callable[[Path], Any]:
    def change(root: Path) -> None:
        features = json.loads((root / "meta" / "info.json").read_text())["features"]
        info(features={**features, name: {**features[name], **changes}})(root)

    return change


def write(name: str, text: str) -> Callable[[Path], Any]:
    return lambda root: (root / name).write_text(text)


def rows(change: Callable[[pa.Table], pa.Table]) -> Callable[[Path], Any]:
    def rewrite(root: Path) -> None:
        [path] = root.rglob("*000000.parquet")
        pq.write_table(change(pq.read_table(path)), path)

    return rewrite


PICTURE = "observation.images.front"
LEROBOTS = [
    lerobot("no info", lambda root: (root / "meta/info.json").unlink(), "no demonstrations there", FileNotFoundError),
    lerobot("no JSON", write("meta/info.json", "{"), r"info\.json: not JSON", ValueError),
    lerobot("deep JSON", write("meta/info.json", "[" * 10**5), r"info\.json: not JSON", ValueError),
    lerobot("a list", write("meta/info.json", "[]"), r"info\.json: expected a JSON object, found \[\]", ValueError),
    lerobot("fps missing", info(fps="-"), "fps missing; LeRobot v2.1 and v3.0 have it", ValueError),
    lerobot("fps a word", info(fps="ten"), "fps is 'ten', expected a number above 0", ValueError),
    lerobot("fps NaN", info(fps=np.nan), "fps is nan, expected a number above 0", ValueError),
    lerobot(
        "version 1",
        info(codebase_version="v1.6"),
        "codebase_version v1.6; this release reads v2.1 and v3.0",
        ValueError,
    ),
    lerobot("a shape of words", feature("observation.state", shape=["x"]), "expected dtype and shape", ValueError),
    lerobot("no dtype", feature("observation.state", dtype=None), "expected dtype and shape", ValueError),
    lerobot(
        "a promised shape",
        feature("observation.state", shape=[10**12]),
        r"expected an array of shape \[1000000000000\]",
    ),
    lerobot(
        "a picture of numbers", feature("observation.state", dtype="image"), "column observation.state: expected images"
    ),
    lerobot(
        "numbers of a picture", feature(PICTURE, dtype="uint8"), "column observation.images.front: expected numbers"
    ),
    lerobot(
        "a word as episode",
        write("meta/episodes.jsonl", '{"episode_index": "a"}'),
        "has the episode_index 'a'",
        ValueError,
    ),
    lerobot(
        "a column missing",
        rows(lambda data: data.drop_columns([PICTURE])),
        "no column observation.images.front; it has",
    ),
    lerobot(
        "no picture", rows(column(PICTURE, [{"bytes": b"x"}] * 4)), "not a PNG or JPEG image.*Record the episode again"
    ),
    lerobot("pictures beside", rows(column(PICTURE, [{"bytes": None}] * 4)), "an image is in a separate file"),
    lerobot("words as actions", rows(column("action", list("abcd"))), "column action: expected numbers, found string"),
    lerobot("no video", feature(PICTURE, dtype="video"), r"no video_path, which locates the files"),
    lerobot(
        "NaN to be scaled",
        rows(column("action", [[0.0, 1.0], [np.nan, 0.0]] * 2)),
        r"action\[0\]: expected finite numbers, found nan in frame 1",
        rescale_actions=True,
    ),
    lerobot(
        "meta cut", lambda root: cut(next((root / "meta/episodes").rglob("*.parquet"))), "cut off", ValueError, "v3.0"
    ),
    lerobot(
        "data cut",
        lambda root: cut(next((root / "data").rglob("*.parquet"))),
        r"file-000\.parquet: cut off",
        version="v3.0",
    ),
]


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


@table(LEROBOTS)
def test_wrong_data_sets_are_refused(case, tmp_path):
    assert_refused(case, tmp_path)


def test_what_is_right_is_read(tmp_path):
    write_lerobot(tmp_path / "set", [segment()])
    assert [len(found) for found in read(tmp_path / "set")] == [4]
