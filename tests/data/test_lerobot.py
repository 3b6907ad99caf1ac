import json
import shutil
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lerobot_sets import change_info, episode, frames_of, read, rewritten, without
from stamped import assert_same, random_segment

from serl_ray.data.demos import find_files, read_demos, segments
from serl_ray.data.errors import DemoError
from serl_ray.data.formats.lerobot import writer
from serl_ray.data.formats.lerobot.folder import LeRobotFolder, folder_of
from serl_ray.data.formats.lerobot.reader import LeRobotOptions
from serl_ray.data.formats.lerobot.writer import LeRobotFormat, write_lerobot
from serl_ray.data.schema import ArraySpec

VERSIONS = ("v2.1", "v3.0")
SPEC = {
    "front": ArraySpec((6, 4, 3), np.uint8),
    "gray": ArraySpec((4, 6, 1), np.uint8),
    "state": ArraySpec((3,), np.float32),
    "one": ArraySpec((1,), np.float64),
    "grid": ArraySpec((2, 1, 3), np.float16),
    "count": ArraySpec((2,), np.int64),
}


def after_lerobot(segment):
    """The segment as it comes back: what was seen last is its last frame again, or its last transition is gone."""
    if segment.masks[-1] == 0:
        frames = {key: np.concatenate([rows[:-1], rows[-2:-1]]) for key, rows in segment.observations.items()}
        return [replace(segment, observations=frames)]
    return [segment.slice(0, len(segment) - 1)] if len(segment) > 1 else []


@given(
    lengths=st.lists(st.integers(1, 7), min_size=1, max_size=4),
    keys=st.sets(st.sampled_from(sorted(SPEC)), min_size=1, max_size=4),
    version=st.sampled_from(VERSIONS),
    seed=st.integers(0, 2**31),
)
@settings(deadline=None, max_examples=40)
def test_what_is_written_is_read_to_the_bit_but_for_the_last_observation(
    tmp_path_factory, lengths, keys, version, seed
):
    rng = np.random.default_rng(seed)
    recorded = [random_segment(rng, n, {key: SPEC[key] for key in keys}, 3, f"{i}") for i, n in enumerate(lengths)]
    ends = [{"truncateds": s.truncateds & s.dones, "masks": np.where(s.dones, s.masks, 1)} for s in recorded]
    recorded = [replace(segment, **end) for segment, end in zip(recorded, ends, strict=True)]
    for segment, front in ((s, s.observations["front"]) for s in recorded if "front" in keys):
        segment.observations["front"] = rng.integers(0, 256, front.shape, dtype=np.uint8)
    folder = tmp_path_factory.mktemp("sets") / "set"
    write_lerobot(folder, recorded, LeRobotFormat(version))
    expected = [kept for segment in recorded for kept in after_lerobot(segment)]
    for found, wanted in zip(read(folder), expected, strict=True):
        assert_same(found, wanted, ids=False)


@pytest.mark.parametrize("version", VERSIONS)
def test_videos_hold_every_frame_in_its_place(tmp_path, version):
    recorded = [
        episode(n, observations={"front": frames_of(n + 1, seed=20 * i), "state": np.zeros((n + 1, 2), np.float32)})
        for i, n in enumerate((5, 1, 12))
    ]
    write_lerobot(tmp_path / "set", recorded, LeRobotFormat(version, videos=True, fps=15))
    for found, segment in zip(read(tmp_path / "set"), recorded, strict=True):
        [wanted] = after_lerobot(segment)
        difference = found.observations["front"].astype(int) - wanted.observations["front"].astype(int)
        assert found.observation_spec == wanted.observation_spec
        assert np.abs(difference).max() <= 4  # a neighbour would be 10 away
    info = json.loads((tmp_path / "set" / "meta" / "info.json").read_text())
    assert info["features"]["observation.images.front"]["dtype"] == "video"
    assert info["features"]["observation.images.front"]["info"]["video.codec"] == "h264"


def test_v3_has_many_episodes_in_a_file_and_says_where(tmp_path, monkeypatch):
    recorded = [episode(n, n, observations={"front": frames_of(n + 1)}) for n in (4, 6, 3)]
    write_lerobot(tmp_path / "set", recorded, LeRobotFormat(videos=True, fps=10))
    rows = pq.read_table(tmp_path / "set" / "meta/episodes/chunk-000/file-000.parquet").to_pylist()
    key = "videos/observation.images.front"
    assert [row["length"] for row in rows] == [4, 6, 3]
    assert [(row["dataset_from_index"], row["dataset_to_index"]) for row in rows] == [(0, 4), (4, 10), (10, 13)]
    assert [(row[f"{key}/from_timestamp"], row[f"{key}/to_timestamp"]) for row in rows] == [
        (0, 0.4),
        (0.4, 1.0),
        (1.0, 1.3),
    ]
    assert rows[0]["stats/action/count"] == [4]
    data = pq.read_table(tmp_path / "set" / "data/chunk-000/file-000.parquet")
    assert data.column("index").to_pylist() == list(range(13))
    np.testing.assert_allclose(data.column("timestamp").to_numpy()[4:7], [0, 0.1, 0.2], atol=1e-6)
    tasks = pq.read_table(tmp_path / "set" / "meta/tasks.parquet").to_pandas()
    assert tasks.loc["demonstration"].task_index == 0

    monkeypatch.setattr(writer, "FILE_MB", 0)
    monkeypatch.setattr(writer, "CHUNK_FILES", 2)
    write_lerobot(tmp_path / "small", recorded, LeRobotFormat(videos=True))
    names = [file.split("data/")[1] for file in find_files(str(tmp_path / "small"))]
    assert names == ["chunk-000/file-000.parquet", "chunk-000/file-001.parquet", "chunk-001/file-000.parquet"]
    assert [len(segment) for segment in read(tmp_path / "small")] == [4, 6, 3]


@pytest.mark.parametrize("version", VERSIONS)
def test_statistics_are_those_of_the_data(tmp_path, version):
    recorded = [episode(n, number=n) for n in (4, 9)]
    write_lerobot(tmp_path / "set", recorded, LeRobotFormat(version))
    actions = np.concatenate([segment.actions for segment in recorded])
    low, high = LeRobotFolder.open(str(tmp_path / "set")).action_limits
    np.testing.assert_array_equal([low, high], [actions.min(axis=0), actions.max(axis=0)])
    if version == "v3.0":
        stats = json.loads((tmp_path / "set" / "meta/stats.json").read_text())
        images = np.concatenate([segment.observations["image"][:-1] for segment in recorded]) / 255
        np.testing.assert_allclose(stats["action"]["std"], actions.std(axis=0), rtol=1e-5)
        np.testing.assert_allclose(np.ravel(stats["observation.images.image"]["mean"]), images.mean(axis=(0, 1, 2)))
        np.testing.assert_allclose(
            np.ravel(stats["observation.images.image"]["std"]), images.std(axis=(0, 1, 2)), rtol=1e-6
        )
        for name, limit in (("min", np.min), ("max", np.max)):
            np.testing.assert_array_equal(
                np.squeeze(stats["observation.images.image"][name]), limit(images, axis=(0, 1, 2))
            )
        assert np.shape(stats["observation.images.image"]["max"]) == (3, 1, 1)
        assert stats["next.reward"]["count"] == [13]


OURS = ("next.truncated", "next.mask", "complementary_info.discrete_penalty", "complementary_info.is_intervention")


def test_what_another_recorder_leaves_out_has_a_default(tmp_path):
    good, late = episode(4, rewards=[0, 0, 0, 1]), episode(3, rewards=[0, 0, 0])
    write_lerobot(tmp_path / "a", [good, late])
    for missing in (OURS, ("next.done",)):
        first, second = read(rewritten(tmp_path / "a", without(*missing)))
        assert first.masks.tolist() == [1, 1, 1, 0]
        assert second.masks.tolist() == [1, 1], "time ran out, and the value of what came next counts"
        assert not first.intervened.any() and not first.grasp_penalty.any()


def test_without_rewards_somebody_must_say_that_episodes_succeed(tmp_path):
    write_lerobot(tmp_path / "set", [episode(4)])
    rewritten(tmp_path / "set", without(*OURS, "next.reward", "next.done"))
    with pytest.raises(DemoError, match=r"no rewards \(column next.reward\).*--episodes_succeed"):
        read(tmp_path / "set")
    [segment] = read(tmp_path / "set", lerobot=LeRobotOptions(episodes_succeed=True))
    assert segment.rewards.tolist() == [0, 0, 0, 1]
    assert segment.dones.tolist() == [False, False, False, True]
    assert segment.masks[-1] == 0


def test_an_episode_that_is_done_within_is_cut_there(tmp_path):
    write_lerobot(tmp_path / "set", [episode(6)])
    done = pa.array([False, True, False, False, False, True])
    rewritten(
        tmp_path / "set", lambda t: without(*OURS)(t.set_column(t.column_names.index("next.done"), "next.done", done))
    )
    first, second = read(tmp_path / "set")
    assert (len(first), len(second)) == (2, 4)
    assert first.episode != second.episode
    assert first.observations["state"][:, 1].tolist() == [0, 1, 1]


def test_actions_of_other_units_are_refused_or_rescaled(tmp_path):
    actions = np.array([[-40, 0.5, 3], [10, 0.5, 3], [60, -0.5, 3]], np.float32)
    write_lerobot(tmp_path / "set", [episode(3, actions=actions)])
    message = r"episode 0: action\[0\]: expected numbers in \[-1, 1\], found -40 to 60.*--rescale_actions"
    with pytest.raises(DemoError, match=message):
        read(tmp_path / "set")
    [segment] = read(tmp_path / "set", lerobot=LeRobotOptions(rescale_actions=True))
    np.testing.assert_allclose(segment.actions, [[-2 / 3, 1, 1], [1 / 6, 1, 1], [1, -1, 1]], atol=1e-6)


def test_what_has_no_place_in_the_format_is_refused(tmp_path):
    for n, (observations, message) in enumerate(
        (
            ({"a/b": np.zeros((4, 2))}, "names with a slash"),
            ({"scalar": np.zeros(4)}, "arrays without an axis"),
            ({"odd": np.zeros((4, 3, 5, 3), np.uint8)}, "'odd'.* even height and width"),
            ({"gray": np.zeros((4, 4, 4, 1), np.uint8)}, "'gray'.* 3 channels"),
            ({"none": np.zeros((4, 0), np.float32)}, "'none'.* none empty"),
            ({"words": np.full((4, 2), "up")}, "'words'.* numbers"),
            (
                {"x": np.zeros((4, 4, 4, 3), np.uint8), "images.x": np.zeros((4, 2))},
                "images.x is that of another observation",
            ),
        )
    ):
        with pytest.raises(ValueError, match=message):
            write_lerobot(tmp_path / str(n), [episode(3, observations=observations)], LeRobotFormat(videos=True))
    with pytest.raises(ValueError, match="Episode '1' has image .*; those before it"):
        write_lerobot(tmp_path / "mixed", [episode(3), episode(3, number=1, actions=np.zeros((3, 5)))])
    with pytest.raises(ValueError, match="no segment to write"):
        write_lerobot(tmp_path / "empty", [])


@pytest.mark.parametrize("version", VERSIONS)
def test_a_bad_episode_does_not_hide_the_others(tmp_path, version):
    recorded = [episode(4, number=i) for i in range(3)]
    recorded[1].rewards[2] = np.nan
    write_lerobot(tmp_path / "set", recorded, LeRobotFormat(version))
    errors = []
    found = read(tmp_path / "set", on_bad=errors.append)
    assert [segment.observations["state"][0, 0] for segment in found] == [0, 2]
    [error] = errors
    assert "rewards: expected finite numbers" in str(error)


def test_training_reads_a_folder_in_parallel(tmp_path, shared_ray):
    recorded = [episode(n, number=n) for n in (3, 5)]
    write_lerobot(tmp_path / "set", recorded, LeRobotFormat("v2.1"))
    spec = {"image": ArraySpec((2, 2, 3), np.uint8), "state": ArraySpec((2,), np.float32)}
    for found, segment in zip(segments(read_demos(str(tmp_path / "set"), spec, 2)), recorded, strict=True):
        [wanted] = after_lerobot(segment)
        assert found.observation_spec == spec
        np.testing.assert_array_equal(found.observations["image"], wanted.observations["image"])


@pytest.mark.parametrize("version", VERSIONS)
def test_data_files_say_what_their_columns_are_as_the_datasets_library_reads_it(tmp_path, version):
    observations = {key: np.zeros((4, *spec.shape), spec.dtype) for key, spec in SPEC.items()}
    write_lerobot(tmp_path / "set", [episode(3, observations=observations)], LeRobotFormat(version))
    [path] = (tmp_path / "set" / "data").rglob("*.parquet")
    schema = pq.read_schema(path)
    types = json.loads(schema.metadata[b"huggingface"])["info"]["features"]
    assert list(types) == schema.names
    assert types["observation.images.front"] == {"_type": "Image"}
    assert types["observation.one"] == {"dtype": "float64", "_type": "Value"}
    assert types["observation.grid"] == {"shape": [2, 1, 3], "dtype": "float16", "_type": "Array3D"}
    assert types["observation.count"] == {
        "feature": {"dtype": "int64", "_type": "Value"},
        "length": 2,
        "_type": "Sequence",
    }


def test_meta_data_are_read_once_for_all_data_files_and_anew_when_they_change(tmp_path):
    write_lerobot(tmp_path / "set", [episode(3, number=n) for n in range(3)], LeRobotFormat("v2.1"))
    files = find_files(str(tmp_path / "set"))
    assert len({id(folder_of(file)) for file in files}) == 1
    shutil.rmtree(tmp_path / "set")
    write_lerobot(tmp_path / "set", [episode(4)], LeRobotFormat("v2.1"))
    assert [len(segment) for segment in read(tmp_path / "set")] == [4]


def test_version_2_0_has_its_limits_in_one_file(tmp_path):
    actions = np.array([[-4.0, 0], [4, 2]], np.float32)
    write_lerobot(tmp_path / "set", [episode(2, actions=actions)], LeRobotFormat("v2.1"))
    meta = tmp_path / "set" / "meta"
    [line] = (meta / "episodes_stats.jsonl").read_text().splitlines()
    (meta / "stats.json").write_text(json.dumps(json.loads(line)["stats"]))
    (meta / "episodes_stats.jsonl").unlink()
    change_info(tmp_path / "set", codebase_version="v2.0")
    [segment] = read(tmp_path / "set", lerobot=LeRobotOptions(rescale_actions=True))
    assert segment.actions.tolist() == [[-1, -1], [1, 1]]
