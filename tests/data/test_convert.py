from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stamped import assert_same, stamped_segment

from serl_ray.cli.main import main
from serl_ray.data.convert import Episodes, convert
from serl_ray.data.demos import find_files, read_file, write_demos
from serl_ray.data.errors import DemoError
from serl_ray.data.formats.lerobot.folder import LeRobotFolder
from serl_ray.data.formats.lerobot.reader import AS_RECORDED
from serl_ray.data.formats.lerobot.writer import EXACT, LeRobotFormat

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


def test_the_command_finds_formats_out_by_itself(tmp_path, capsys):
    write_demos(tmp_path / "a.pkl", [terminated(1, 4), terminated(2, 3)])
    assert run(tmp_path / "a.pkl", tmp_path / "set", "--to", "lerobot-v2.1", "--fps", "20", "--task", "pick the cube up") == 0
    assert "2 episodes, 7 transitions, lerobot-v2.1" in capsys.readouterr().out
    folder = LeRobotFolder.open(str(tmp_path / "set"))
    assert folder.info["fps"] == 20 and folder.episodes[0]["tasks"] == ["pick the cube up"]
    assert run(tmp_path / "set", tmp_path / "b.pkl") == 0
    for found, expected in zip(read(tmp_path / "b.pkl"), read(tmp_path / "a.pkl"), strict=True):
        assert_same(found, expected, ids=False)
    assert run(tmp_path / "set", tmp_path / "b.pkl") == 2
    assert capsys.readouterr().err.splitlines()[-1].endswith("Choose another name, or delete it first.")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("b.pkl", "--to", "parquet"), "a pickle ends in .pkl"),
        (("b", "--to", "pickle"), "a pickle ends in .pkl"),
        (("b", "--videos"), "videos are for LeRobot"),
        (("b", "--to", "lerobot-v3", "--fps", "0"), "fps is 0; it must be at least 1"),
    ],
)
def test_flags_that_contradict_each_other_are_refused(tmp_path, flags, message, capsys):
    assert run(tmp_path / "a.pkl", *flags) == 2
    assert message in capsys.readouterr().err
