"""A stop reaches the env at the moment of the press, also while it makes a step or a reset."""

from __future__ import annotations

import threading
from functools import partial

import pytest
from hub_peers import SECONDS, until
from operated_robots import POLICY, Background, Robot
from stage import ANNA, EVE

from serl_ray.data.episodes import EnvFault
from serl_ray.envs.guard import Guard
from serl_ray.envs.wrappers import ControlRate
from serl_ray.teleop import movement
from serl_ray.teleop.events import Ending, Press, Pressed, Verdict
from serl_ray.teleop.wrapper import VERDICT, OperatedEnv


@pytest.fixture(autouse=True)
def stopped_once(monkeypatch):
    """An env is not stopped again while it moves, unless a test says so."""
    monkeypatch.setattr(movement, "AGAIN_SECONDS", SECONDS)


def press(robot, press, client=ANNA):
    robot.env.pressed(Pressed(client, robot.session.lease.epoch, press, robot.view.frame))


class SlowRobot(Robot):
    """A robot whose next step or reset goes on until it is stopped.

    Args:
        raises: whether the call then fails, as where a controller refuses to move on.
    """

    def __init__(self, raises: bool = False) -> None:
        super().__init__()
        self.env.reset(seed=1)
        press(self, Press.REQUEST)
        self.raises, self.moves, self.is_stopped = raises, threading.Event(), threading.Event()
        self.witness.stop = self.stop

    def stop(self) -> None:
        self.witness.calls.append("stop")
        self.is_stopped.set()

    def slow_down(self, name: str) -> None:
        """The next call of this name is slow."""
        call = getattr(self.witness, name)

        def slow(*args, **kwargs):
            setattr(self.witness, name, call)
            self.moves.set()
            assert self.is_stopped.wait(SECONDS)
            if self.raises:
                raise ConnectionError("the robot is stopped")
            return call(*args, **kwargs)

        setattr(self.witness, name, slow)


def test_a_step_under_way_is_stopped_once_and_counts_as_executed():
    robot = SlowRobot()
    robot.slow_down("step")
    step = Background(robot.step)
    assert robot.moves.wait(SECONDS)
    press(robot, Press.STOP, EVE)
    press(robot, Press.STOP)
    assert VERDICT not in step.result()
    assert robot.step() == {VERDICT: Verdict(Ending.STOP, 1)}
    assert robot.witness.calls == ["reset", "stop", "step", "stop"], "once more after a step that may have moved on"


def test_a_step_that_fails_under_a_stop_was_not_executed():
    robot = SlowRobot(raises=True)
    robot.step()
    robot.slow_down("step")
    step = Background(partial(robot.env.step, POLICY))
    assert robot.moves.wait(SECONDS)
    press(robot, Press.STOP)
    *_, terminated, truncated, info = step.result()
    assert (terminated, truncated, info) == (False, True, {VERDICT: Verdict(Ending.STOP, 1)})
    assert not robot.session.episodes.is_running


@pytest.mark.parametrize("raises", [False, True])
def test_a_reset_under_way_is_stopped_and_made_again_after_the_rearming(raises):
    robot = SlowRobot(raises)
    robot.slow_down("reset")
    episodes = robot.session.episodes.number
    reset = Background(robot.env.reset)
    assert robot.moves.wait(SECONDS)
    press(robot, Press.STOP)
    until(lambda: robot.witness.calls.count("stop") == 2)  # the second one when the reset has ended
    before = robot.witness.calls.count("reset")
    press(robot, Press.REQUEST)  # it wakes the robot, which stays stopped
    assert reset.is_running and robot.witness.calls.count("reset") == before
    press(robot, Press.REARM)
    reset.result()
    assert robot.witness.calls.count("reset") == before + 1
    assert robot.session.episodes.number == episodes + 1, "the reset that was stopped began none"
    assert VERDICT not in robot.step()


@pytest.mark.parametrize("call", ["step", "reset"])
def test_what_fails_by_itself_is_a_fault_also_after_a_stop(call):
    robot = Robot()
    robot.env.reset(seed=1)
    press(robot, Press.REQUEST)
    press(robot, Press.STOP)
    press(robot, Press.REARM)
    robot.env.reset()

    def fails(*args, **kwargs):
        raise ConnectionError("no cable")

    setattr(robot.witness, call, fails)
    with pytest.raises(EnvFault, match="no cable"):
        robot.step() if call == "step" else robot.env.reset()


def test_a_label_comes_before_a_stop_that_makes_the_step_fail():
    robot = SlowRobot(raises=True)
    robot.step()
    robot.slow_down("step")
    step = Background(robot.step)
    assert robot.moves.wait(SECONDS)
    press(robot, Press.SUCCESS)
    press(robot, Press.STOP)
    assert step.result() == {VERDICT: Verdict(Ending.SUCCESS, 1)}


def test_a_stop_that_fails_is_logged_and_latched_all_the_same(caplog):
    robot = Robot()
    robot.env.reset(seed=1)

    def stop():
        raise OSError("no cable")

    robot.witness.stop = stop
    press(robot, Press.STOP, EVE)
    assert "no cable" in caplog.text and robot.session.is_stopped
    assert robot.step() == {VERDICT: Verdict(Ending.STOP, 0)}
    assert "step" not in robot.witness.calls


def stop_before(robot, call):
    """Presses a stop after the permission for the env's next call of this name, and before the env begins with it."""
    inner, made = robot.env.env, getattr(robot.env.env, call)

    def make(*args, **kwargs):
        setattr(inner, call, made)
        press(robot, Press.STOP)
        return made(*args, **kwargs)

    setattr(inner, call, make)


def test_a_stop_that_a_reset_forgets_as_it_begins_is_made_again_while_it_goes_on(monkeypatch):
    monkeypatch.setattr(movement, "AGAIN_SECONDS", 0.01)
    robot = SlowRobot(raises=True)
    robot.slow_down("reset")
    slow = robot.witness.reset

    def forgetful(**kwargs):
        robot.is_stopped.clear()
        return slow(**kwargs)

    robot.witness.reset = forgetful
    stop_before(robot, "reset")
    reset = Background(robot.env.reset)
    until(lambda: robot.witness.calls.count("stop") >= 3)
    assert robot.is_stopped.is_set() and reset.is_running
    del robot.witness.reset
    press(robot, Press.REARM)
    reset.result()


@pytest.mark.parametrize("call", ["step", "reset"])
def test_an_env_that_moved_after_a_stop_is_stopped_once_more_at_its_end(call):
    robot = Robot()
    robot.env.reset(seed=1)
    press(robot, Press.REQUEST)
    robot.witness.calls.clear()
    stop_before(robot, call)
    moving = Background(robot.step if call == "step" else robot.env.reset)
    until(lambda: robot.witness.calls == ["stop", call, "stop"])
    press(robot, Press.REARM)
    moving.result()


@pytest.mark.parametrize("key", [Press.STOP, Press.PAUSE])
def test_nothing_is_executed_that_was_chosen_before_the_wait_for_the_tick(monkeypatch, key):
    robot = Robot()
    robot.env = OperatedEnv(Guard(ControlRate(robot.witness, 0.1), None, None), robot.session, robot.clock)
    robot.env.reset(seed=1)
    press(robot, Press.REQUEST)
    robot.step()
    waited = []

    def sleep(seconds):
        waited.append(seconds)
        press(robot, key)
        press(robot, Press.RESET)  # so that a paused robot waits no longer

    monkeypatch.setattr("serl_ray.envs.wrappers.time.sleep", sleep)
    assert VERDICT in robot.step()
    assert len(waited) == 1 and waited[0] > 5.0
    assert robot.witness.calls.count("step") == 1
