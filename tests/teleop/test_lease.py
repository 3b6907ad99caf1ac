"""Control of a robot: one holder, by a lease that ends with the signs of life."""

from __future__ import annotations

import pytest
from stage import ANNA, BEN, EVE, MOMENT, MOUSE, PEDALS, Stage, begun, driven

from serl_ray.teleop.events import Press, StepActor
from serl_ray.teleop.lease import LEASE_SECONDS, Lease


def test_there_is_one_holder_until_it_gives_control_back():
    stage = Stage()
    stage.press(Press.REQUEST, ANNA)
    stage.press(Press.REQUEST, BEN)
    assert stage.session.lease.holder == ANNA and stage.session.counts["refused"] == 1
    stage.press(Press.RELEASE, BEN)
    assert stage.session.lease.holder == ANNA
    stage.press(Press.RELEASE, ANNA)
    assert stage.session.lease.holder is None
    stage.press(Press.REQUEST, BEN)
    assert stage.session.lease.holder == BEN and stage.epoch == 2


def test_asking_twice_changes_nothing():
    stage = driven()
    stage.press(Press.REQUEST)
    assert stage.epoch == 1 and stage.session.counts["refused"] == 0
    assert stage.step().actor is StepActor.PERSON


def test_a_lease_ends_after_the_last_sign_of_life():
    lease = Lease()
    assert lease.request(ANNA, 0.0)
    lease.renew(ANNA, 2.0)
    lease.renew(BEN, 4.0)
    assert not lease.request(BEN, 2.0 + LEASE_SECONDS)
    assert lease.is_held_by(ANNA, 1, 2.0 + LEASE_SECONDS)
    assert not lease.is_held_by(ANNA, 1, 2.0 + LEASE_SECONDS + MOMENT)
    lease.renew(ANNA, 2.0 + LEASE_SECONDS + MOMENT)
    assert lease.holder is None and lease.request(BEN, 6.0) and lease.epoch == 2


@pytest.mark.parametrize("sign", ["alive", "command", "press"])
def test_whatever_a_holder_sends_is_a_sign_of_life(sign):
    stage = Stage()
    stage.press(Press.REQUEST)
    for _ in range(4):
        stage.wait(LEASE_SECONDS)
        if sign == "alive":
            stage.session.alive(ANNA, stage.now)
        elif sign == "command":
            stage.command(False)
        else:
            stage.press(Press.RESUME)
    assert stage.session.lease.is_held_by(ANNA, 1, stage.now)


def test_everybody_is_told_when_a_lease_has_ended():
    stage = Stage()
    stage.press(Press.REQUEST)
    assert stage.session.state(stage.now)["holder"] == "anna"
    stage.wait(LEASE_SECONDS + MOMENT)
    assert stage.session.state(stage.now)["holder"] is None


def test_what_was_sent_under_an_earlier_lease_is_dropped():
    stage = begun()
    stage.press(Press.REQUEST)
    stage.press(Press.RELEASE)
    stage.press(Press.REQUEST)
    stage.command(False, epoch=1)
    stage.command(True, epoch=1)
    stage.press(Press.PAUSE, epoch=1)
    assert stage.step().actor is StepActor.POLICY
    assert stage.session.counts["stale"] == 2 and stage.session.counts["refused"] == 1


def test_a_released_clutch_of_an_earlier_lease_does_not_arm_the_next_one():
    stage = begun()
    stage.press(Press.REQUEST)
    stage.command(False)
    stage.press(Press.RELEASE)
    stage.press(Press.REQUEST)
    stage.command(True)
    assert stage.step().actor is StepActor.POLICY


def test_a_device_at_the_robot_comes_before_the_web():
    stage = driven()
    stage.press(Press.REQUEST, MOUSE)
    assert stage.session.lease.holder == MOUSE and stage.epoch == 2
    stage.command(True, ANNA)
    stage.command(True, ANNA, epoch=1)
    assert stage.step().actor is StepActor.HOLD
    stage.press(Press.REQUEST, ANNA)
    stage.press(Press.REQUEST, PEDALS)
    assert stage.session.lease.holder == MOUSE and stage.session.counts["refused"] == 2
    stage.command(False, MOUSE)
    stage.command(True, MOUSE)
    decision = stage.step()
    assert (decision.actor, decision.intervention) == (StepActor.PERSON, 2)


@pytest.mark.parametrize("press", [press for press in Press if press is not Press.STOP])
def test_a_viewer_may_do_nothing_but_stop(press):
    stage = driven()
    stage.steps(1)
    before = stage.session.state(stage.now)
    stage.press(press, EVE, direction=1)
    after = stage.session.state(stage.now)
    assert after.pop("refusals") != before.pop("refusals")
    assert after.pop("counts") == {**before.pop("counts"), "refused": 1}
    assert after == before
    assert stage.step().actor is StepActor.PERSON


@pytest.mark.parametrize("press", [press for press in Press if press not in (Press.STOP, Press.REQUEST)])
def test_an_operator_without_control_may_do_nothing_but_stop_and_ask(press):
    stage = driven()
    stage.steps(1)
    stage.press(press, BEN, direction=1)
    said = "somebody else has control" if press is Press.READY else "does not have control"
    assert said in stage.session.refusals[-1]
    assert stage.step().actor is StepActor.PERSON


def test_giving_control_back_hands_the_robot_to_the_policy():
    stage = driven()
    stage.steps(1)
    stage.press(Press.RELEASE)
    assert stage.step().actor is StepActor.POLICY
