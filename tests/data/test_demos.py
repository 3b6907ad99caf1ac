import pickle
from dataclasses import replace

import numpy as np
import pytest
from recordings import BAD, IMAGE, STATE, changed, dump, recorded, transitions
from stamped import ACTION_DIM, SPEC, assert_same, stamped_segment

from serl_ray.data.counting import count_in_file
from serl_ray.data.demos import find_files, first_segment, read_demos, read_file, segments, write_demos
from serl_ray.data.errors import DemoError
from serl_ray.data.observations import Selection
from serl_ray.data.schema import ArraySpec


def test_a_file_that_is_named_twice_is_read_once(tmp_path, caplog):
    write_demos(tmp_path / "a.pkl", [stamped_segment(0, 0, 3, done=True)])
    assert find_files([str(tmp_path / "a.pkl"), str(tmp_path / "*.pkl")]) == [str(tmp_path / "a.pkl")]
    assert "a.pkl is named twice, and read once" in caplog.text


def test_a_recording_of_the_original_becomes_segments(tmp_path):
    first, second = transitions(4, seed=1), transitions(3, seed=2)
    path = dump(tmp_path / "demo.pkl", first + second)
    spec = {"wrist": IMAGE, "state": STATE}
    found = list(read_file(path, spec, 7))
    assert [len(segment) for segment in found] == [4, 3]
    for segment, truth in zip(found, (first, second), strict=True):
        assert segment.observation_spec == spec
        for t, transition in enumerate(truth):
            for role, row in (("observations", t), ("next_observations", t + 1)):
                np.testing.assert_array_equal(segment.observations["wrist"][row], transition[role]["wrist"][0])
                np.testing.assert_array_equal(
                    segment.observations["state"][row], transition[role]["state"][0].astype(np.float32)
                )
            np.testing.assert_array_equal(segment.actions[t], transition["actions"].astype(np.float32))
            assert segment.grasp_penalty[t] == np.float32(transition["infos"]["grasp_penalty"])
        assert segment.masks.tolist() == [1.0] * (len(truth) - 1) + [0.0]
        assert not segment.truncateds.any()
        assert not segment.intervened.any()


def test_a_gap_in_a_recording_ends_a_segment(tmp_path):
    whole = transitions(9)
    path = dump(tmp_path / "gaps.pkl", [whole[t] for t in (0, 1, 4, 5, 6, 8)])
    found = list(read_file(path))
    assert [len(segment) for segment in found] == [2, 3, 1]
    np.testing.assert_array_equal(found[0].observations["wrist"][-1], whole[1]["next_observations"]["wrist"][0])
    np.testing.assert_array_equal(found[1].observations["wrist"][0], whole[4]["observations"]["wrist"][0])


def test_fields_that_a_recording_may_lack_follow_from_the_others(tmp_path):
    plain = transitions(3)
    for transition in plain:
        del transition["masks"], transition["infos"]
    [segment] = read_file(dump(tmp_path / "plain.pkl", plain))
    assert segment.masks.tolist() == [1.0, 1.0, 0.0]
    assert segment.grasp_penalty.tolist() == [0.0, 0.0, 0.0]
    timed_out = transitions(3)
    timed_out[-1]["masks"] = 1.0
    timed_out[-1]["grasp_penalty"] = -0.5
    [segment] = read_file(dump(tmp_path / "timed_out.pkl", timed_out))
    assert segment.truncateds.tolist() == [False, False, True]
    assert segment.grasp_penalty[-1] == -0.5
    only_truncated = transitions(3)
    only_truncated[1].update(truncateds=True)
    found = list(read_file(dump(tmp_path / "truncated.pkl", only_truncated)))
    assert [segment.dones[-1] for segment in found] == [True, True]
    assert [segment.masks[-1] for segment in found] == [1.0, 0.0]


def test_pickle_and_parquet_carry_the_same_to_the_bit(tmp_path):
    write_demos(tmp_path / "a", recorded())
    shard = tmp_path / "a" / "shard-00000.parquet"
    write_demos(tmp_path / "b.pkl", read_file(str(shard)))
    write_demos(tmp_path / "c", read_file(str(tmp_path / "b.pkl")))
    for path, with_ids in ((shard, True), (tmp_path / "b.pkl", False), (tmp_path / "c" / "shard-00000.parquet", False)):
        for found, expected in zip(read_file(str(path), SPEC, ACTION_DIM), recorded(), strict=True):
            assert_same(found, expected, ids=with_ids)


def test_a_pickle_holds_each_frame_once_and_reads_as_the_original_expects(tmp_path):
    path = tmp_path / "demo.pkl"
    write_demos(path, [stamped_segment(1, 0, 5, done=True)])
    listed = pickle.loads(path.read_bytes())
    assert len({id(t[role]["image"]) for t in listed for role in ("observations", "next_observations")}) == 6
    assert listed[0]["observations"]["image"].shape == (1, 2, 2, 3)
    assert listed[0]["observations"]["state"].shape == (1, 2)
    assert listed[4]["dones"] and listed[4]["masks"] == 0.0


def test_nothing_is_overwritten_and_nothing_half_written_stays(tmp_path):
    def failing():
        yield recorded()[0]
        raise RuntimeError("camera unplugged")

    for name in ("demos", "demos.pkl"):
        with pytest.raises(RuntimeError, match="unplugged"):
            write_demos(tmp_path / name, failing())
        assert list(tmp_path.iterdir()) == []
    write_demos(tmp_path / "demos", recorded())
    with pytest.raises(FileExistsError, match="exists already"):
        write_demos(tmp_path / "demos", recorded())


def test_files_are_found_in_a_fixed_order(tmp_path):
    for name in ("b.pkl", "a.pickle", "notes.txt", "c.parquet"):
        (tmp_path / name).touch()
    names = [
        path.rsplit("/", 1)[1] for path in find_files([str(tmp_path / "c*"), str(tmp_path), str(tmp_path / "b.pkl")])
    ]
    assert names == ["c.parquet", "a.pickle", "b.pkl"]
    for missing in ("nowhere", "*.zip", "notes.txt"):
        with pytest.raises(FileNotFoundError, match="no demonstrations there"):
            find_files(str(tmp_path / missing))


def test_ray_data_reads_every_file_in_order(tmp_path, shared_ray):
    write_demos(tmp_path / "0", recorded())
    for i in range(1, 5):
        write_demos(tmp_path / f"{i}.pkl", [stamped_segment(i, 0, 2 * i, done=True), stamped_segment(i + 10, 0, 3)])
    dataset = read_demos([str(tmp_path / "0"), str(tmp_path / "*.pkl")], SPEC, ACTION_DIM)
    expected = recorded() + [
        s for i in range(1, 5) for s in (stamped_segment(i, 0, 2 * i, done=True), stamped_segment(i + 10, 0, 3))
    ]
    for found, wanted in zip(segments(dataset), expected, strict=True):
        assert_same(found, wanted, ids=False)


def test_select_makes_what_the_agent_sees(tmp_path, shared_ray):
    write_demos(tmp_path / "demos", recorded())
    write_demos(tmp_path / "demos.pkl", recorded())
    path = str(tmp_path / "demos.pkl")
    select = Selection(["image"], ["state", "state"])
    spec = {"image": SPEC["image"], "state": ArraySpec((4,), np.float32)}
    dataset = read_demos([str(tmp_path / "demos"), path], spec, ACTION_DIM, select)
    for found, truth in zip(segments(dataset), recorded() * 2, strict=True):
        assert_same(found, replace(truth, observations=select(truth.observations)), ids=False)
    with pytest.raises(
        DemoError, match=r"transition 0: observations\['wrist'\]: expected uint8 .*, found only image, state"
    ):
        list(read_file(path, {"wrist": IMAGE}, select=select))
    select = Selection(["wrist"], ["state"])
    with pytest.raises(
        DemoError, match=r"demos\.pkl: Observation key\(s\) wrist not found; there are image, map, state"
    ):
        list(read_file(path, select=select))


def with_depth(transition):
    depth = {"depth": np.zeros((1, 4, 4), np.uint16)}
    observed = {role: depth | transition[role] for role in ("observations", "next_observations")}
    return transition | observed


def test_what_no_agent_sees_does_not_matter(tmp_path, shared_ray):
    path = dump(tmp_path / "demos.pkl", [with_depth(transition) for transition in transitions(4)])
    with pytest.raises(DemoError, match=r"observations\['depth'\].*Scale depth to bytes"):
        list(read_file(path))
    state = Selection((), ("state",))
    [segment] = segments(read_demos(path, select=state))
    assert segment.observations.keys() == {"state"}
    assert count_in_file(path, state.used) == 5 and count_in_file(path) == 0
    assert first_segment(path, state.used).observations.keys() == {"state"}


def test_an_error_in_a_ray_task_is_one_line_to_the_user(tmp_path, shared_ray):
    path = dump(tmp_path / "bad.pkl", [*transitions(2), "not a transition"])
    with pytest.raises(DemoError) as caught:
        list(segments(read_demos(path)))
    assert str(caught.value) == f"{path}: transition 2: transition: expected a dict, found a str."


@pytest.mark.parametrize("name", BAD)
def test_what_is_wrong_is_said_in_one_line(tmp_path, name):
    content, message = BAD[name]
    path = dump(tmp_path / "bad.pkl", content)
    with pytest.raises(DemoError, match=message) as caught:
        list(read_file(path, {"wrist": IMAGE, "state": STATE}, 7))
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_an_image_is_an_image_even_where_nobody_says_what_to_expect(tmp_path):
    for wrong in (np.zeros((4, 4, 3), np.float32), np.zeros((3, 5, 5), np.uint8)):
        path = dump(tmp_path / "bad.pkl", changed(0, "observations/wrist", wrong))
        with pytest.raises(DemoError, match=r"transition 0: .*expected an image \(height, width, channels\) of uint8"):
            list(read_file(path))


def test_parquet_is_held_to_the_same(tmp_path):
    write_demos(tmp_path / "demos", recorded())
    path = str(tmp_path / "demos" / "shard-00000.parquet")
    with pytest.raises(DemoError, match="no observations wrist; the file has image, state, map"):
        list(read_file(path, {"wrist": IMAGE}))
    with pytest.raises(
        DemoError,
        match=r"observations\['image'\]: expected uint8 of shape \(4, 4, 3\), found uint8 of shape \(2, 2, 3\)",
    ):
        list(read_file(path, {"image": IMAGE}))
    with pytest.raises(DemoError, match="actions: expected 7 numbers, the action space of the env, found 2"):
        list(read_file(path, None, 7))
    bad = stamped_segment(1, 0, 4)
    bad.rewards[2] = np.inf
    write_demos(tmp_path / "infinite", [stamped_segment(0, 0, 3), bad])
    with pytest.raises(DemoError, match="transition 5: rewards: expected finite numbers, found inf"):
        list(read_file(str(tmp_path / "infinite" / "shard-00000.parquet")))
