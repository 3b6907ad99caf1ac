"""A worker's side of a robot on another computer, with a robot of which the test says every word."""

import logging
import threading
from contextlib import suppress

import numpy as np
import pytest
from hub_peers import until
from operated_robots import Background
from remote_robots import ACTION, SETUP, STATE, ScriptedRobot, connected, dialled, free_port

from serl_ray.data.episodes import EnvFault
from serl_ray.envs.guard import Guard
from serl_ray.envs.remote import RemoteEnv
from serl_ray.teleop.wire import Message, pack
from serl_ray.utils.errors import SetupError


@pytest.fixture
def pair():
    env, robot = connected()
    yield env, robot
    env.close()


def begun(pair):
    """The env and its robot, amid an episode."""
    env, robot = pair
    resetting = Background(lambda: env.reset(seed=3))
    message = robot.begin(place="left")
    return env, robot, message, resetting.result()


def stepping(env):
    return Background(lambda: env.step(ACTION))


def test_an_episode_is_what_the_robot_executes(pair):
    env, robot, message, (observation, info) = begun(pair)
    assert message.fields["seed"] == 3 and info == {"place": "left"}
    np.testing.assert_array_equal(observation["state"], STATE)
    step = stepping(env)
    intervention = {"info/intervene_action": -ACTION}
    asked = robot.answer(STATE + 1, intervention, reward=1.0, terminated=True, info={"success": True})
    observation, reward, terminated, truncated, info = step.result()
    np.testing.assert_array_equal(asked.arrays["action"], ACTION)
    assert asked.fields["number"] > message.fields["number"]
    np.testing.assert_array_equal(observation["state"], STATE + 1)
    np.testing.assert_array_equal(info.pop("intervene_action"), -ACTION)
    assert (reward, terminated, truncated, info) == (1.0, True, False, {"success": True})


def test_spaces_and_cameras_are_the_robots():
    image = {"dtype": "uint8", "shape": [6, 8, 3]}
    env, _ = connected(seen_from="left", observations={"state": {"dtype": "float32", "shape": [4]}, "wrist": image})
    assert env.observation_space["wrist"].shape == (6, 8, 3) and env.observation_space["wrist"].high.max() == 255
    assert env.action_space.shape == (7,) and env.metadata["seen_from"] == "left" and env.hz == 10.0
    assert not hasattr(env, "live_frames") and not hasattr(env, "twist_to_action")
    env.close()


def test_a_late_step_was_not_executed(pair):
    env, robot, *_ = begun(pair)
    step = stepping(env)
    robot.send("late", number=robot.next("step").fields["number"], seconds=0.7)
    with pytest.raises(
        EnvFault, match="waited 0.70 s.*not executed.*RAY_worker_niceness=0 .*--num_workers 1.*lower --hz"
    ) as raised:
        step.result()
    assert raised.value.kind == "timeout"


def test_a_robot_that_is_always_late_is_stopped_and_named(pair):
    env, robot, *_ = begun(pair)
    for number, seconds in enumerate([0.3] * 4 + [0.1] + [0.3] * 5):  # 4 in a row are let pass
        step = stepping(env)
        robot.answer(STATE + number, step_seconds=seconds)
        if number < 9:
            step.result()
    with pytest.raises(EnvFault, match=r"arm is too slow for 10 Hz, and is stopped: 5 steps .* 0.30 s") as raised:
        step.result()
    assert raised.value.kind == "timeout"
    robot.next("stop")


@pytest.mark.parametrize(("kind", "expected"), [(None, "error"), ("not_finite", "not_finite")])
def test_a_fault_of_the_robot_has_its_sentence_and_kind(pair, kind, expected):
    env, robot, *_ = begun(pair)
    step = stepping(env)
    fields = {"number": robot.next("step").fields["number"], "text": "Observation 'state' holds NaN."}
    robot.send_raw(pack(Message("fault", fields | ({"kind": kind} if kind else {}))))
    with pytest.raises(EnvFault, match="The robot arm has stopped. Observation 'state' holds NaN") as raised:
        step.result()
    assert raised.value.kind == expected


@pytest.mark.parametrize("when", ["step", "reset", "pause"])
def test_a_loss_ends_the_episode_and_the_next_one_waits_for_the_robot(pair, when, caplog):
    env, robot, *_ = begun(pair)
    call = env.reset if when == "reset" else lambda: env.step(ACTION)
    if when == "pause":
        env.hold()
        robot.next("hold")
        robot.close()
        until(lambda: env._listener.connection is None)
        waiting = Background(call)
    else:
        waiting = Background(call)
        robot.next(when)
        robot.close()
    with pytest.raises(EnvFault, match="The link to the robot arm is lost .*its connection is closed") as raised:
        waiting.result()
    assert raised.value.kind == "lost"
    with pytest.raises(EnvFault, match="is lost"):  # also once it is back, which has no episode
        env.step(ACTION)
    resetting = Background(env.reset)
    back = dialled(env._listener.port)
    back.begin()
    resetting.result()
    assert "Waiting for a robot" in caplog.text and "The robot arm is back" in caplog.text


def test_a_robot_that_comes_back_between_two_steps_has_no_episode(pair):
    env, robot, *_ = begun(pair)
    robot.close()
    until(lambda: env._listener.connection is None)
    back = dialled(env._listener.port)
    with pytest.raises(EnvFault, match="is lost"):
        env.step(ACTION)
    resetting = Background(env.reset)
    back.begin()
    resetting.result()


def test_a_stop_while_the_robot_is_waited_for_is_not_followed_by_its_reset(pair, caplog):
    env, robot, *_ = begun(pair)
    robot.close()
    until(lambda: env._listener.connection is None)
    resetting = Background(env.reset)
    until(lambda: "Waiting for a robot" in caplog.text.split("is lost")[-1])
    env.stop()
    back = dialled(env._listener.port)
    with pytest.raises(EnvFault, match="A stop came while the robot arm was waited for; it has not moved"):
        resetting.result()
    resetting = Background(env.reset)
    back.begin()
    resetting.result()


REFUSALS = {
    "protocol": ({"protocol": 2}, "speaks protocol 2 .*, this worker 1", False),
    "set-up": (
        {"setup_mode": "dual-arm-learned-gripper"},
        "is dual-arm-learned-gripper, and the run single-arm",
        False,
    ),
    "arms": ({"action_shape": [1]}, "An action of 1 numbers cannot be single-arm-learned-gripper", False),
    "field": ({"hz": -1.0}, "Field 'hz' of a 'hello' message is -1.0", False),
    "method": ({"methods": ["explode"]}, "Field 'methods'", False),
    "dtype": ({"observations": {"state": {"dtype": "bool", "shape": [4]}}}, "Observation 'state' is", False),
    "dtype of another type": (
        {"observations": {"state": {"dtype": [], "shape": [4]}}},
        "Observation 'state' is",
        False,
    ),
    "size": (
        {"observations": {"image": {"dtype": "uint8", "shape": [3000, 3000, 3]}}},
        "27000000 bytes; a message holds .* Crop or resize",
        False,
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_a_wrong_robot_is_told_why_and_the_right_one_is_awaited(case, caplog):
    changed, reason, retry = REFUSALS[case]
    port = free_port()
    making = Background(lambda: RemoteEnv(SETUP, port=port))
    until(lambda: "Waiting for a robot" in caplog.text)
    refused = ScriptedRobot(port, **changed).next("refused").fields
    assert refused["retry"] is retry
    with pytest.raises(AssertionError, match=reason):
        raise AssertionError(refused["reason"])
    assert "A robot was sent away" in caplog.text
    dialled(port)
    making.result().close()


def test_a_wrong_token_is_sent_away_before_it_may_speak(pair, caplog):
    env, _ = pair
    with pytest.raises(Exception, match="401"):
        ScriptedRobot(env._listener.port, token="guessed", hello=False)
    assert "dialled with a wrong token" in caplog.text and "guessed" not in caplog.text


def test_a_second_robot_is_busy_elsewhere(pair):
    env, _ = pair
    refused = ScriptedRobot(env._listener.port, name="other").next("refused").fields
    assert refused == {"reason": "This worker has the robot arm already.", "retry": True}


def test_a_robot_that_comes_back_as_another_one_is_refused(pair):
    env, robot, *_ = begun(pair)
    robot.close()
    until(lambda: env._listener.connection is None)
    changed = {"observations": {"state": {"dtype": "float32", "shape": [5]}}, "action_shape": [6], "hz": 20.0}
    reason = ScriptedRobot(env._listener.port, **changed).next("refused").fields["reason"]
    for difference in (
        "float32 of shape (4,) and is float32 of shape (5,)",
        "had 7 numbers and has 6",
        "10 Hz and is 20",
    ):
        assert difference in reason


def no_message(robot):
    robot.send_raw(b"\x00")


def text(robot):
    robot.send_raw("hello")


def another_kind(robot):
    robot.send("surprise", number=1)


def another_answer(robot):
    robot.send("started", {"obs/state": STATE}, number=robot.number, info={})


def no_number(robot):
    robot.send("late", seconds=1.0)


def too_long(robot):
    with suppress(ConnectionError):  # closed before the end of the message has gone
        robot.send_raw(bytes(9 * 2**20))


@pytest.mark.parametrize("say", [no_message, text, another_kind, another_answer, no_number, too_long])
def test_what_is_no_answer_ends_the_connection_and_nothing_else(pair, say):
    env, robot, *_ = begun(pair)
    step = stepping(env)
    robot.number = robot.next("step").fields["number"]
    say(robot)
    with pytest.raises(EnvFault, match="is lost") as raised:
        step.result()
    assert raised.value.kind == "lost"
    resetting = Background(env.reset)
    dialled(env._listener.port).begin()
    resetting.result()


def test_a_deadline_stops_the_robot_and_its_late_answer_is_dropped(pair):
    env, robot = pair
    guard = Guard(env, None, None)
    resetting = Background(guard.reset)
    robot.begin()
    resetting.result()
    answering = Background(lambda: answer_after_the_stop(robot))
    with pytest.raises(EnvFault, match="step_deadline of 0.3 s"):
        Guard(env, 0.3, None).step(ACTION)
    answering.result()
    resetting = Background(env.reset)
    robot.begin()
    np.testing.assert_array_equal(resetting.result()[0]["state"], STATE)


def answer_after_the_stop(robot):
    message = robot.next("step")
    robot.next("stop")
    fields = {"info": {}, "reward": 0.0, "step_seconds": 0.01, "terminated": False, "truncated": False}
    robot.send("result", {"obs/state": STATE + 9}, number=message.fields["number"], **fields)


def test_a_stop_reaches_the_robot_during_a_step(pair):
    env, robot, *_ = begun(pair)
    step = stepping(env)
    number = robot.next("step").fields["number"]
    env.stop()
    robot.next("stop")
    robot.send("fault", number=number, text="The robot is stopped.")
    with pytest.raises(EnvFault, match="stopped"):
        step.result()


def test_twists_and_live_frames_are_made_at_the_robot():
    env, robot = connected(methods=["live_frames", "twist_to_action"])
    asking = Background(lambda: env.twist_to_action(0, np.ones(6), "tool"))
    asked = robot.next("twist")
    assert (asked.fields["arm"], asked.fields["frame"], asked.arrays["twist"].dtype) == (0, "tool", np.float32)
    robot.send("numbers", {"numbers": ACTION[:6]}, number=asked.fields["number"])
    np.testing.assert_array_equal(asking.result(), ACTION[:6])
    asking = Background(lambda: env.twist_to_action(0, np.ones(6), "base"))
    robot.send("numbers", number=robot.next("twist").fields["number"], text="no solution")
    with pytest.raises(RuntimeError, match="no solution"):
        asking.result()
    image = np.full((6, 8, 3), 7, np.uint8)
    looking = Background(env.live_frames)
    robot.send("views", {"wrist": image}, number=robot.next("look").fields["number"])
    np.testing.assert_array_equal(looking.result()["wrist"], image)
    robot.close()
    until(lambda: env._listener.connection is None)
    with pytest.raises(ConnectionError, match="does not answer"):
        env.live_frames()
    env.close()


def test_a_robot_without_a_sign_of_life_is_lost(pair, monkeypatch, caplog):
    _, robot = pair
    monkeypatch.setattr("serl_ray.envs.remote.connection.SILENCE_SECONDS", 0.2)
    robot.send("alive")
    until(lambda: "its control loop has sent nothing for 0.2 s" in caplog.text)


def test_a_long_step_is_no_silence(pair, monkeypatch):
    env, robot, *_ = begun(pair)
    monkeypatch.setattr("serl_ray.envs.remote.connection.SILENCE_SECONDS", 0.02)
    step = stepping(env)
    asked = robot.next("step")
    waits = threading.Event()
    waits.wait(0.3)  # fifteen times as long as silence may last
    fields = {"info": {}, "reward": 0.0, "step_seconds": 0.3, "terminated": False, "truncated": False}
    robot.send("result", {"obs/state": STATE}, number=asked.fields["number"], **fields)
    assert step.result()[1] == 0.0


def test_two_workers_of_a_computer_have_a_robot_each():
    port = free_port()
    making = Background(lambda: RemoteEnv(SETUP, port=port))
    first = dialled(port)
    other = Background(lambda: RemoteEnv(SETUP, port=port))
    second = dialled(port + 1)
    making.result().close()
    first.next("close")
    other.result().close()
    second.next("close")


def test_what_cannot_be_is_said_at_once(caplog):
    caplog.set_level(logging.WARNING)
    port = free_port()
    with pytest.raises(SetupError, match="No robot came within 0.1 s. On the robot's computer run `serl-robot ws://"):
        RemoteEnv(SETUP, port=port, connect_seconds=0.1)
    with pytest.raises(SetupError, match="No robot can be awaited at 192.0.2.1:"):
        RemoteEnv(SETUP, host="192.0.2.1", port=port)
    with pytest.raises(ValueError, match="port is 0"):
        RemoteEnv(SETUP, port=0)
    with pytest.raises(ValueError, match="setup_mode is 'three-arms'"):
        RemoteEnv("three-arms", port=port)


def test_wrong_actions_and_options_are_not_sent(pair):
    env, *_ = begun(pair)
    for action in (ACTION[:3], np.full(7, np.nan), 1.5 * np.ones(7)):
        with pytest.raises(ValueError, match=r"The action must be \(7,\) numbers in \[-1, 1\]"):
            env.step(action)
    with pytest.raises(ValueError, match="a reset sends none to a robot"):
        env.reset(options={"place": "left"})
