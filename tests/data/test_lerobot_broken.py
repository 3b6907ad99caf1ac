"""LeRobot data sets that are broken or hostile: the message names the file, the column or the episode, and what to
do."""

import json
import shutil

import pytest
from lerobot_sets import change_info, episode, frames_of, read, rewritten, without

from serl_ray.data.demos import find_files
from serl_ray.data.errors import DemoError
from serl_ray.data.formats.lerobot.folder import fill
from serl_ray.data.formats.lerobot.writer import LeRobotFormat, write_lerobot


@pytest.mark.parametrize(
    "template",
    ["../{episode_index}", "/etc/{episode_index}", "a/../../{episode_index}", "{episode_index.__class__}", "{secret}"],
)
def test_a_data_set_does_not_lead_out_of_its_folder(tmp_path, template):
    write_lerobot(tmp_path / "set", [episode(3)], LeRobotFormat("v2.1"))
    change_info(tmp_path / "set", data_path=template)
    with pytest.raises(
        ValueError, match=r"info\.json: the path .*(leads out of the data set|asks for something other than)"
    ):
        find_files(str(tmp_path / "set"))
    with pytest.raises(ValueError, match="leads out"):
        fill("videos/{video_key}/{episode_index:06d}.mp4", {"video_key": "../../..", "episode_index": 1}, "info.json")


def test_columns_and_pictures_that_do_not_fit_are_named(tmp_path):
    write_lerobot(tmp_path / "set", [episode(3)])
    shutil.copytree(tmp_path / "set", tmp_path / "cut")
    with pytest.raises(DemoError, match=r"no column observation\.state; it has"):
        read(rewritten(tmp_path / "cut", without("observation.state")))
    shutil.copytree(tmp_path / "set", tmp_path / "short")
    with pytest.raises(DemoError, match=r"episode 0 has 2 rows.*the metadata have 3"):
        read(rewritten(tmp_path / "short", lambda table: table.slice(0, 2)))
    info = tmp_path / "set" / "meta" / "info.json"
    info.write_text(info.read_text().replace('"v3.0"', '"v1.6"'))
    with pytest.raises(ValueError, match="codebase_version v1.6; this release reads v2.1 and v3.0"):
        find_files(str(tmp_path / "set"))


def test_a_video_that_is_too_short_is_named(tmp_path):
    for name, n in (("long", 9), ("short", 4)):
        write_lerobot(
            tmp_path / name, [episode(n, observations={"front": frames_of(n + 1)})], LeRobotFormat(videos=True)
        )
    video = "videos/observation.images.front/chunk-000/file-000.mp4"
    shutil.copy(tmp_path / "short" / video, tmp_path / "long" / video)
    with pytest.raises(DemoError, match=r"file-000\.mp4: no frame at 0\.400 s, frame 4 of 9"):
        read(tmp_path / "long")
    (tmp_path / "long" / video).write_bytes(b"no video")
    with pytest.raises(DemoError, match=r"file-000\.mp4: cut off, or not a video"):
        read(tmp_path / "long")


BROKEN = {
    "chunks_size": (0, "chunks_size is 0, expected a number above 0"),
    "fps": (None, "fps is None, expected a number above 0"),
    "data_path": (None, "no data_path, which locates the files"),
    "features": ([], r"features: expected a description by column, found \[\]"),
}


@pytest.mark.parametrize("key", BROKEN)
def test_a_broken_description_is_named(tmp_path, key):
    value, message = BROKEN[key]
    write_lerobot(tmp_path / "set", [episode(3)], LeRobotFormat("v2.1"))
    change_info(tmp_path / "set", **{key: value})
    with pytest.raises(ValueError, match=rf"info\.json: {message}"):
        find_files(str(tmp_path / "set"))


@pytest.mark.parametrize(
    ("feature", "message"),
    [
        ({"shape": [2]}, r"features\['observation.state'\]: expected dtype and shape"),
        ({"shape": [2], "dtype": "foo"}, "observation.state has dtype 'foo', neither numbers nor images"),
        (
            {"shape": [5], "dtype": "float32"},
            r"observation.state: expected an array of shape \[5\] .* found 6 numbers in 3 rows",
        ),
    ],
)
def test_a_broken_description_of_a_column_is_named(tmp_path, feature, message):
    write_lerobot(tmp_path / "set", [episode(3)])
    features = json.loads((tmp_path / "set" / "meta" / "info.json").read_text())["features"]
    change_info(tmp_path / "set", features={**features, "observation.state": feature})
    with pytest.raises(ValueError, match=message):
        read(tmp_path / "set")


def test_a_broken_line_of_the_meta_data_is_named(tmp_path):
    write_lerobot(tmp_path / "set", [episode(3)], LeRobotFormat("v2.1"))
    for line, message in (("{bad", r"episodes\.jsonl, line 2: not JSON"), ('{"length": 3}', "no 'episode_index'")):
        path = tmp_path / "set" / "meta" / "episodes.jsonl"
        path.write_text(f"{path.read_text().splitlines()[0]}\n{line}\n")
        with pytest.raises(ValueError, match=message):
            find_files(str(tmp_path / "set"))
