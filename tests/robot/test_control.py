"""A robot under orders: what it executes, when it holds, and what stops it."""

from __future__ import annotations

import re
import threading
import time

import numpy as np
import pytest
from robot_trainers import NoBrakes, ScriptedTrainer, served, wait_until


def taken(trainer: ScriptedTrainer):
    return trainer.accept().welcome()


def test_the_robot_introduces_itself(trainer, arm):
    with served(arm, trainer.url, hz=50):
        talk = taken(trainer)
    assert talk.token == "Bearer a-token-of-the-tests"
    fields = talk.hello.fields
    assert (talk.hello.kind, fields["protocol"], fields["name"], fields["hz"]) == ("hello", 1, "arm", 50)
    assert fields["setup_mode"] == "single-arm-learned-gripper" and fields["seen_from"] == "left"
    assert fields["methods"] == ["hold", "stop"] and fields["action_shape"] == [4]
    assert fields["observations"]["front"] == {"dtype": "uint8", "shape": [8, 6, 3]}
    assert {name: array.tolist() for name, array in talk.hello.arrays.items()} == {
        "low/state": [-10] * 3,
        "high/state": [10] * 3,
    }


def test_what_the_env_returns_comes_as_it_is_and_what_is_ordered_is_executed(trainer, arm):
    arm.next_step = [lambda result: (*result[:2], True, np.True_, {"intervene_action": np.ones(4), "by": [1, "x"]})]
    with served(arm, trainer.url):
        talk = taken(trainer)
        started = talk.reset(seed=7)
        np.testing.assert_equal({key: started.arrays[f"obs/{key}"] for key in arm.observation}, arm.observation)
        result = talk.step(0.5, -0.25, 1, 0)
        np.testing.assert_equal({key: result.arrays[f"obs/{key}"] for key in arm.observation}, arm.observation)
    assert arm.seeds == [7] and [action.tolist() for action in arm.actions] == [[0.5, -0.25, 1, 0]]
    assert (result.fields["reward"], result.fields["terminated"], result.fields["truncated"]) == (0.5, True, True)
    assert result.fields["info"] == {"by": [1, "x"]} and result.arrays["info/intervene_action"].tolist() == [1] * 4
    assert 0 <= result.fields["step_seconds"] < 30


def test_steps_come_no_faster_than_their_rate(trainer, arm):
    with served(arm, trainer.url, hz=40):
        talk = taken(trainer)
        talk.reset()
        began = time.monotonic()
        for _ in range(9):
            talk.send("hold")  # so that no step is late, on however slow a computer
            talk.step()
    assert time.monotonic() - began >= 8 / 40


def test_a_robot_without_its_next_step_holds_once_and_refuses_what_is_late(trainer, arm):
    with served(arm, trainer.url):
        talk = taken(trainer)
        talk.reset()
        talk.step()
        arm.has_been("hold")
        late = talk.step(answer="late")
        assert late.fields["seconds"] > 0 and len(arm.actions) == 1
        holds = arm.calls.count("hold")
        talk.step(answer="late")  # however often the trainer tries
        assert arm.calls.count("hold") == holds
        talk.reset()
        talk.step()
    assert len(arm.actions) == 2


def test_the_first_step_of_an_episode_and_one_after_a_pause_are_not_late(trainer, arm):
    with served(arm, trainer.url):
        talk = taken(trainer)
        talk.reset()
        arm.has_been("hold")
        talk.step()
        talk.send("hold")
        arm.has_been("hold", times=2)
        talk.step()
    assert len(arm.actions) == 2


def test_zeros_hold_a_robot_that_has_no_other_way(trainer):
    arm = NoBrakes()
    with served(arm, trainer.url):
        talk = taken(trainer)
        talk.reset()
        talk.step(1, 1, 1, 1)
        arm.has_been("step", times=len(arm.actions) + 1)
        assert not arm.actions[-1].any() and sum(action.any() for action in arm.actions) == 1
        talk.step(answer="late")  # and not the result of the zeros


def test_a_stop_reaches_a_step_that_is_under_way_again_and_again(trainer, arm):
    with served(arm, trainer.url):
        talk = taken(trainer)
        talk.reset()
        arm.blocked.clear()
        number = talk.begin_step()
        arm.has_been("step")
        talk.send("stop")
        arm.has_been("stop", times=3)
        arm.blocked.set()
        fault = talk.receive("fault").fields
        assert fault["number"] == number and "A stop came during the step" in fault["text"]
        assert "stopped" in talk.step(answer="fault").fields["text"] and len(arm.actions) == 1
        talk.reset()
        talk.step()
    assert len(arm.actions) == 2


def test_a_stop_is_not_undone_by_a_reset_that_was_ordered_before_it(trainer, arm):
    with served(arm, trainer.url):
        talk = taken(trainer)
        talk.reset()
        arm.blocked.clear()
        talk.begin_step()
        arm.has_been("step")
        talk.send("reset", number=50, seed=None)
        talk.send("stop")
        arm.has_been("stop")
        arm.blocked.set()
        talk.receive("fault")
        assert "A stop came before the reset" in talk.receive("fault").fields["text"] and arm.calls.count("reset") == 1


def test_without_stop_the_robot_is_held_at_the_end_of_its_step(trainer, arm):
    arm.stop = None
    with served(arm, trainer.url):
        talk = taken(trainer)
        talk.reset()
        arm.blocked.clear()
        talk.begin_step()
        arm.has_been("step")
        holds = arm.calls.count("hold")
        talk.send("stop")
        talk.ask("look", "views")  # so that the stop has come
        assert arm.calls.count("hold") == holds
        arm.blocked.set()
        arm.has_been("hold", times=holds + 1)
        talk.receive("fault")
        talk.step(answer="fault")


def raising(result):
    raise RuntimeError("the gripper is hot")


def with_state(value):
    return lambda result: ({**result[0], "state": value}, *result[1:])


BROKEN = {
    "RuntimeError: the gripper is hot": raising,
    "'state' holds NaN or infinity": with_state(np.array([0, np.nan, 0], np.float32)),
    r"'state' holds NaN or infinity \(number 3 of 3\)": lambda result: (  # of which the reward was computed
        {**result[0], "state": np.array([0, 0, np.inf], np.float32)},
        np.nan,
        *result[2:],
    ),
    "truth value of an array": lambda result: (*result[:2], np.array([True, False]), {}),
    r"'state' has the shape \(2,\), its space \(3,\)": with_state(np.zeros(2, np.float32)),
    "lacks front": lambda result: ({"state": result[0]["state"]}, *result[1:]),
    "'front' is float64": lambda result: ({**result[0], "front": result[0]["front"] / 255}, *result[1:]),
    "An observation is a list": lambda result: ([], *result[1:]),
    "The reward is nan": lambda result: (result[0], np.nan, *result[2:]),
    "`truncated` is 'no'": lambda result: (*result[:3], "no", result[4]),
    "a tuple of 3": lambda result: result[:3],
    r"info\['intervene_action'\] holds NaN": lambda result: (*result[:4], {"intervene_action": np.full(4, np.nan)}),
    r"info\['success'\] is a object": lambda result: (*result[:4], {"success": object()}),
    "header of a message": lambda result: (*result[:4], {"log": "x" * 70_000}),
}

KINDS = {
    "RuntimeError: the gripper is hot": "error",
    "'state' holds NaN or infinity": "not_finite",
    r"'state' holds NaN or infinity \(number 3 of 3\)": "not_finite",
    "truth value of an array": "error",
    r"'state' has the shape \(2,\), its space \(3,\)": "wrong_shape",
    "lacks front": "wrong_shape",
    "'front' is float64": "wrong_shape",
    "An observation is a list": "wrong_shape",
    "The reward is nan": "not_finite",
    r"info\['intervene_action'\] holds NaN": "wrong_action",
}


@pytest.mark.parametrize("text", BROKEN)
def test_a_fault_of_the_env_stops_the_robot_and_is_told(trainer, arm, text):
    arm.next_step = [BROKEN[text]]
    with served(arm, trainer.url):
        talk = taken(trainer)
        talk.reset()
        fault = talk.step(answer="fault").fields
        assert re.search(text, fault["text"]), fault
        assert fault["kind"] == KINDS.get(text, "wrong_result")
        assert arm.calls.count("stop") == 1
        talk.step(answer="fault")
        assert len(arm.actions) == 1
        talk.reset()
        talk.step()


def test_what_can_be_put_right_is_told_once(trainer, arm, caplog):
    odd = [lambda result: ({**result[0], "state": [1, 2, 3], "more": 1}, *result[1:4], {"camera": object()})] * 2
    arm.next_step = odd
    with served(arm, trainer.url):
        talk = taken(trainer)
        talk.reset()
        results = [talk.step()]
        talk.reset()
        results.append(talk.step())
    for result in results:
        assert result.arrays["obs/state"].dtype == np.float32 and result.fields["info"] == {}
    for text in ("'state' is int64", "has 'more'", "info['camera'] is a object"):
        assert caplog.text.count(text) == 1


def test_an_episode_that_is_over_takes_no_step(trainer, arm):
    arm.next_step = [lambda result: (*result[:2], True, False, {})]
    with served(arm, trainer.url):
        talk = taken(trainer)
        assert "No episode is running" in talk.step(answer="fault").fields["text"]
        talk.reset()
        talk.step()
        assert "No episode is running" in talk.step(answer="fault").fields["text"]
    assert len(arm.actions) == 1


def test_the_robot_shows_that_it_lives_and_calls_of_the_env_come_from_one_thread(trainer, arm):
    with served(arm, trainer.url):
        talk = taken(trainer)
        for _ in range(3):
            talk.receive("alive")
        for _ in range(2):
            talk.reset()
            talk.step()
    assert len(arm.threads) == 1 and threading.get_ident() not in arm.threads


def test_a_clock_that_is_set_changes_nothing(trainer, arm, monkeypatch):
    now = time.time
    with served(arm, trainer.url):
        talk = taken(trainer)
        for hours in (5, -9):
            talk.reset()
            monkeypatch.setattr(time, "time", lambda hours=hours: now() + 3600 * hours)
            talk.step()
            arm.has_been("hold", times=arm.calls.count("hold") + 1)
            talk.step(answer="late")


def test_motions_of_a_hand_become_numbers_of_the_robot(trainer, arm):
    asked = []
    arm.twist_to_action = lambda *given: asked.append(given) or given[1][:3] * 2
    with served(arm, trainer.url):
        talk = taken(trainer)
        twist = np.linspace(-0.5, 0.5, 6).astype(np.float32)
        numbers = talk.ask("twist", "numbers", {"twist": twist}, arm=0, frame="tool")
        np.testing.assert_array_equal(numbers.arrays["numbers"], twist[:3] * 2)
        arm.twist_to_action = None
        assert asked[0][::2] == (0, "tool") and talk.hello.fields["methods"] == ["hold", "stop", "twist_to_action"]


def test_a_failure_of_twist_to_action_is_an_answer(trainer, arm):
    arm.twist_to_action = lambda arm, twist, frame: 1 / 0
    with served(arm, trainer.url):
        talk = taken(trainer)
        numbers = talk.ask("twist", "numbers", {"twist": np.zeros(6, np.float32)}, arm=0, frame="base")
        assert "ZeroDivisionError" in numbers.fields["text"] and not numbers.arrays
        talk.reset()


def test_live_images_come_while_a_step_is_under_way(trainer, arm):
    arm.live_frames = lambda: {"front": np.full((8, 6, 3), 7, np.uint8)}
    with served(arm, trainer.url):
        talk = taken(trainer)
        talk.reset()
        arm.blocked.clear()
        talk.begin_step()
        arm.has_been("step")
        assert (talk.ask("look", "views").arrays["front"] == 7).all()
        arm.blocked.set()
        talk.receive("result")


def test_live_images_that_fail_are_not_asked_for_again(trainer, arm):
    asked = []
    arm.live_frames = lambda: asked.append(1) or 1 / 0
    with served(arm, trainer.url):
        talk = taken(trainer)
        assert "ZeroDivisionError" in talk.ask("look", "views").fields["text"]
        assert "text" in talk.ask("look", "views").fields and len(asked) == 1


def test_the_end_of_the_process_stops_the_robot_and_closes_the_env(trainer, arm):
    with served(arm, trainer.url) as errors:
        talk = taken(trainer)
        talk.reset()
    assert arm.calls[-1] == "close" and "stop" in arm.calls and errors == []
    talk.closed()
    wait_until(lambda: talk.socket.state.name == "CLOSED")
