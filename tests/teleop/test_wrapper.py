"""The env with operators: it executes exactly what the session decides, waits where nobody acts, and says so."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from hub_peers import until
from line_envs import LineEnv
from operated_robots import LAYOUT, POLICY, PUSHED, Background, Clock, Robot
from stage import ANNA, EVE

from serl_ray.data.episodes import HELD_ACTION
from serl_ray.envs.guard import Guard
from serl_ray.teleop.events import Command, Ending, Press, Pressed, StepActor, Verdict
from serl_ray.teleop.intervention import COMMAND_SECONDS
from serl_ray.teleop.limits import Limits
from serl_ray.teleop.session import LOST_SECONDS, Session
from serl_ray.teleop.views import RENDERED
from serl_ray.teleop.wrapper import VERDICT, Interrupted, OperatedEnv

FREE = Limits(1e9, 1e9)


def press(robot, press, client=ANNA):
    robot.env.pressed(Pressed(client, robot.session.lease.epoch, press, robot.view.frame))


def command(robot, clutch, action=PUSHED):
    epoch, frame = robot.session.lease.epoch, robot.view.frame
    robot.say(robot.session.command, Command(ANNA, epoch, frame, clutch, action, "gamepad"))


def take_over(robot, action=PUSHED):
    press(robot, Press.REQUEST)
    command(robot, False)
    command(robot, True, action)


def begun(**kwargs):
    robot = Robot(**kwargs)
    robot.env.reset(seed=1)
    return robot


def waits(robot, call):
    """A call in another thread, once it waits for an operator."""
    told = len(robot.witness.calls)
    running = Background(call)
    until(lambda: len(robot.witness.calls) > told)
    assert running.is_running
    return running


def test_the_action_of_the_policy_is_executed_as_it_is():
    robot = begun()
    info = robot.step()
    np.testing.assert_array_equal(robot.witness.executed, [POLICY])
    assert not {"intervene_action", "intervene_source", "intervention", HELD_ACTION, VERDICT} & info.keys()
    assert robot.actor() is StepActor.POLICY


def test_the_action_of_a_person_is_executed_bit_for_bit_and_said_to_be():
    robot = begun(limits=FREE)
    rng = np.random.default_rng(0)
    take_over(robot)
    for number in range(20):
        wanted = (rng.uniform(-1, 1, 7) * 10.0 ** -rng.integers(0, 12, 7)).astype(np.float32)
        wanted[6] = 0.0
        command(robot, True, wanted)
        info = robot.step()
        assert info["intervene_action"].tobytes() == robot.witness.executed[number].tobytes() == wanted.tobytes()
        assert (info["intervene_source"], info["intervention"]) == ("gamepad", 1)
        np.testing.assert_array_equal(robot.view.executed, wanted)
        np.testing.assert_array_equal(robot.view.policy, POLICY)


def test_a_person_who_takes_over_again_intervenes_anew():
    robot = begun()
    take_over(robot)
    assert robot.step()["intervention"] == 1
    command(robot, False)
    assert "intervention" not in robot.step()
    command(robot, True)
    assert robot.step()["intervention"] == 2


def test_commands_that_fail_to_come_hold_the_robot_and_then_end_the_episode():
    robot = begun()
    take_over(robot)
    robot.step()
    robot.clock.now += COMMAND_SECONDS
    info = robot.step()
    np.testing.assert_array_equal(info[HELD_ACTION], np.zeros(7))
    np.testing.assert_array_equal(robot.witness.executed[-1], np.zeros(7))
    robot.clock.now += LOST_SECONDS
    steps = robot.witness.calls.count("step")
    *_, terminated, truncated, info = robot.env.step(POLICY)
    assert (terminated, truncated, info) == (False, True, {VERDICT: Verdict(Ending.LOST, 2)})
    assert robot.witness.calls.count("step") == steps


def test_a_pause_blocks_a_step_and_a_resume_lets_it_go():
    robot = begun()
    press(robot, Press.REQUEST)
    press(robot, Press.PAUSE)
    step = waits(robot, robot.step)
    robot.clock.now += 3600  # no clock runs out meanwhile
    assert step.is_running and robot.witness.calls == ["reset", "hold"]
    press(robot, Press.REQUEST)
    press(robot, Press.RESUME)
    assert VERDICT not in step.result()
    assert robot.witness.calls == ["reset", "hold", "step"]


def test_the_robot_is_told_once_that_it_holds_and_once_that_it_stops():
    robot = begun()
    press(robot, Press.REQUEST)
    press(robot, Press.PAUSE)
    step = waits(robot, robot.step)
    press(robot, Press.STOP, EVE)
    assert step.result() == {VERDICT: Verdict(Ending.STOP, 0)}
    reset = Background(robot.env.reset)
    for _ in range(20):
        robot.say(robot.session.alive, ANNA)  # each wakes it up
    press(robot, Press.STOP)
    press(robot, Press.REARM)  # it is paused all the same, and is told so
    until(lambda: robot.witness.calls[-1] == "hold")
    press(robot, Press.RESUME)
    reset.result()
    assert robot.witness.calls == ["reset", "hold", "stop", "hold", "reset"]


def test_no_step_is_made_while_the_robot_is_stopped():
    robot = begun()
    press(robot, Press.REQUEST)
    press(robot, Press.STOP)
    assert VERDICT in robot.step()
    step = Background(robot.step)
    command(robot, True)
    press(robot, Press.REARM)  # refused, because the clutch is held
    assert step.is_running and "step" not in robot.witness.calls
    command(robot, False)
    press(robot, Press.REARM)
    step.result()
    assert robot.witness.calls[-1] == "step"


def test_an_attended_robot_waits_for_its_operator():
    robot = Robot(attended=True)
    reset = waits(robot, robot.env.reset)
    robot.say(robot.session.alive, EVE)
    assert reset.is_running
    robot.say(robot.session.alive, ANNA)
    reset.result()
    assert robot.witness.calls == ["hold", "reset"]


@pytest.mark.parametrize("call", ["step", "reset"])
def test_a_run_that_ends_waits_no_longer(call):
    robot = begun()
    press(robot, Press.REQUEST)
    press(robot, Press.PAUSE)
    waiting = waits(robot, robot.step if call == "step" else robot.env.reset)
    robot.env.interrupted.set()
    with pytest.raises(Interrupted):
        waiting.result()
    assert robot.witness.calls == ["reset", "hold"]


def test_an_env_that_is_closed_waits_no_longer_and_interrupts_no_other():
    robot, run = begun(), threading.Event()
    robot.env.interrupted = run
    press(robot, Press.REQUEST)
    press(robot, Press.PAUSE)
    step = waits(robot, robot.step)
    robot.env.close()
    with pytest.raises(Interrupted):
        step.result()
    assert not run.is_set()


@pytest.mark.parametrize("label", [Press.SUCCESS, Press.FAILURE, Press.DISCARD])
def test_a_label_between_two_steps_executes_nothing(label):
    robot = begun()
    press(robot, Press.REQUEST)
    first = robot.env.step(POLICY)[0]
    press(robot, label)
    observation, reward, terminated, truncated, info = robot.env.step(POLICY)
    assert (reward, terminated, truncated) == (0.0, False, True)
    assert info == {VERDICT: Verdict(Ending(label), 1)}
    assert observation is first and len(robot.witness.executed) == 1


def test_an_episode_that_ends_under_the_hand_ends_the_intervention():
    robot = begun(horizon=2)
    take_over(robot)
    robot.step()
    command(robot, True)
    assert robot.env.step(POLICY)[3]
    robot.env.reset()
    command(robot, True)
    assert "intervene_action" not in robot.step()
    command(robot, False)
    command(robot, True)
    assert robot.step()["intervention"] == 1


def test_operators_are_heard_while_a_robot_takes_long_to_hold():
    robot = begun()
    reached, goes_on = threading.Event(), threading.Event()

    def hold():
        reached.set()
        goes_on.wait()

    robot.witness.hold = hold
    press(robot, Press.REQUEST)
    press(robot, Press.PAUSE)
    step = Background(robot.step)
    reached.wait()
    heard = Background(lambda: press(robot, Press.RESUME))
    heard.result()
    goes_on.set()
    step.result()


def test_a_robot_that_fails_to_hold_takes_no_step(caplog):
    robot = begun()

    def hold():
        robot.witness.calls.append("hold")
        raise OSError("no cable")

    robot.witness.hold = hold
    press(robot, Press.REQUEST)
    press(robot, Press.PAUSE)
    step = waits(robot, robot.step)
    press(robot, Press.RESUME)
    step.result()
    assert "no cable" in caplog.text


def test_an_episode_that_has_been_handed_over_takes_no_label():
    robot = begun(horizon=1)
    robot.step()
    assert robot.env.is_settled(1), "nobody is there"
    assert robot.env.settle(1) is None
    press(robot, Press.REQUEST)
    press(robot, Press.SUCCESS)
    assert robot.env.settle(1) is None and robot.session.counts["successes"] == 0
    assert "handed over" in robot.session.refusals[-1]


class DrawnEnv(LineEnv):
    """Has no camera, and draws itself."""

    render_mode = "rgb_array"

    def __init__(self) -> None:
        super().__init__()
        self.drawn = 0

    def render(self):
        self.drawn += 1
        return np.full((8, 8, 3), self.drawn, np.uint8)


def test_an_env_without_cameras_is_drawn_for_those_who_watch_and_for_nobody_else():
    clock, drawn = Clock(), DrawnEnv()
    env = OperatedEnv(Guard(drawn, None, None), Session(LAYOUT), clock)
    env.reset(seed=1)
    env.step(POLICY)
    assert drawn.drawn == 0 and env.view.images == {}
    env.watchers = 1
    env.step(POLICY)
    assert drawn.drawn == 1 and list(env.view.images) == [RENDERED]
    recorded = OperatedEnv(Guard(drawn, None, None), Session(LAYOUT, has_policy=False), clock)
    recorded.reset(seed=1)
    assert drawn.drawn == 2, "whoever comes later sees where the recording begins"


def test_the_side_of_the_cameras_is_the_envs(monkeypatch):
    robot = begun()
    assert robot.env.described(None)["seen_from"] == "behind"
    monkeypatch.setattr(robot.env.unwrapped, "metadata", {"seen_from": "front"}, raising=False)
    assert robot.env.described(None)["seen_from"] == "front"
    monkeypatch.setattr(robot.env.unwrapped, "metadata", {"seen_from": "above"}, raising=False)
    with pytest.raises(ValueError, match="'above'; it is one of behind, left, front, right"):
        robot.env.described(None)
