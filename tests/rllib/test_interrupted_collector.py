"""A collector whose robots wait for operators in vain: what was executed is stored, and what was labelled keeps it."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import numpy as np
import pytest
from hub_peers import until
from operated_robots import POLICY, Background, Robot
from stage import ANNA

from serl_ray.data.episodes import EnvFault
from serl_ray.options.sets import HybridOptions
from serl_ray.rllib.collector import Collector, CountedEnv
from serl_ray.teleop.events import Press, Pressed


def collector_of(*robots):
    policy = SimpleNamespace(
        options=HybridOptions.of(max_faults=2),
        global_timestep=0,
        act=lambda observations: np.stack([POLICY] * len(robots)),
        agent=SimpleNamespace(seed=1),
    )
    envs = [CountedEnv(robot.env) for robot in robots]
    async_env = SimpleNamespace(get_sub_environments=lambda: envs)
    return Collector(SimpleNamespace(get_policy=lambda: policy, worker_index=0, async_env=async_env))


def press(robot, press):
    frame = robot.env.view.frame if robot.env.view else 0
    robot.env.pressed(Pressed(ANNA, robot.session.lease.epoch, press, frame))


def waits(robot, call):
    """A call in another thread, once its robot waits for an operator."""
    running = Background(call)
    until(lambda: "hold" in robot.witness.calls)
    return running


def end_while_it_waits(robot, interrupted, call):
    """The result of a call whose robot waits for an operator when the run ends."""
    running = waits(robot, call)
    interrupted.set()
    return running.result()


@pytest.fixture
def interrupted():
    return threading.Event()


def test_a_collector_waits_for_no_operator_before_it_collects(interrupted):
    robot = Robot(attended=True)
    robot.env.interrupted = interrupted
    collector = collector_of(robot)
    assert collector.rest() == []
    segments, faults = end_while_it_waits(robot, interrupted, lambda: collector.collect(5))
    assert (segments, faults, robot.witness.executed) == ([], [], [])


def test_a_step_that_was_executed_is_stored_where_another_robot_waits(interrupted):
    first, second = Robot(), Robot()
    first.env.interrupted = second.env.interrupted = interrupted
    collector = collector_of(first, second)
    collector.collect(1)
    press(second, Press.REQUEST)
    press(second, Press.PAUSE)
    segments, _ = end_while_it_waits(second, interrupted, lambda: collector.collect(1))
    stored = [len(segment) for segment in [*segments, *collector.rest()]]
    assert sum(stored) + 2 == len(first.witness.executed) + len(second.witness.executed) == 3
    press(second, Press.RESUME)
    segments, _ = collector.collect(1)
    [following] = [segment for segment in [*segments, *collector.rest()] if segment.first_step == 2]
    assert len(following) == 1


def test_an_episode_that_ended_in_the_pause_keeps_its_label_when_nobody_is_there_any_more(interrupted):
    robot = Robot()
    robot.env.interrupted = interrupted
    collector = collector_of(robot)
    press(robot, Press.REQUEST)
    collector.collect(3)
    press(robot, Press.SUCCESS)
    press(robot, Press.PAUSE)
    collecting = waits(robot, lambda: collector.collect(5))
    robot.say(robot.session.left, ANNA)
    interrupted.set()
    segments, _ = collecting.result()
    [segment] = [*segments, *collector.rest()]
    assert (len(segment), segment.rewards[-1], segment.masks[-1], segment.dones[-1]) == (3, 1.0, 0.0, True)
    assert collector.rest() == []


def test_an_env_whose_episode_ended_is_reset_before_it_goes_on(interrupted):
    robot = Robot()
    robot.env.interrupted = interrupted
    collector = collector_of(robot)
    press(robot, Press.REQUEST)
    collector.collect(2)
    press(robot, Press.RESET)
    press(robot, Press.PAUSE)
    end_while_it_waits(robot, interrupted, lambda: collector.collect(5))
    press(robot, Press.REQUEST)
    press(robot, Press.RESUME)
    collector.collect(1)
    assert [call for call in robot.witness.calls if call != "hold"] == ["reset", "step", "step", "reset", "step"]


def test_a_reset_that_a_stop_makes_fail_is_no_fault():
    robot = Robot()
    collector = collector_of(robot)
    press(robot, Press.REQUEST)
    resets, reset = [], robot.witness.reset

    def stopped_reset(**kwargs):
        resets.append(kwargs)
        if len(resets) > 5:  # more stops than the env may have faults
            return reset(**kwargs)
        press(robot, Press.STOP)
        press(robot, Press.REARM)
        raise ConnectionError("the robot is stopped")

    robot.witness.reset = stopped_reset
    segments, faults = collector.collect(2)
    assert faults == [] and robot.session.counts["stops"] == 5
    assert [len(segment) for segment in [*segments, *collector.rest()]] == [2]


def test_a_step_that_a_stop_makes_fail_is_not_stored_and_ends_the_episode():
    robot = Robot()
    collector = collector_of(robot)
    press(robot, Press.REQUEST)
    collector.collect(2)

    def stopped_step(action):
        del robot.witness.step  # the next one is an ordinary one
        press(robot, Press.STOP)
        press(robot, Press.REARM)
        raise ConnectionError("the robot is stopped")

    robot.witness.step = stopped_step
    segments, faults = collector.collect(2)
    robot.say(robot.session.left, ANNA)
    segments += collector.collect(1)[0]
    assert faults == []
    assert [(len(segment), bool(segment.dones[-1]), segment.masks[-1]) for segment in segments] == [
        (2, True, 1.0),
        (2, False, 1.0),
    ]


def test_an_episode_that_was_dropped_after_a_fault_stays_dropped(interrupted):
    robot = Robot()
    robot.env.interrupted = interrupted
    collector = collector_of(robot)
    press(robot, Press.REQUEST)
    collector.collect(2)

    def burn(action):
        press(robot, Press.PAUSE)
        raise EnvFault("error", "the gripper has caught fire")

    robot.witness.step = burn
    segments, [fault] = end_while_it_waits(robot, interrupted, lambda: collector.collect(1))
    assert fault.steps == 3
    assert [*segments, *collector.rest()] == []


@pytest.mark.parametrize("label", [Press.SUCCESS, Press.DISCARD])
def test_a_word_after_the_last_step_of_a_run_counts(label):
    robot = Robot()
    collector = collector_of(robot)
    press(robot, Press.REQUEST)
    assert collector.collect(3) == ([], [])
    press(robot, label)
    rewards = [(len(segment), segment.rewards[-1], segment.dones[-1]) for segment in collector.rest()]
    assert rewards == ([(3, 1.0, True)] if label is Press.SUCCESS else [])
    assert collector.rest() == []
