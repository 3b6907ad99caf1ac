"""Who acts on a robot: takeovers, holds, losses and hand-backs."""

from __future__ import annotations

import numpy as np
import pytest
from stage import ANNA, BEN, EVE, MOMENT, STEP, begun, driven

from serl_ray.teleop.events import Ending, Press, StepActor, Verdict
from serl_ray.teleop.intervention import COMMAND_SECONDS, FRAME_SECONDS
from serl_ray.teleop.session import LOST_SECONDS


def test_without_anybody_the_policy_acts():
    stage = begun()
    decision = stage.step()
    assert (decision.actor, decision.intervention, decision.source) == (StepActor.POLICY, 0, "policy")
    assert decision.action is stage.policy


def test_a_takeover_acts_at_the_next_step():
    stage = begun()
    stage.take_over()
    decision = stage.step()
    assert (decision.actor, decision.intervention, decision.source) == (StepActor.PERSON, 1, "keyboard")
    np.testing.assert_array_equal(decision.action, stage.push)
    assert stage.session.counts["takeovers"] == 1


def test_a_clutch_without_control_does_nothing():
    stage = begun()
    stage.press(Press.REQUEST, BEN)
    stage.command(False)
    stage.command(True)
    assert stage.step().actor is StepActor.POLICY
    assert stage.session.counts["stale"] == 2


def test_a_clutch_that_was_held_before_control_came_does_nothing():
    stage = begun()
    stage.press(Press.REQUEST)
    stage.command(True)
    assert stage.step().actor is StepActor.POLICY
    stage.command(False)
    stage.command(True)
    assert stage.step().actor is StepActor.PERSON


@pytest.mark.parametrize(
    ("outdated", "actor"), [(FRAME_SECONDS, StepActor.PERSON), (FRAME_SECONDS + MOMENT, StepActor.POLICY)]
)
def test_a_takeover_is_on_a_fresh_frame(outdated, actor):
    stage = begun()
    seen = stage.frame
    stage.press(Press.REQUEST)
    stage.command(False)
    stage.show()
    stage.wait(outdated)
    stage.command(True, frame=seen)
    assert stage.step().actor is actor
    assert stage.session.counts["refused"] == (actor is StepActor.POLICY)


def test_the_newest_frame_of_a_slow_env_is_fresh():
    stage = begun()
    stage.wait(10 * FRAME_SECONDS)
    stage.take_over()
    assert stage.step().actor is StepActor.PERSON


def test_a_takeover_on_a_frame_that_was_never_shown_is_refused():
    stage = begun()
    stage.press(Press.REQUEST)
    stage.command(False)
    stage.command(True, frame=stage.frame + 1)
    assert stage.step().actor is StepActor.POLICY
    assert "displayed frame" in stage.session.refusals[-1]


def test_a_refused_takeover_does_not_come_late():
    stage = begun()
    stage.press(Press.REQUEST)
    stage.command(False)
    stage.command(True, frame=stage.frame + 1)
    stage.command(True)
    assert stage.step().actor is StepActor.POLICY
    stage.command(False)
    stage.command(True)
    assert stage.step().actor is StepActor.PERSON


def test_a_person_holds_who_acts_on_an_outdated_frame():
    stage = driven()
    seen = stage.frame
    stage.steps(1)
    stage.wait(FRAME_SECONDS + MOMENT)
    stage.command(True, frame=seen)
    assert stage.step().actor is StepActor.HOLD
    stage.command(True)
    assert stage.step().actor is StepActor.PERSON


def test_standing_still_is_an_action():
    stage = driven()
    stage.command(True, action=np.zeros(7, np.float32))
    decision = stage.step()
    assert (decision.actor, decision.intervention) == (StepActor.PERSON, 1)
    np.testing.assert_array_equal(decision.action, np.zeros(7))


def test_an_action_does_not_carry_a_gripper():
    stage = driven()
    stage.command(True, action=np.eye(7, dtype=np.float32)[6])
    np.testing.assert_array_equal(stage.step().action, np.zeros(7))


def test_after_a_hand_back_the_policy_acts_and_the_next_takeover_has_the_next_number():
    stage = driven()
    stage.steps(1)
    stage.command(False)
    assert stage.step().action is stage.policy
    stage.command(True)
    decision = stage.step()
    assert (decision.actor, decision.intervention) == (StepActor.PERSON, 2)
    assert stage.session.counts["hand-backs"] == 1


def test_an_old_command_holds():
    stage = driven()
    stage.wait(COMMAND_SECONDS)
    assert stage.decide().actor is StepActor.PERSON
    stage.wait(MOMENT)
    decision = stage.step()
    assert (decision.actor, decision.intervention, decision.verdict) == (StepActor.HOLD, 0, None)
    np.testing.assert_array_equal(decision.action, np.zeros(7))
    assert stage.session.counts["holds"] == 1


def test_a_person_who_is_back_before_long_goes_on_from_rest():
    stage = driven()
    fast = 3 * stage.push
    stage.steps(1)
    stage.command(True, action=fast)
    stage.wait(COMMAND_SECONDS + MOMENT)
    stage.steps(1)
    stage.command(True, action=fast)
    decision = stage.step()
    assert (decision.actor, decision.intervention) == (StepActor.PERSON, 1)
    assert decision.action[0] == stage.session.limits.slew < fast[0]


def test_a_lost_intervention_ends_the_episode_and_pauses():
    stage = driven()
    came = stage.now
    stage.steps(1)
    while stage.now - came <= LOST_SECONDS:
        stage.steps(1)
    steps = stage.session.episodes.steps
    decision = stage.step()
    assert (decision.actor, decision.action) == (StepActor.NOBODY, None)
    assert decision.verdict == Verdict(Ending.LOST, steps)
    assert stage.session.is_paused and stage.session.counts["losses"] == 1
    stage.begin()
    stage.command(False)
    stage.command(True)
    assert stage.step().actor is StepActor.NOBODY
    stage.press(Press.RESUME)
    assert stage.step().actor is StepActor.POLICY


def test_a_loss_at_once_is_counted_once():
    stage = driven()
    stage.wait(10 * LOST_SECONDS)
    assert stage.step().verdict == Verdict(Ending.LOST, 0)
    assert [stage.step().verdict for _ in range(3)] == [None] * 3
    assert stage.session.counts["losses"] == 1


def test_a_connection_that_is_closed_while_intervening_holds_at_once_and_is_lost_after_a_while():
    stage = driven()
    stage.session.left(ANNA, stage.now)
    assert stage.step().actor is StepActor.HOLD
    stage.wait(LOST_SECONDS)
    assert stage.step().verdict == Verdict(Ending.LOST, 1)


def test_a_connection_that_is_closed_while_watching_changes_nothing():
    stage = begun()
    stage.press(Press.REQUEST)
    stage.session.left(ANNA, stage.now)
    assert stage.step().actor is StepActor.POLICY


@pytest.mark.parametrize("is_closed", [True, False], ids=["closed", "silent"])
def test_an_attended_robot_waits_while_nobody_is_there(is_closed):
    stage = begun(attended=True)
    stage.session.alive(EVE, stage.now)
    assert stage.step().actor is StepActor.NOBODY
    stage.session.alive(ANNA, stage.now)
    assert stage.step().actor is StepActor.POLICY
    if is_closed:
        stage.session.left(ANNA, stage.now)
    else:
        stage.wait(3.0)
    decision = stage.step()
    assert (decision.actor, decision.verdict) == (StepActor.NOBODY, None)
    stage.session.alive(BEN, stage.now)
    assert stage.step().actor is StepActor.POLICY


def test_whoever_connects_again_has_nothing_of_before():
    stage = driven()
    before = stage.epoch
    stage.session.left(ANNA, stage.now)
    stage.command(True, epoch=before)
    assert stage.step().actor is StepActor.HOLD
    stage.press(Press.REQUEST)
    assert stage.epoch > before
    stage.command(True)
    assert stage.step().actor is StepActor.HOLD
    stage.command(False)
    stage.command(True)
    decision = stage.step()
    assert (decision.actor, decision.intervention) == (StepActor.PERSON, 2)


def test_an_episode_that_ends_under_the_hand_closes_the_edge():
    stage = driven()
    stage.ends()
    stage.begin()
    stage.command(True)
    assert stage.step().actor is StepActor.POLICY
    stage.command(False)
    stage.command(True)
    decision = stage.step()
    assert (decision.actor, decision.intervention) == (StepActor.PERSON, 1)


def test_between_two_episodes_nobody_takes_over():
    stage = begun()
    stage.press(Press.REQUEST)
    stage.ends()
    stage.command(False)
    stage.command(True)
    assert stage.session.counts["takeovers"] == 0
    stage.begin()
    stage.command(True)
    assert stage.step().actor is StepActor.POLICY


def test_the_age_of_the_loop_is_that_of_the_frame_acted_on():
    stage = driven()
    stage.steps(1)
    stage.command(True)
    stage.wait(STEP)
    stage.steps(1)
    assert list(stage.session.loop_ages) == [0.0, STEP]


def test_the_time_in_which_a_robot_has_waited_for_a_person_is_no_delay():
    stage = begun()
    stage.session.has_policy = False
    stage.wait(64.0)
    stage.take_over()
    stage.wait(STEP)
    stage.command(True)
    stage.steps(1)
    assert list(stage.session.loop_ages) == [STEP]


def test_counts_are_taken_once():
    stage = driven()
    stage.steps(1)
    assert stage.session.take_counts() == ({"takeovers": 1}, [0.0])
    stage.command(False)
    assert stage.session.take_counts() == ({"hand-backs": 1}, [])
    assert stage.session.counts == {"takeovers": 1, "hand-backs": 1}


def test_without_a_policy_only_a_person_makes_steps():
    stage = begun()
    stage.session.has_policy = False
    assert stage.step().actor is StepActor.NOBODY
    stage.take_over()
    assert stage.step().actor is StepActor.PERSON
    stage.command(False)
    assert stage.step().actor is StepActor.NOBODY
