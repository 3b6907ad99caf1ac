import json
import pickle
from dataclasses import replace

import numpy as np
import pytest
from hil_serl_files import write_demos as write_hil_serl_demos
from hypothesis import given, settings
from hypothesis import strategies as st
from lerobot_sets import change_info
from stamped import assert_same, stamped_segment

from serl_ray.cli.main import main
from serl_ray.data.convert import Episodes, convert
from serl_ray.data.demos import find_files, read_file, write_demos
from serl_ray.data.errors import DemoError
from serl_ray.data.formats.lerobot.folder import LeRobotFolder
from serl_ray.data.formats.lerobot.reader import AS_RECORDED
from serl_ray.data.formats.lerobot.writer import EXACT, LeRobotFormat, write_lerobot
from serl_ray.data.formats.parquet import scale_of

FORMATS = {
    "demos.pkl": ("pickle", EXACT),
    "parquet": ("parquet", EXACT),
    "v2": ("lerobot", LeRobotFormat("v2.1")),
    "v3": ("lerobot", LeRobotFormat("v3.0")),
}


def terminated(number, n):
    """An episode that ends in success and whose last frame is there twice, which every format can hold."""
    segment = stamped_segment(number, 0, n, done=True)
    frames = {key: np.concatenate([rows[:-1], rows[-2:-1]]) for key, rows in segment.observations.items()}
    return replace(segment, observations=frames, rewards=np.arange(n) == n - 1)


def read(path):
    return [segment for file in find_files(str(path)) for segment in read_file(file)]


def run(*words):
    return main(["convert", *map(str, words)])


@given(
    lengths=st.lists(st.integers(1, 6), min_size=1, max_size=3),
    path=st.lists(st.sampled_from(sorted(FORMATS)), min_size=1, max_size=4),
)
@settings(deadline=None, max_examples=25)
def test_any_way_through_the_formats_ends_where_it_began(tmp_path_factory, lengths, path):
    folder = tmp_path_factory.mktemp("formats")
    episodes = [terminated(number, n) for number, n in enumerate(lengths)]
    write_demos(folder / "start", episodes)
    source = folder / "start"
    for step, name in enumerate(path):
        to, style = FORMATS[name]
        target = folder / str(step) / name
        done = convert(str(source), target, to, style, AS_RECORDED, skip_bad=False)
        assert (done.num_episodes, done.num_transitions) == (len(lengths), sum(lengths))
        source = target
    for found, expected in zip(read(source), episodes, strict=True):
        assert_same(found, expected, ids=False)


@pytest.mark.parametrize("name", FORMATS)
def test_nothing_half_converted_stays_and_nothing_is_overwritten(tmp_path, name):
    episodes = [terminated(1, 4), terminated(2, 3)]
    episodes[1].rewards[1] = np.inf
    write_demos(tmp_path / "start", episodes)
    to, style = FORMATS[name]
    with pytest.raises(DemoError, match="rewards: expected finite numbers"):
        convert(str(tmp_path / "start"), tmp_path / name, to, style, AS_RECORDED, skip_bad=False)
    assert [path.name for path in tmp_path.iterdir()] == ["start"]
    convert(str(tmp_path / "start"), tmp_path / name, to, style, AS_RECORDED, skip_bad=True)
    assert [len(segment) for segment in read(tmp_path / name)] == [4]
    with pytest.raises(FileExistsError, match="exists already"):
        convert(str(tmp_path / "start"), tmp_path / name, to, style, AS_RECORDED, skip_bad=True)


def test_episodes_are_read_as_they_are_asked_for_and_what_was_dropped_is_said(tmp_path, caplog):
    episodes = [terminated(1, 4), terminated(2, 3), terminated(3, 2)]
    episodes[2].rewards[0] = np.inf
    write_demos(tmp_path / "start", episodes)
    read_one = iter(Episodes(str(tmp_path / "start"), AS_RECORDED))
    assert len(next(read_one)) == 4
    assert len(list(Episodes(str(tmp_path / "start"), AS_RECORDED, skip_bad=True))) == 2
    assert "1 of 3 episodes dropped: " in caplog.text and "transition 7: rewards" in caplog.text


@pytest.mark.parametrize("name", FORMATS)
def test_a_last_transition_that_a_format_cannot_hold_is_said(tmp_path, caplog, name):
    write_demos(tmp_path / "demos", [stamped_segment(0, 0, 3, done=False), stamped_segment(1, 0, 3, done=True)])
    to, style = FORMATS[name]
    convert(str(tmp_path / "demos"), tmp_path / name, to, style, AS_RECORDED, skip_bad=False)
    said = "the last transition of the 1 episode(s) that did not terminate" in caplog.text
    assert said == (to == "lerobot")


@pytest.mark.parametrize("name", FORMATS)
def test_success_that_a_format_cannot_hold_is_said(tmp_path, caplog, name):
    write_demos(tmp_path / "demos", [replace(stamped_segment(0, 0, 3, done=True), success=True)])
    to, style = FORMATS[name]
    convert(str(tmp_path / "demos"), tmp_path / name, to, style, AS_RECORDED, skip_bad=False)
    said = "has no place for info['success'], which 1 episode(s) have" in caplog.text
    assert said == (to != "parquet") and "who acted" not in caplog.text


@pytest.mark.parametrize("name", FORMATS)
def test_actors_that_a_format_cannot_hold_are_said(tmp_path, caplog, name):
    write_demos(tmp_path / "demos", [stamped_segment(0, 0, 3, done=True), stamped_segment(1, 0, 3, True, actors=True)])
    to, style = FORMATS[name]
    convert(str(tmp_path / "demos"), tmp_path / name, to, style, AS_RECORDED, skip_bad=False)
    said = "has no place for the record of who acted and what the policy wanted, which 1 episode(s) have" in caplog.text
    assert said == (to != "parquet")
    assert [segment.actors is not None for segment in read(tmp_path / name)] == [False, to == "parquet"]


def test_the_command_finds_formats_out_by_itself(tmp_path, capsys):
    write_demos(tmp_path / "a.pkl", [terminated(1, 4), terminated(2, 3)])
    assert (
        run(tmp_path / "a.pkl", tmp_path / "set", "--to", "lerobot-v2.1", "--fps", "20", "--task", "pick the cube up")
        == 0
    )
    assert "2 episodes, 7 transitions, lerobot-v2.1" in capsys.readouterr().out
    folder = LeRobotFolder.open(str(tmp_path / "set"))
    assert folder.info["fps"] == 20 and folder.episodes[0]["tasks"] == ["pick the cube up"]
    assert run(tmp_path / "set", tmp_path / "b.pkl") == 0
    for found, expected in zip(read(tmp_path / "b.pkl"), read(tmp_path / "a.pkl"), strict=True):
        assert_same(found, expected, ids=False)
    assert run(tmp_path / "set", tmp_path / "v3", "--to", "lerobot-v3") == 0
    folder = LeRobotFolder.open(str(tmp_path / "v3"))
    assert folder.info["fps"] == 20 and folder.task == "pick the cube up"
    assert run(tmp_path / "set", tmp_path / "b.pkl") == 2
    assert capsys.readouterr().err.splitlines()[-1].endswith("Choose another name, or delete it first.")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("b.pkl", "--to", "parquet"), "a pickle ends in .pkl"),
        (("b", "--to", "pickle"), "a pickle ends in .pkl"),
        (("b", "--videos"), "videos are for LeRobot"),
        (("b", "--to", "lerobot-v3", "--fps", "0"), "fps is 0; it must be at least 1"),
        (("b", "--fps", "20"), "fps is for LeRobot data sets, not for parquet"),
        (("b", "--task", "pick"), "task is for LeRobot data sets, not for parquet"),
        (("b", "--grippers", "6"), "grippers are for --rescale_actions"),
        (("b", "--gripper_values", "0", "1"), "gripper_values are for --rescale_actions"),
        (("b", "--rescale_actions", "--gripper_values", "1", "1"), "gripper_values are 1 twice"),
    ],
)
def test_flags_that_contradict_each_other_are_refused(tmp_path, flags, message, capsys):
    assert run(tmp_path / "a.pkl", *flags) == 2
    assert message in capsys.readouterr().err


def test_all_data_sets_of_a_conversion_have_one_scale_which_is_printed_and_stored(tmp_path, capsys):
    recorded = {
        "a": np.array([[0.01, -0.02, 1], [0.0, 0.05, 0], [0.04, 0.0, 2]], np.float32),
        "b": np.array([[-0.08, 0.0, 1], [0.0, 0.01, 1]], np.float32),
    }
    for name, actions in recorded.items():
        write_lerobot(tmp_path / "sets" / name, [replace(terminated(1, len(actions)), actions=actions)])
    assert run(tmp_path / "sets/*", tmp_path / "shards", "--rescale_actions") == 0
    printed = capsys.readouterr().out
    assert (
        "action[0]: divided by 0.0799999982\naction[1]: divided by 0.0500000007\naction[2]: gripper, 0, 1, 2 become"
        in printed
    )
    assert "The shards store the divisors. An env for the trained policy has an action space of these limits" in printed
    first, second = read(tmp_path / "shards")
    np.testing.assert_allclose(first.actions, [[0.125, -0.4, 0], [0, 1, -1], [0.5, 0, 1]], rtol=1e-6)
    np.testing.assert_allclose(second.actions, [[-1, 0, 0], [0, 0.2, 0]], rtol=1e-6)
    scale = scale_of(tmp_path / "shards" / "shard-00000.parquet")
    assert scale is not None and scale.grippers == (2,)
    np.testing.assert_allclose(scale.invert(second.actions), recorded["b"], rtol=1e-6)
    assert run(tmp_path / "shards", tmp_path / "again") == 0
    assert scale_of(tmp_path / "again" / "shard-00000.parquet") == scale
    main(["inspect", str(tmp_path / "again")])
    assert "action[1]: divided by 0.0500000007" in capsys.readouterr().out
    assert run(tmp_path / "sets/*", tmp_path / "demos.pkl", "--rescale_actions") == 0
    assert "A pickle does not store the divisors: an env" in capsys.readouterr().out


def test_a_bad_episode_is_left_out_of_the_limits_too(tmp_path, capsys, caplog):
    actions = [np.array([[0.02, 0], [0.04, 1]], np.float32), np.array([[9, 0], [np.nan, 1]], np.float32)]
    write_lerobot(tmp_path / "set", [replace(terminated(number, 2), actions=actions[number]) for number in (0, 1)])
    assert run(tmp_path / "set", tmp_path / "shards", "--rescale_actions") == 2
    assert "episode 1: action[0]: expected finite numbers, found nan in frame 1" in capsys.readouterr().err
    flags = "--rescale_actions", "--skip_bad", "--gripper_values", "0", "1"
    assert run(tmp_path / "set", tmp_path / "shards", *flags) == 0
    assert "action[0]: divided by 0.0399999991\naction[1]: gripper, 0, 0.5, 1 become" in capsys.readouterr().out
    assert "1 of 2 episodes dropped" in caplog.text
    [segment] = read(tmp_path / "shards")
    np.testing.assert_allclose(segment.actions, [[0.5, -1], [1, 1]])


def test_without_an_episode_there_are_no_limits(tmp_path, capsys):
    write_lerobot(tmp_path / "set", [replace(terminated(0, 2), actions=np.full((2, 2), np.nan))])
    assert run(tmp_path / "set", tmp_path / "shards", "--rescale_actions", "--skip_bad") == 2
    assert "There is no episode whose actions can be read" in capsys.readouterr().err


def test_options_of_lerobot_data_sets_are_refused_for_others(tmp_path, capsys):
    write_demos(tmp_path / "a.pkl", [terminated(1, 4)])
    for flag in ("--rescale_actions", "--episodes_succeed"):
        assert run(tmp_path / "a.pkl", tmp_path / "b", flag) == 2
        assert f"a.pkl: {flag} is for LeRobot data sets, which this is not" in capsys.readouterr().err
    assert not (tmp_path / "b").exists()


def test_data_sets_with_actions_of_other_lengths_have_no_common_scale(tmp_path, capsys):
    for name, dim in (("a", 2), ("b", 3)):
        write_lerobot(tmp_path / "sets" / name, [replace(terminated(1, 3), actions=np.ones((3, dim)))])
    assert run(tmp_path / "sets/*", tmp_path / "shards", "--rescale_actions") == 2
    assert "actions of 3 numbers; the data before have 2" in capsys.readouterr().err


def test_what_a_source_says_of_itself_and_cannot_be_kept_is_asked_for(tmp_path, capsys):
    write_demos(tmp_path / "a.pkl", [terminated(1, 4), terminated(2, 3)])
    run(tmp_path / "a.pkl", tmp_path / "set", "--to", "lerobot-v2.1")
    lines = [{"episode_index": n, "tasks": [f"task {n}"], "length": length} for n, length in ((0, 4), (1, 3))]
    (tmp_path / "set/meta/episodes.jsonl").write_text("\n".join(map(json.dumps, lines)))
    assert run(tmp_path / "set", tmp_path / "v3", "--to", "lerobot-v3") == 2
    assert "its episodes have several tasks or none; one is written for all. Name it: --task" in capsys.readouterr().err
    change_info(tmp_path / "set", fps=29.97)
    assert run(tmp_path / "set", tmp_path / "v3", "--to", "lerobot-v3", "--task", "both") == 2
    assert "it has 29.97 steps per second; a whole number can be written, such as --fps 30" in capsys.readouterr().err
    assert run(tmp_path / "set", tmp_path / "v3", "--to", "lerobot-v3", "--task", "both", "--fps", "30") == 0


def test_actions_beyond_1_are_clipped_where_it_is_asked_for(tmp_path, capsys):
    path = write_hil_serl_demos(tmp_path / "demos.pkl", excess=0.5)
    assert run(path, tmp_path / "shards") == 2
    assert "a number in [-1, 1], found 1.48" in (said := capsys.readouterr().err) and "convert --clip_actions" in said
    assert run(path, tmp_path / "shards", "--clip_actions") == 0
    assert "12 of 24 actions were clipped to [-1, 1]; the farthest number was 1.5" in capsys.readouterr().out
    with path.open("rb") as file:
        recorded = np.stack([transition["actions"] for transition in pickle.load(file)])
    stored = np.concatenate([segment.actions for segment in read(tmp_path / "shards")])
    np.testing.assert_allclose(stored, np.clip(recorded, -1, 1), rtol=1e-6)


def test_an_action_that_is_no_number_is_never_clipped(tmp_path, capsys):
    episode = terminated(1, 4)
    episode.actions[2, 0] = np.nan
    write_demos(tmp_path / "start", [episode])
    assert run(tmp_path / "start", tmp_path / "shards", "--clip_actions") == 2
    assert "actions[0]: expected a number in [-1, 1], found nan." in capsys.readouterr().err
    assert run(tmp_path / "start", tmp_path / "shards", "--clip_actions", "--rescale_actions") == 2
    assert "choose one of them" in capsys.readouterr().err
