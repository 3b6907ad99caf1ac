"""Grippers are pressed: a command for one step, within a second, of whoever acts."""

from __future__ import annotations

import numpy as np
import pytest
from stage import ANNA, BEN, MOMENT, MOUSE, TWO_ARMS, Stage, begun, driven

from serl_ray.teleop.events import Client, Press, StepActor
from serl_ray.teleop.grips import GRIP_SECONDS


def gripped(stage: Stage, client: Client = ANNA) -> list[float]:
    """The commands of the grippers in a step that a person makes."""
    stage.command(True, client)
    decision = stage.step()
    assert decision.actor is StepActor.PERSON
    return decision.action[list(stage.session.layout.gripper_indices)].tolist()


@pytest.mark.parametrize("direction", [-1, 1])
def test_a_press_is_one_step_long(direction):
    stage = driven()
    stage.press(Press.GRIPPER, direction=direction)
    assert [gripped(stage) for _ in range(3)] == [[direction], [0.0], [0.0]]


def test_two_presses_are_two_steps_in_their_order():
    stage = driven()
    stage.press(Press.GRIPPER, direction=-1)
    stage.press(Press.GRIPPER, direction=1)
    assert [gripped(stage) for _ in range(3)] == [[-1.0], [1.0], [0.0]]


def test_two_grippers_move_in_one_step():
    stage = driven(TWO_ARMS)
    for gripper, direction in ((0, -1), (1, 1), (1, -1)):
        stage.press(Press.GRIPPER, gripper=gripper, direction=direction)
    assert [gripped(stage) for _ in range(3)] == [[-1.0, 1.0], [0.0, -1.0], [0.0, 0.0]]


@pytest.mark.parametrize(("waited", "command"), [(GRIP_SECONDS, [1.0]), (GRIP_SECONDS + MOMENT, [0.0])])
def test_a_press_expires(waited, command):
    stage = driven()
    stage.press(Press.GRIPPER, direction=1)
    stage.wait(waited)
    assert gripped(stage) == command


@pytest.mark.parametrize(("gripper", "direction"), [(1, 1), (-1, 1), (0, 0), (0, 2)])
def test_a_gripper_that_is_not_there_is_refused(gripper, direction):
    stage = driven()
    stage.press(Press.GRIPPER, gripper=gripper, direction=direction)
    assert gripped(stage) == [0.0]
    assert stage.session.counts["refused"] == 1


def test_without_the_clutch_a_press_is_refused():
    stage = begun()
    stage.press(Press.REQUEST)
    stage.press(Press.GRIPPER, direction=1)
    stage.command(False)
    assert gripped(stage) == [0.0]
    assert "clutch" in stage.session.refusals[-1]


def test_a_press_ends_with_its_intervention():
    stage = driven()
    stage.press(Press.GRIPPER, direction=1)
    stage.command(False)
    assert gripped(stage) == [0.0]


def test_a_press_is_not_executed_for_somebody_else():
    stage = driven()
    stage.press(Press.GRIPPER, direction=1)
    stage.take_over(MOUSE)
    assert gripped(stage, MOUSE) == [0.0]


def test_a_press_is_not_executed_after_a_new_connection():
    stage = driven()
    stage.press(Press.GRIPPER, direction=1)
    stage.session.left(ANNA, stage.now)
    stage.take_over(BEN)
    assert gripped(stage, BEN) == [0.0]


def test_a_press_waits_while_the_robot_holds():
    stage = driven()
    stage.wait(0.5)
    stage.press(Press.GRIPPER, direction=1)
    decision = stage.step()
    assert decision.actor is StepActor.HOLD
    np.testing.assert_array_equal(decision.action, np.zeros(7))
    assert gripped(stage) == [1.0]
