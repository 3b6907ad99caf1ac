"""Pauses, resets and stops: who may end them, and what becomes of the episode."""

from __future__ import annotations

import pytest
from stage import ANNA, BEN, EVE, MOUSE, begun, driven

from serl_ray.teleop.events import Ending, Press, StepActor, Verdict


def test_a_pause_lasts_until_it_is_ended():
    stage = driven()
    stage.steps(1)
    stage.press(Press.PAUSE)
    for _ in range(5):
        decision = stage.step()
        assert (decision.actor, decision.action, decision.verdict) == (StepActor.NOBODY, None, None)
        stage.wait(60.0)
    stage.press(Press.REQUEST)
    stage.command(True)
    stage.press(Press.RESUME)
    assert stage.step().actor is StepActor.POLICY
    stage.command(False)
    stage.command(True)
    assert stage.step().actor is StepActor.PERSON
    assert stage.session.counts["losses"] == 0


def test_a_reset_ends_the_episode_with_all_its_steps():
    stage = begun()
    stage.press(Press.REQUEST)
    stage.steps(3)
    stage.press(Press.RESET)
    decision = stage.step()
    assert (decision.actor, decision.verdict) == (StepActor.NOBODY, Verdict(Ending.RESET, 3))
    stage.begin()
    assert stage.step().actor is StepActor.POLICY


@pytest.mark.parametrize("client", [ANNA, BEN, EVE, MOUSE], ids=lambda client: client.name)
def test_anybody_may_stop(client):
    stage = driven()
    stage.steps(2)
    stage.press(Press.STOP, client, epoch=0, frame=0)
    decision = stage.step()
    assert (decision.actor, decision.verdict) == (StepActor.NOBODY, Verdict(Ending.STOP, 2))
    stage.begin()
    stage.command(False)
    stage.command(True)
    stage.press(Press.RESUME)
    stage.wait(60.0)
    assert stage.step().actor is StepActor.NOBODY
    assert not stage.session.may_move(stage.now)


def test_the_holder_arms_again_with_the_clutch_released():
    stage = driven()
    stage.press(Press.STOP)
    stage.step()
    stage.begin()
    stage.press(Press.REARM, BEN)
    stage.press(Press.REARM, EVE)
    assert stage.session.is_stopped
    stage.command(True)
    stage.press(Press.REARM)
    assert stage.session.is_stopped and "release it first" in stage.session.refusals[-1]
    stage.command(False)
    stage.press(Press.REARM)
    assert stage.step().actor is StepActor.POLICY


def test_a_stop_outlives_a_pause_and_a_pause_outlives_a_stop():
    stage = begun()
    stage.press(Press.REQUEST)
    stage.press(Press.PAUSE)
    stage.press(Press.STOP)
    stage.press(Press.REARM)
    stage.step()
    stage.begin()
    assert stage.step().actor is StepActor.NOBODY
    stage.press(Press.RESUME)
    assert stage.step().actor is StepActor.POLICY


def test_a_clutch_that_somebody_else_has_held_does_not_keep_the_robot_stopped():
    stage = driven()
    stage.press(Press.STOP)
    stage.wait(4.0)  # Anna's lease ends
    stage.press(Press.REQUEST, BEN)
    stage.press(Press.REARM, BEN)
    assert not stage.session.is_stopped
