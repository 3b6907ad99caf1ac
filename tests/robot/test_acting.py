"""An exported policy plays on a robot: at its rate, within its contract, and the robot is stopped at the end."""

import logging
import os
import signal
import threading

import numpy as np
import pytest
from serl_robot import Box, Dict, acting
from serl_robot.acting import run
from serl_robot.adapter import EnvFault
from serl_robot.policy import ContractPolicy, Policy, PolicyError, damage_of


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


class Holding(Arm):
    """A robot that has a hold."""

    def __init__(self):
        super().__init__()
        self.is_held = threading.Event()

    def hold(self):
        self.calls.append("hold")
        self.is_held.set()


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """Robots that wait long for an action, as a busy machine needs where a test is not about waiting."""
    monkeypatch.setattr(acting, "HOLD_PERIODS", 10**5)


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


def test_episodes_are_told_where_the_program_has_no_log_of_its_own(monkeypatch, capsys):
    package = logging.getLogger("serl_robot")
    monkeypatch.setattr(package, "propagate", False)  # pytest's handlers are those of the root
    run(Arm(), Counting(), hz=1000, episodes=1)
    assert "Episode 1: 4 steps, reward 1" in capsys.readouterr().err
    assert (package.level, package.handlers) == (logging.NOTSET, [])


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


def test_a_robot_is_held_while_its_policy_takes_long(monkeypatch):
    arm, policy = Holding(), Counting()
    think = policy.act

    def slow(observation):
        if observation["state"][0] == 2:
            monkeypatch.setattr(acting, "HOLD_PERIODS", 10**5)
            assert arm.is_held.wait(30)
        elif observation["state"][0] == 1:
            monkeypatch.setattr(acting, "HOLD_PERIODS", 2)
        return think(observation)

    policy.act = slow
    run(arm, policy, 20.0, 1)
    assert arm.calls.count("hold") >= 1 and arm.calls.count("step") == 4 and arm.calls[-1] == "stop"


def test_ctrl_c_does_not_wait_for_the_policy():
    arm, policy, goes_on = Holding(), Counting(), threading.Event()

    def hang(observation):
        os.kill(os.getpid(), signal.SIGINT)
        assert goes_on.wait(30)

    policy.act = hang
    with pytest.raises(KeyboardInterrupt):
        run(arm, policy, 20.0, 1)
    assert arm.calls == ["reset", "stop"] and not goes_on.is_set()
    goes_on.set()


class Numbers(ContractPolicy):
    """A policy that gives what a test says."""

    def __init__(self, *numbers):
        contract = {"images": {}, "state_dim": 1, "state_keys": ["state"], "frame_stack": 1, "action_dim": 2}
        super().__init__({**contract, "in_robot_units": False, "control_hz": None, "weights": "w"})
        self.numbers = np.array(numbers, np.float32)

    def _infer(self, stacks):
        return self.numbers


@pytest.mark.parametrize(
    ("numbers", "text"), [((0, np.nan), "NaN or infinite"), ((0, 1.5), "leaves .-1, 1.: .0.0, 1.5")]
)
def test_an_action_that_cannot_be_moves_nothing(numbers, text):
    arm = Arm()
    with pytest.raises(PolicyError, match=text):
        run(arm, Numbers(*numbers), 1000.0, 1)
    assert arm.calls == ["reset", "stop"]


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(PolicyError, match="There is no folder .*none: serl export writes one"):
        Policy(tmp_path / "none")
    with pytest.raises(PolicyError, match="holds no policy"):
        Policy(tmp_path)


def test_a_contract_of_odd_values_is_damaged():
    sound = {**Numbers().contract, "images": {"wrist": [8, 8, 3]}}
    assert damage_of(sound) == ""
    for odd in ({"images": {"wrist": 3}}, {"images": {"wrist": [8, 8]}}, {"frame_stack": 10**9}, {"state_keys": [3]}):
        assert damage_of({**sound, **odd}) == next(iter(odd))


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
