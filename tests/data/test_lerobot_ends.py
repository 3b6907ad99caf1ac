"""What ends an episode of a LeRobot data set: next.done, next.truncated and next.success decide, and a guess is
said."""

import pyarrow as pa
import pytest
from lerobot_sets import episode, read, rewritten, with_column, without

from serl_ray.data.convert import Episodes
from serl_ray.data.counting import count_in_file
from serl_ray.data.demos import find_files
from serl_ray.data.errors import DemoError
from serl_ray.data.formats.lerobot.reader import AS_RECORDED, LeRobotOptions
from serl_ray.data.formats.lerobot.writer import write_lerobot

DENSE = [0.1, 0.2, 0.3, 0.4, 0.45]
NEVER, AT_THE_END = [False] * 5, [False] * 4 + [True]


def recorded(folder, **columns):
    """The segments of an episode of five rows that has no columns of rewards and ends but these."""
    write_lerobot(folder, [episode(5)])
    rewritten(folder, without("next.mask", "next.truncated", "next.done", "next.reward"))
    for name, values in columns.items():
        rewritten(folder, with_column(f"next.{name}", values, pa.float32() if name == "reward" else None))
    return read(folder)


@pytest.mark.parametrize(
    ("columns", "rewards", "terminated", "said"),
    [
        (
            {"reward": [-1, -1, -1, -1, 0], "done": AT_THE_END},
            [-1, -1, -1, -1, 0],
            True,
            "neither next.truncated nor next.succ",
        ),
        ({"reward": [-1] * 5, "done": AT_THE_END}, [-1] * 4, False, "neither next.truncated nor next.success"),
        (
            {"reward": DENSE, "done": AT_THE_END, "success": NEVER},
            DENSE[:4],
            False,
            "frame 4 with the reward 0.45 is left out",
        ),
        ({"reward": DENSE, "done": AT_THE_END, "success": AT_THE_END}, DENSE, True, ""),
        (
            {"reward": [0, 0, 0, 0, 1], "done": NEVER},
            [0, 0, 0, 0, 1],
            True,
            "its last row has the reward 1, but not next.done",
        ),
        (
            {"reward": [0] * 5, "done": NEVER, "success": AT_THE_END},
            [0] * 5,
            True,
            "its last row has next.success, but not next",
        ),
        ({"reward": [0] * 5, "done": AT_THE_END, "truncated": NEVER}, [0] * 5, True, ""),
        ({"reward": [0, 0, 0, 0, 1], "truncated": AT_THE_END}, [0] * 4, False, "frame 4 with the reward 1 is left out"),
        ({"reward": [0] * 5, "truncated": AT_THE_END, "success": AT_THE_END}, [0] * 5, True, ""),
        (
            {"success": AT_THE_END},
            [0, 0, 0, 0, 1],
            True,
            "no rewards (column next.reward), so an end with next.success",
        ),
        ({"success": NEVER, "done": AT_THE_END}, [0] * 4, False, "no rewards (column next.reward)"),
        ({"reward": [0] * 5, "terminated": AT_THE_END}, [0] * 5, True, ""),
        ({"reward": [0] * 5, "done": AT_THE_END, "terminated": NEVER}, [0] * 4, False, ""),
        ({"reward": [0] * 5, "terminated": NEVER, "truncated": AT_THE_END}, [0] * 4, False, ""),
        ({"reward": DENSE, "terminated": AT_THE_END, "success": NEVER}, DENSE, True, ""),
        (
            {"reward": [0] * 5, "done": AT_THE_END, "terminated": NEVER, "success": AT_THE_END},
            [0] * 4,
            False,
            "frame 4 has next.success, and did not terminate by its next.terminated. next.terminated is taken",
        ),
        (
            {"reward": [0] * 5, "done": NEVER, "terminated": AT_THE_END},
            [0] * 5,
            True,
            "frame 4 has next.terminated, but not next.done. It is taken as an end.",
        ),
        (
            {"reward": [0] * 5, "done": NEVER, "truncated": AT_THE_END},
            [0] * 4,
            False,
            "frame 4 has next.truncated, but not next.done. It is taken as an end.",
        ),
        (
            {"reward": [0] * 5, "done": AT_THE_END, "mask": [1.0] * 4 + [0.0], "terminated": AT_THE_END},
            [0] * 5,
            True,
            "",
        ),
        ({"reward": [0] * 5, "done": AT_THE_END, "mask": [1.0] * 4 + [0.0], "success": NEVER}, [0] * 5, True, ""),
        (
            {"reward": [0] * 5, "done": AT_THE_END, "mask": [1.0] * 5, "success": AT_THE_END},
            [0] * 4,
            False,
            "frame 4 has next.success, and did not terminate by its next.mask. next.mask is taken, so values go on",
        ),
    ],
)
def test_the_end_of_an_episode(tmp_path, caplog, columns, rewards, terminated, said):
    [segment] = recorded(tmp_path / "set", **columns)
    assert segment.rewards.tolist() == pytest.approx(rewards)
    assert (segment.masks == 0).tolist() == [*[False] * (len(rewards) - 1), terminated]
    assert segment.dones[-1] == terminated and not segment.truncateds.any()
    assert said in caplog.text and (said or not caplog.text)


def at(*frames):
    return [t in frames for t in range(5)]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"mask": [1.0] * 5, "terminated": AT_THE_END}, "frame 4 has a next.mask of 1, and next.terminated is true"),
        (
            {"mask": [1.0] * 4 + [0.0], "terminated": NEVER},
            "frame 4 has a next.mask of 0, and next.terminated is false",
        ),
        ({"terminated": at(1, 4)}, "frame 1 has next.terminated, but not next.done, and the episode goes on"),
    ],
)
def test_flags_of_an_end_that_contradict_each_other_are_refused(tmp_path, columns, message):
    with pytest.raises(DemoError, match=f"episode 0: {message}"):
        recorded(tmp_path / "set", reward=[0] * 5, done=AT_THE_END, **columns)


def test_an_end_may_be_both_terminated_and_a_time_out(tmp_path, caplog):
    [segment] = recorded(tmp_path / "set", reward=[0] * 5, terminated=AT_THE_END, truncated=AT_THE_END)
    assert segment.masks.tolist() == [1, 1, 1, 1, 0] and segment.truncateds.tolist() == AT_THE_END and not caplog.text


def test_an_episode_that_terminates_within_is_cut_there_and_counted(tmp_path):
    first, second = recorded(tmp_path / "set", reward=[0] * 5, terminated=at(1, 4))
    assert (len(first), len(second)) == (2, 3) and first.masks[-1] == second.masks[-1] == 0
    [file] = find_files(str(tmp_path / "set"))
    assert count_in_file(file) >= len(first) + len(second) + 2


def test_a_reported_success_is_kept_and_overruled_where_a_user_says_so(tmp_path, caplog):
    [segment] = recorded(tmp_path / "set", reward=[0] * 5, done=AT_THE_END, success=AT_THE_END)
    assert segment.success is True
    recorded(tmp_path / "failed", success=NEVER)
    read(tmp_path / "failed", lerobot=LeRobotOptions(episodes_succeed=True))
    assert "--episodes_succeed is taken in place of its next.success." in caplog.text


def test_a_guess_is_said_once_for_a_data_set(tmp_path, caplog):
    write_lerobot(tmp_path / "set", [episode(3, number=i) for i in range(4)])
    rewritten(tmp_path / "set", without("next.mask", "next.truncated"))
    assert len(read(tmp_path / "set")) == 4
    assert caplog.text.count("neither next.truncated nor next.success") == 1


def test_a_user_who_says_that_episodes_succeed_is_told_of_no_guess_but_of_rewards(tmp_path, caplog):
    write_lerobot(tmp_path / "set", [episode(3)])
    rewritten(tmp_path / "set", without("next.mask", "next.truncated", "next.reward"))
    [segment] = read(tmp_path / "set", lerobot=LeRobotOptions(episodes_succeed=True))
    assert segment.masks.tolist() == [1, 1, 0] and not caplog.text
    write_lerobot(tmp_path / "rewarded", [episode(3)])
    read(tmp_path / "rewarded", lerobot=LeRobotOptions(episodes_succeed=True))
    assert "it has rewards, so --episodes_succeed changes nothing" in caplog.text


def test_episodes_of_one_row_are_counted(tmp_path, caplog):
    cut = episode(1, dones=[False], masks=[1.0])
    write_lerobot(tmp_path / "set", [cut, episode(4), cut])
    assert [len(segment) for segment in Episodes(str(tmp_path / "set"), AS_RECORDED)] == [4]
    assert "2 of 3 episodes dropped: " in caplog.text and "an episode of one frame" in caplog.text
    write_lerobot(tmp_path / "none", [cut])
    with pytest.raises(DemoError, match=r"none/.*: an episode of one frame, .* Nothing is left\."):
        list(Episodes(str(tmp_path / "none"), AS_RECORDED))
