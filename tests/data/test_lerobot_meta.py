"""LeRobot data sets whose metadata and data disagree: everything that is named is found once, or an error names it."""

import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from lerobot_sets import change_info, episode, frames_of, read, rewritten, with_column

from serl_ray.data.demos import find_files
from serl_ray.data.errors import DemoError
from serl_ray.data.formats.lerobot.features import image_shape
from serl_ray.data.formats.lerobot.writer import LeRobotFormat, write_lerobot
from serl_ray.data.observations import Selection

EPISODES, DATA = "meta/episodes/chunk-000/file-000.parquet", "data/chunk-000/file-000.parquet"
VIDEO = "videos/observation.images.front/chunk-000/file-000.mp4"


@pytest.fixture
def folder(tmp_path):
    """Three episodes of 4, 3 and 2 steps in one data file."""
    write_lerobot(tmp_path / "set", [episode(n, number=n, masks=np.arange(n) < n - 1) for n in (4, 3, 2)])
    return tmp_path / "set"


def change(path, new):
    pq.write_table(new(pq.read_table(path)), path)


def of(episodes):
    return lambda table: table.filter(pa.array(np.isin(table.column("episode_index").to_numpy(), episodes)))


def test_rows_in_another_file_than_the_metadata_say(folder):
    table = pq.read_table(folder / DATA)
    pq.write_table(of([2])(table), folder / "data/chunk-000/file-001.parquet")
    change(folder / DATA, of([0, 1]))
    with pytest.raises(DemoError, match=r"file-000\.parquet: the metadata place episode 2 here, but it has no rows"):
        read(folder)
    errors = []
    assert [len(segment) for segment in read(folder, on_bad=errors.append)] == [4, 3]
    assert len(errors) == 1
    with pytest.raises(DemoError, match=r"file-001\.parquet: episode 2: the metadata of .*set do not place it here"):
        read(folder / "data/chunk-000/file-001.parquet")


def test_an_episode_that_is_in_a_file_twice(folder):
    change(folder / DATA, lambda table: pa.concat_tables([table, of([0])(table)]))
    with pytest.raises(DemoError, match=r"episode 0: its rows are in two places"):
        read(folder)


def test_an_episode_that_is_in_the_metadata_twice(folder):
    shutil.copytree(folder / "meta/episodes/chunk-000", folder / "meta/episodes/chunk-001")
    with pytest.raises(ValueError, match="its metadata have episode 0 twice"):
        find_files(str(folder))


@pytest.mark.parametrize(
    ("kept", "message"),
    [
        (
            [0],
            r"info\.json counts 3 episodes and 9 frames, and the metadata list 1 with 4 frames, without episode 1, 2\.",
        ),
        ([0, 1], r"the metadata list 2 with 7 frames, without episode 2\."),
        ([], "the metadata list 0 with 0 frames, without episode 0, 1, 2"),
    ],
)
def test_a_part_of_the_metadata_is_missing(folder, kept, message):
    change(folder / EPISODES, of(kept))
    with pytest.raises(ValueError, match=message):
        find_files(str(folder))


@pytest.mark.parametrize("version", ["v2.1", "v3.0"])
@pytest.mark.parametrize("totals", [{"total_episodes": 1}, {"total_frames": 7}, {"total_frames": 9}])
def test_totals_of_another_data_set(tmp_path, version, totals):
    write_lerobot(tmp_path / "set", [episode(4), episode(4)], LeRobotFormat(version))
    assert len(read(tmp_path / "set")) == 2
    change_info(tmp_path / "set", **totals)
    with pytest.raises(ValueError, match=r"info\.json counts .* and the metadata list 2 with 8 frames"):
        find_files(str(tmp_path / "set"))
    change_info(tmp_path / "set", total_episodes="two")
    with pytest.raises(ValueError, match=r"info\.json has the total_episodes 'two', expected a whole number"):
        find_files(str(tmp_path / "set"))


def test_gaps_of_deleted_episodes_are_read_and_said(folder, caplog):
    change(folder / EPISODES, of([0, 2]))
    change(folder / DATA, of([0, 2]))
    assert [len(segment) for segment in read(folder)] == [4, 2]
    assert caplog.text.count("info.json counts 3 episodes, and the metadata list 2, without episode 1.") == 1


def test_a_data_file_that_the_metadata_do_not_name(folder, caplog):
    other = folder / "data/chunk-000/file-001.parquet"
    pq.write_table(of([0])(pq.read_table(folder / DATA)), other)
    assert [len(segment) for segment in read(folder)] == [4, 3, 2]
    assert f"{other}: the metadata place no episode in this file, so it is not read" in caplog.text
    folder = folder.rename(folder.with_name("other"))  # the metadata of a folder are read once
    change(folder / DATA, of([1, 2]))
    change(folder / EPISODES, of([1, 2]))
    with pytest.raises(
        ValueError, match=r"file-001\.parquet: .* no episode in this file, and list fewer than info\.json counts"
    ):
        find_files(str(folder))


def test_rows_of_an_episode_that_the_metadata_lack(folder):
    change(folder / EPISODES, of([1, 2]))
    with pytest.raises(DemoError, match=r"episode 0: the metadata of .*set do not place it here"):
        read(folder)


def test_two_episodes_with_one_part_of_a_video(tmp_path):
    recorded = [episode(4, number=i, observations={"front": frames_of(5)}) for i in range(2)]
    write_lerobot(tmp_path / "set", recorded, LeRobotFormat(videos=True))
    change(tmp_path / "set" / EPISODES, with_column("videos/observation.images.front/from_timestamp", [0.0, 0.0]))
    with pytest.raises(ValueError, match="give episodes 0 and 1 the same part of a video of observation.images.front"):
        find_files(str(tmp_path / "set"))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            [[0.1] * n for n in (1, 3, 2, 2)],
            r"expected an array of shape \[2\] .* 8 numbers in 4 rows, 1 of them in frame 0",
        ),
        ([[0.1] * n for n in (2, 2, 1, 3)], r"found 8 numbers in 4 rows, 1 of them in frame 2"),
        ([[0.1, 0.1], None, [0.1, 0.1], [0.1] * 4], "has 1 empty places, the first in frame 1"),
        ([[0.1, 0.1], [0.1, 0.1], [0.1, None], [0.1, 0.1]], "has 1 empty places, the first in frame 2"),
    ],
)
@pytest.mark.parametrize("column", ["action", "observation.state"])
def test_rows_of_another_shape_are_named(tmp_path, column, rows, message):
    write_lerobot(tmp_path / "set", [episode(4)])
    change(tmp_path / "set" / DATA, with_column(column, rows, pa.list_(pa.float32())))
    with pytest.raises(DemoError, match=rf"episode 0: {column}.*{message}"):
        read(tmp_path / "set")


@pytest.mark.parametrize(("shape", "fits"), [([2, 3], True), ([3, 2], False), ([6], True), ([2, 2], False)])
def test_nested_lists_against_the_shape(tmp_path, shape, fits):
    write_lerobot(tmp_path / "set", [episode(3, observations={"grid": np.ones((4, 2, 3), np.float32)})])
    features = json.loads((tmp_path / "set/meta/info.json").read_text())["features"]
    features["observation.grid"]["shape"] = shape
    change_info(tmp_path / "set", features=features)
    if fits:
        assert read(tmp_path / "set")[0].observations["grid"].shape == (4, *shape)
    else:
        with pytest.raises(DemoError, match=r"observation\.grid: expected an array of shape"):
            read(tmp_path / "set")


@pytest.mark.parametrize(("column", "values"), [("next.done", [0, 0, 2]), ("next.success", [0.0, 0.5, 1.0])])
def test_flags_are_0_or_1(tmp_path, column, values):
    write_lerobot(tmp_path / "set", [episode(3)])
    change(tmp_path / "set" / DATA, with_column(column, values))
    with pytest.raises(DemoError, match=rf"{column}: expected numbers that bool holds, found (2|0\.5) in frame"):
        read(tmp_path / "set")


def test_images_are_those_nearest_to_the_timestamps(tmp_path):
    for name, n in (("set", 4), ("long", 6)):
        recorded = [episode(n, observations={"front": frames_of(n + 1)})]
        write_lerobot(tmp_path / name, recorded, LeRobotFormat(videos=True))
    shutil.copy(tmp_path / "long" / VIDEO, tmp_path / "set" / VIDEO)
    rewritten(tmp_path / "set", with_column("timestamp", [0.0, 0.16, 0.26, 0.54], pa.float32()))
    [segment] = read(tmp_path / "set")
    shown = segment.observations["front"].astype(int).mean(axis=(1, 2, 3)) - frames_of(1).mean()
    np.testing.assert_allclose(shown[:4], [0, 20, 30, 50], atol=2)
    for times, message in (
        ([0.0, 0.1, 0.1, 0.2], "timestamp does not rise"),
        ([0.4, 0.5, 0.6, 0.7], "no frame at 0.600 s"),
    ):
        rewritten(tmp_path / "set", with_column("timestamp", times, pa.float32()))
        with pytest.raises(DemoError, match=message):
            read(tmp_path / "set")


def test_videos_of_distances_or_another_size_are_refused(tmp_path):
    recorded = episode(4, observations={"front": frames_of(5)}, masks=[1, 1, 1, 0])
    write_lerobot(tmp_path / "set", [recorded], LeRobotFormat(videos=True))
    features = json.loads((tmp_path / "set/meta/info.json").read_text())["features"]
    front = features["observation.images.front"]
    for changes, message in (
        ({"info": {"video.is_depth_map": True}}, r"observation\.images\.front is a depth map.*Remove observation"),
        (
            {"shape": [16, 16, 3]},
            r"expected images of shape \[16, 16, 3\], as info.json says, found a video of 32 x 48 pixels",
        ),
        ({"shape": [32, 48, 2]}, "which gives 1 or 3 channels"),
    ):
        change_info(tmp_path / "set", features=features | {"observation.images.front": front | changes})
        with pytest.raises(DemoError, match=message):
            read(tmp_path / "set")
    change_info(tmp_path / "set", features=features | {"observation.images.front": front | {"shape": [32, 48, 1]}})
    assert read(tmp_path / "set")[0].observations["front"].shape == (5, 32, 48, 1)


def test_videos_that_no_agent_sees_are_not_read(tmp_path):
    observations = {"state": episode(4).observations["state"], "front": frames_of(5)}
    recorded = episode(4, observations=observations, masks=[1, 1, 1, 0])
    write_lerobot(tmp_path / "set", [recorded], LeRobotFormat(videos=True))
    features = json.loads((tmp_path / "set/meta/info.json").read_text())["features"]
    depth = features["observation.images.front"] | {"info": {"video.is_depth_map": True}}
    change_info(tmp_path / "set", features=features | {"observation.images.front": depth})
    (tmp_path / "set" / VIDEO).unlink()
    [segment] = read(tmp_path / "set", select=Selection((), ("state",)))
    np.testing.assert_array_equal(segment.observations["state"][:4], observations["state"][:4])
    with pytest.raises(DemoError, match="is a depth map"):
        read(tmp_path / "set", select=Selection(("front",)))


def test_the_shape_of_an_image_is_channels_last():
    assert image_shape({"shape": [3, 480, 640], "names": ["channels", "height", "width"]}) == (480, 640, 3)
    assert image_shape({"shape": [3, 480, 640], "names": None}) == (480, 640, 3)
    assert image_shape({"shape": [480, 640, 3], "names": ["height", "width", "channels"]}) == (480, 640, 3)
    assert image_shape({"shape": [3, 64, 3], "names": None}) == (3, 64, 3)


@pytest.mark.parametrize("name", [VIDEO, "meta/info.json"])
def test_a_pointer_of_git_lfs_is_named(tmp_path, name):
    write_lerobot(tmp_path / "set", [episode(4, observations={"front": frames_of(5)})], LeRobotFormat(videos=True))
    (tmp_path / "set" / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:66\nsize 2000000\n")
    with pytest.raises(ValueError, match=rf"{name}: a Git LFS pointer; .* `git lfs pull`"):
        read(tmp_path / "set")


def test_statistics_of_other_data_are_said_once(folder, caplog):
    stats = json.loads((folder / "meta/stats.json").read_text())
    stats["action"]["max"] = [-1.0, -1.0]
    (folder / "meta/stats.json").write_text(json.dumps(stats))
    assert len(read(folder)) == 3
    assert caplog.text.count("the statistics of the data set have") == 1
