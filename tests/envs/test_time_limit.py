"""Time limits of episodes in seconds."""

import numpy as np
import pytest
from line_envs import LineEnv
from operated_robots import LAYOUT, POLICY, Clock

from serl_ray.cli.record import Record
from serl_ray.cli.recorded_env import recorded_env
from serl_ray.envs import make_env
from serl_ray.envs.guard import Guard
from serl_ray.envs.time_limit import SecondsLimit
from serl_ray.options.sets import HybridOptions
from serl_ray.teleop.session import Session
from serl_ray.teleop.wrapper import OperatedEnv

STEP = 0.125
STILL = np.zeros(7, np.float32)


class SlowEnv(LineEnv):
    """Each step takes 0.125 seconds of a clock that nothing else moves."""

    def __init__(self, clock, **kwargs):
        super().__init__(**kwargs)
        self.clock = clock

    def step(self, action):
        self.clock.now += STEP
        return super().step(action)


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr("serl_ray.envs.time_limit.time.monotonic", clock)
    return clock


def ends(env, steps):
    env.reset(seed=1)
    return [env.step(STILL)[2:4] for _ in range(steps)]


def test_the_first_step_that_ends_late_is_the_last_one_and_keeps_its_observation(clock):
    env = SecondsLimit(SlowEnv(clock), 0.5)
    assert ends(env, 4) == [(False, False)] * 3 + [(False, True)]
    env.reset(seed=1)
    clock.now += 100.0  # before the first step
    observations = [env.step(STILL + 0.1)[0]["state"] for _ in range(4)]
    assert len({float(state[0]) for state in observations}) == 4


def test_it_is_no_longer_than_the_envs_own_limit_and_turns_no_success_into_a_time_out(clock):
    assert ends(SecondsLimit(SlowEnv(clock, horizon=2), 0.5), 2) == [(False, False), (False, True)]
    env = SecondsLimit(SlowEnv(clock), STEP)
    env.reset(seed=1)
    env.unwrapped.goal = env.unwrapped.point
    assert env.step(STILL)[2:4] == (True, False)


@pytest.mark.parametrize(("period", "length"), [(None, 3), (0.5, 2)])
def test_a_pause_between_two_steps_counts_as_one_period_at_most(clock, period, length):
    env = SecondsLimit(SlowEnv(clock), 0.625, period)
    env.reset(seed=1)
    steps = 1
    while not env.step(STILL)[3]:
        steps += 1
        clock.now += 100.0  # of a learner
    assert steps == length


def test_seconds_in_which_the_robot_waits_for_an_operator_do_not_count(clock):
    def waits(is_true):
        clock.now += 100.0
        assert is_true()

    env = OperatedEnv(Guard(SecondsLimit(SlowEnv(clock), 0.875), None, None), Session(LAYOUT), clock)
    env.reset(seed=1)
    env.step(POLICY)
    env.wait_until = waits
    assert [env.step(POLICY)[3] for _ in range(3)] == [False, False, True]


def test_runs_and_recordings_have_the_limit(clock, tmp_path, monkeypatch):
    options = HybridOptions.of(env_name="line_envs:LineEnv", max_episode_seconds=0.5)
    env = make_env(**options.env_config())
    recorded = Record.of(output=tmp_path, env_name="line_envs:LineEnv", max_episode_seconds=0.5)
    for limited in (env, recorded_env(recorded.env, recorded.reward, None)):
        slow = SlowEnv(clock)
        monkeypatch.setattr(limited.unwrapped, "step", slow.step)
        limited.reset(seed=1)
        slow.reset(seed=1)
        assert [limited.step(STILL)[3] for _ in range(4)] == [False, False, False, True]
    assert not options.may_wait and HybridOptions.of().may_wait
