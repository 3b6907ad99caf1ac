"""An exported policy plays on a robot: at its rate, within its contract, and the robot is stopped at the end."""

import numpy as np
import pytest
from serl_robot import Box, Dict, acting
from serl_robot.acting import run
from serl_robot.adapter import EnvFault
from serl_robot.policy import PolicyError


class Arm:
    """A robot that counts, and fails or ends where it is told to."""

    action_space = Box(-1, 1, (2,))
    observation_space = Dict({"state": Box(-np.inf, np.inf, (1,))})

    def __init__(self, fails_at=None, length=4):
        self.fails_at, self.length, self.calls = fails_at, length, []

    def reset(self, seed=None):
        self.calls.append("reset")
        self.steps = 0
        return {"state": np.zeros(1, np.float32)}, {}

    def step(self, action):
        self.calls.append("step")
        self.steps += 1
        if self.steps == self.fails_at:
            raise OSError("the arm is off")
        is_end = self.steps == self.length
        return {"state": np.full(1, self.steps, np.float32)}, float(is_end), is_end, False, {}

    def stop(self):
        self.calls.append("stop")


class Counting:
    """A policy of no weights."""

    def __init__(self, refuses=False):
        self.refuses, self.seen, self.resets = refuses, [], 0

    def check(self, spaces, action_dim):
        if self.refuses:
            raise PolicyError("another contract")

    def reset(self):
        self.resets += 1

    def act(self, observation):
        self.seen.append(float(observation["state"][0]))
        return np.zeros(2, np.float32)


class Clock:
    """A clock that sleeping and thinking move on."""

    def __init__(self, monkeypatch, thinking):
        self.now, self.thinking, self.waits = 0.0, list(thinking), []
        monkeypatch.setattr(acting.time, "sleep", self.sleep)

    def sleep(self, seconds):
        self.waits.append(round(seconds, 6))
        self.now += seconds

    def __call__(self):
        return self.now


def test_episodes_are_played_and_the_robot_is_stopped():
    arm, policy = Arm(), Counting()
    played = run(arm, policy, 1000.0, 2)
    assert [(one.steps, one.reward) for one in played] == [(4, 1.0)] * 2
    assert arm.calls == [*["reset", *["step"] * 4] * 2, "stop"]
    assert policy.seen == [0.0, 1.0, 2.0, 3.0] * 2 and policy.resets == 2


def test_each_step_begins_a_period_after_the_last_and_a_late_one_shifts_the_others(monkeypatch):
    clock, policy = Clock(monkeypatch, ()), Counting()
    seconds = iter([0.0, 0.02, 0.25, 0.02])
    act = policy.act

    def slow(observation):
        clock.now += next(seconds)
        return act(observation)

    policy.act = slow
    [played] = run(Arm(), policy, 10.0, 1, clock)
    assert played.late == 1
    np.testing.assert_allclose(clock.waits, [0.0, 0.08, 0.0, 0.08])


def test_a_robot_that_fails_is_stopped():
    arm = Arm(fails_at=2)
    with pytest.raises(EnvFault, match="the arm is off"):
        run(arm, Counting(), 1000.0, 1)
    assert arm.calls == ["reset", "step", "step", "stop"]


def test_another_contract_is_refused_before_anything_moves():
    arm = Arm()
    with pytest.raises(PolicyError, match="another contract"):
        run(arm, Counting(refuses=True), 1000.0, 1)
    assert arm.calls == []


@pytest.mark.parametrize("episodes", [0, -1])
def test_no_episodes_are_refused(episodes):
    with pytest.raises(PolicyError, match="at least 1"):
        run(Arm(), Counting(), 10.0, episodes)


@pytest.mark.parametrize("hz", [0.0, -1.0, float("nan"), 1e6])
def test_a_rate_that_cannot_be_is_refused(hz):
    with pytest.raises(PolicyError, match="The rate is"):
        run(Arm(), Counting(), hz, 1)
