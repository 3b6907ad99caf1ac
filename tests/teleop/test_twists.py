"""Actions that are made of twists: of the chosen arm alone, and never of what an env returns by mistake."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from stage import LAYOUT, PUSH, TWO_ARMS, Stage

from serl_ray.teleop import twists
from serl_ray.teleop.events import StepActor
from serl_ray.teleop.twists import Reference, Twist, TwistError, TwistMap
from serl_ray.types import ActionLayout

TWIST = np.array([0.5, -0.25, 1.0, 0.125, -1.0, 0.75], np.float32)
FIXED = "single-arm-fixed-gripper"


def twist(arm=0, reference=Reference.BASE):
    return Twist(TWIST, arm, reference)


@pytest.mark.parametrize(
    ("layout", "arms", "arm", "expected"),
    [
        (LAYOUT, 1, 0, [*TWIST, 0]),
        (ActionLayout.from_setup("single-arm-learned-gripper", 5), 1, 0, [0.5, -0.25, 1.0, 0.75, 0]),
        (ActionLayout.from_setup(FIXED, 4), 1, 0, [0.5, -0.25, 1.0, 0.75]),
        (ActionLayout.from_setup(FIXED, 2), 1, 0, [0.5, -0.25]),
        (ActionLayout.from_setup(FIXED, 8), 1, 0, [*TWIST, 0, 0]),
        (TWO_ARMS, 2, 0, [*TWIST, 0, *np.zeros(7)]),
        (TWO_ARMS, 2, 1, [*np.zeros(7), *TWIST, 0]),
    ],
)
def test_without_a_conversion_the_twist_is_the_action_of_its_arm(layout, arms, arm, expected):
    action = TwistMap(layout, arms).action(twist(arm))
    assert action.dtype == np.float32
    np.testing.assert_array_equal(action, expected)


def test_a_conversion_is_asked_for_the_numbers_of_one_arm():
    asked = []

    def convert(arm, numbers, frame):
        asked.append((arm, numbers.tolist(), frame))
        return -2.0 * numbers

    twist_map = TwistMap(TWO_ARMS, 2, convert)
    action = twist_map.action(twist(1, Reference.TOOL))
    assert asked == [(1, TWIST.tolist(), "tool")]
    np.testing.assert_array_equal(action, [*np.zeros(7), -1.0, 0.5, -1.0, -0.25, 1.0, -1.0, 0])
    assert twist_map.references == (Reference.BASE, Reference.TOOL)


def test_a_robot_without_a_conversion_knows_its_base_alone():
    assert TwistMap(LAYOUT).references == (Reference.BASE,)


@pytest.mark.parametrize(
    "wrong", [None, "no", [1.0] * 5, [1.0] * 7, [[0.0] * 6], [0, 0, np.nan, 0, 0, 0], [np.inf] * 6, [[1], [1, 2]]]
)
def test_what_is_no_action_of_the_arm_is_refused(wrong):
    with pytest.raises(TwistError, match="twist_to_action"):
        TwistMap(LAYOUT, 1, lambda arm, numbers, frame: wrong).action(twist())


def test_a_conversion_that_fails_is_named():
    def convert(arm, numbers, frame):
        raise RuntimeError("no pose yet")

    with pytest.raises(TwistError, match=r"has failed \(RuntimeError: no pose yet\)"):
        TwistMap(LAYOUT, 1, convert).action(twist())


def test_a_twist_moves_the_robot_within_the_limits():
    stage = Stage()
    stage.begin()
    stage.take_over()
    stage.command(True, action=Twist(np.array([PUSH, 0, 0, 0, 0, 0], np.float32), 0, Reference.BASE))
    np.testing.assert_array_equal(stage.step().action, stage.push)
    stage.command(True, action=Twist(np.array([1, 0, 0, 0, 0, 0], np.float32), 0, Reference.BASE))
    assert stage.step().action[0] == PUSH + stage.session.limits.slew


def test_while_no_action_can_be_made_the_robot_holds_and_says_so_once():
    made = [np.zeros(5), np.zeros(5), np.full(6, PUSH)]
    stage = Stage(twist_map=TwistMap(LAYOUT, 1, lambda arm, numbers, frame: made.pop(0)))
    stage.begin()
    stage.take_over()
    actors = []
    for _ in range(3):
        stage.command(True, action=twist())
        actors.append(stage.step().actor)
    assert actors == [StepActor.HOLD, StepActor.HOLD, StepActor.PERSON]
    assert stage.session.counts["holds"] == 2 and stage.session.counts["refused"] == 1
    assert "motion is refused: twist_to_action returned" in stage.session.refusals[-1]


def test_a_conversion_that_hangs_is_not_asked_again_and_the_robot_holds(monkeypatch):
    monkeypatch.setattr(twists, "CONVERT_SECONDS", 0.05)
    calls, ever = [], threading.Event()

    def convert(arm, numbers, frame):
        calls.append(arm)
        ever.wait()

    stage = Stage(twist_map=TwistMap(LAYOUT, 1, convert))
    stage.begin()
    stage.take_over()
    for _ in range(3):
        stage.command(True, action=twist())
        assert stage.step().actor is StepActor.HOLD
    ever.set()
    assert calls == [0]
    [refusal] = [text for text in stage.session.refusals if "motion is refused" in text]
    assert (
        "twist_to_action has failed (TimeoutError: it has not answered for 0.05 s, and is not called again)" in refusal
    )


def test_a_conversion_runs_in_one_thread():
    threads = set()

    def convert(arm, numbers, frame):
        threads.add(threading.current_thread())
        return numbers

    twist_map = TwistMap(TWO_ARMS, 2, convert)
    for _ in range(3):
        twist_map.action(twist())
    assert len(threads) == 1 and threading.main_thread() not in threads
