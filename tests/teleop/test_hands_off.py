"""The session of an evaluation: the policy plays, and people may stop it."""

from __future__ import annotations

import pytest
from stage import ANNA, EVE, PEDALS, Stage

from serl_ray.teleop.events import Ending, Press, StepActor, Verdict
from serl_ray.teleop.hands_off import HANDS_OFF, OF_EVALUATIONS


@pytest.fixture
def stage():
    stage = Stage(hands_off=True)
    stage.begin()
    stage.press(Press.REQUEST)
    return stage


@pytest.mark.parametrize("press", [press for press in Press if press not in OF_EVALUATIONS])
def test_an_evaluation_takes_no_press_but_those_of_a_stop(stage, press):
    stage.steps(3)
    stage.press(press)
    assert stage.session.refusals[-1] == f"{press} is refused: {HANDS_OFF}."
    assert stage.step().actor is StepActor.POLICY
    assert not stage.session.is_paused


@pytest.mark.parametrize("client", [ANNA, PEDALS])
def test_nobody_takes_over_an_evaluation(stage, client):
    stage.take_over(client)
    assert stage.session.refusals[-1] == f"clutch is refused: {HANDS_OFF}."
    assert stage.step().actor is StepActor.POLICY
    assert stage.session.counts["takeovers"] == 0


def test_an_evaluation_is_stopped_by_anybody_and_armed_again_by_whoever_has_control(stage):
    stage.steps(2)
    stage.press(Press.STOP, EVE)
    assert stage.step().verdict == Verdict(Ending.STOP, 2)
    stage.begin()
    assert stage.step().actor is StepActor.NOBODY
    stage.command(True)
    stage.press(Press.REARM)
    assert "release it first" in stage.session.refusals[-1]
    stage.command(False)
    stage.press(Press.REARM)
    assert stage.step().actor is StepActor.POLICY


def test_an_attended_evaluation_waits_while_nobody_is_there():
    stage = Stage(attended=True, hands_off=True)
    stage.begin()
    assert stage.step().actor is StepActor.NOBODY
    stage.session.alive(ANNA, stage.now)
    assert stage.step().actor is StepActor.POLICY
