import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image
from stamped import stamped_segment

from serl_ray.data.demos import write_demos
from serl_ray.data.summary import Summary

SCRIPT = Path(__file__).parents[2] / "scripts" / "inspect_demos.py"


def recorded():
    """Two episodes: a success of 6 steps whose gripper moves, and a failure of 3."""
    grip = np.array([-1, 0, -1, 1, 0, -1])
    success = stamped_segment(1, 0, 6, done=True)
    success = replace(success, actions=np.stack([np.linspace(-0.5, 0.5, 6), grip], 1), rewards=np.arange(6) == 5)
    failure = replace(stamped_segment(2, 0, 3, done=True), actions=np.zeros((3, 2)), rewards=np.zeros(3))
    return [success, failure]


def test_the_numbers_are_those_of_the_segments():
    summary = Summary()
    for segment in recorded():
        summary.add(segment)
    text = "\n".join(summary.lines())
    assert summary.lengths == [6, 3] and summary.success_share == 0.5
    assert "2 episodes, 9 transitions" in text
    assert "min 3, median 4.5, max 6" in text
    assert "intervened  0.33" in text
    assert "observation image: uint8 of shape (2, 2, 3)" in text
    assert "action[0]   -0.500 to +0.500\n" in text
    assert "action[1]   -1.000 to +1.000, gripper: closes 3, holds 5, opens 1, 1.0 switches an episode" in text


def test_rewards_and_ends_are_shown():
    success, failure = recorded()
    timed_out = replace(failure, masks=np.ones(3), truncateds=failure.dones)
    unfinished = replace(success, rewards=[-0.5] * 6, dones=np.zeros(6), masks=np.ones(6))
    summary = Summary()
    for segment in (success, failure, timed_out, unfinished.slice(0, 2), unfinished.slice(2, 6)):
        summary.add(segment)
    text = "\n".join(summary.lines())
    assert "success     0.25 of the episodes (a reward above 0 at the end), 1 of 4\n" in text
    assert "reward      min -0.5, max 1; the values -0.5, 0, 1\n" in text
    assert "return      min -3, median 0, max 1\n" in text
    assert "ends        2 terminated, 1 timed out, 1 without an end\n" in text
    summary.add(replace(success, rewards=np.linspace(0, 2, 6)))
    assert "reward      min -0.5, max 2; more than 6 values" in "\n".join(summary.lines())


def test_states_grippers_and_what_is_odd_are_shown():
    summary = Summary(grippers=(1,))
    for segment in recorded():
        segment.observations["state"][:, 0] *= 100
        summary.add(replace(segment, actions=segment.actions + np.array([0, 0.25])))
    text = "\n".join(summary.lines())
    assert (
        "observation state: float32 of shape (2,)\nstate[0]    +100.000 to +200.000\nstate[1]    +0.000 to +6.000\n"
        in text
    )
    assert "gripper: closes 3, holds 5, opens 1, 1.0 switches an episode, 9 off -1, 0 and 1, such as -0.75" in text
    assert "odd: `state` reaches 200: scale it to about 1" in text
    assert "odd: action[1] is a gripper's and has 9 value(s) off -1, 0 and 1" in text


def test_a_number_that_is_always_a_code_is_taken_for_a_gripper():
    summary = Summary()
    for segment in recorded():
        summary.add(replace(segment, actions=np.abs(segment.actions)))
    assert [line for line in summary.lines() if line.startswith("odd: action[1]")] == [
        "odd: action[1] is a gripper's and never closes it: the policy learns no such command. If the task needs it, "
        "record it (-1 close, 0 hold, 1 open); if it needs no command at all, choose a setup_mode with a fixed gripper."
        " It has 0 and 1 alone: where these mean close and open, write -1 and 1; of a LeRobot data set, serl convert "
        "--rescale_actions --gripper_values 0 1."
    ]


def test_segments_of_one_episode_count_as_one():
    whole, summary = recorded()[0], Summary()
    for start, stop in ((0, 2), (2, 6)):
        summary.add(whole.slice(start, stop))
    assert summary.lengths == [6] and summary.success_share == 1


def test_the_script_prints_and_draws_every_format(tmp_path):
    write_demos(tmp_path / "a.pkl", recorded())
    write_demos(tmp_path / "shards", recorded())
    (tmp_path / "bad.pkl").write_bytes(b"no pickle")
    paths = [tmp_path / name for name in ("a.pkl", "shards", "bad.pkl")]
    flags = ["--setup_mode", "single-arm-learned-gripper", "--output", tmp_path / "out" / "a.png", "--skip_bad"]
    done = subprocess.run([*map(str, [sys.executable, SCRIPT, *paths, *flags])], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "1 of 5 episodes dropped: " in done.stderr and "bad.pkl: cut off, or not a pickle" in done.stderr
    assert "2 file(s) of HIL-SERL pickle, 1 file(s) of Parquet version 1" in done.stdout
    assert "4 episodes, 18 transitions" in done.stdout
    picture = np.asarray(Image.open(tmp_path / "out" / "a.png"))
    assert picture.std() > 10
