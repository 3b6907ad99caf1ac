"""What operators say of episodes: which transition they mean, and how long they have."""

from __future__ import annotations

import json

import pytest
from stage import ANNA, BEN, MOMENT, Stage, begun

from serl_ray.teleop.episodes import FRAMES, HELD_SECONDS
from serl_ray.teleop.events import COUNT_OF, Ending, Press, StepActor, Verdict

LABELS = [
    (Press.SUCCESS, Ending.SUCCESS),
    (Press.FAILURE, Ending.FAILURE),
    (Press.VETO, Ending.VETO),
    (Press.DISCARD, Ending.DISCARD),
]


def controlled() -> Stage:
    """A session in its first episode, in Anna's control."""
    stage = begun()
    stage.press(Press.REQUEST)
    return stage


@pytest.mark.parametrize(("press", "ending"), LABELS)
def test_a_label_belongs_to_the_displayed_frame(press, ending):
    stage = controlled()
    stage.steps(3)
    seen = stage.frame
    stage.steps(2)
    stage.press(press, frame=seen)
    decision = stage.step()
    assert (decision.actor, decision.verdict) == (StepActor.NOBODY, Verdict(ending, 3))
    assert stage.session.episodes.verdict(1) == Verdict(ending, 3)
    assert stage.session.counts[COUNT_OF[ending]] == 1


def test_a_label_that_is_pressed_during_the_last_step_counts():
    stage = controlled()
    stage.steps(2)
    decision = stage.decide()
    assert decision.actor is StepActor.POLICY
    stage.press(Press.FAILURE)
    stage.session.executed(True, stage.now)
    assert stage.session.episodes.verdict(1) == Verdict(Ending.FAILURE, 2)


def test_a_reset_that_is_pressed_during_the_last_step_is_without_effect():
    stage = controlled()
    stage.decide()
    stage.press(Press.RESET)
    stage.session.executed(True, stage.now)
    stage.begin()
    assert stage.session.episodes.verdict(1) is None
    assert stage.step().actor is StepActor.POLICY


@pytest.mark.parametrize("press", [Press.RESET, Press.STOP])
def test_a_label_comes_before_a_reset_and_a_stop(press):
    stage = controlled()
    stage.steps(1)
    stage.press(Press.SUCCESS)
    stage.press(press)
    assert stage.step().verdict == Verdict(Ending.SUCCESS, 1)


@pytest.mark.parametrize(("press", "ending"), LABELS)
@pytest.mark.parametrize("is_next", [False, True], ids=["held", "next has begun"])
def test_an_episode_that_the_env_has_ended_can_be_labelled_for_a_while(press, ending, is_next):
    stage = controlled()
    stage.steps(3, done=True)
    seen = stage.frame
    if is_next:
        stage.begin()
        stage.steps(1)
        stage.wait(HELD_SECONDS - (stage.now - _ended_at(stage)))
    else:
        stage.wait(HELD_SECONDS)
    assert not stage.session.episodes.is_settled(1, stage.now)
    stage.press(press, frame=seen - 1)
    assert stage.session.episodes.verdict(1) == Verdict(ending, 2)
    stage.wait(MOMENT)
    assert stage.session.episodes.is_settled(1, stage.now)


def _ended_at(stage: Stage) -> float:
    return stage.now - (HELD_SECONDS - stage.session.state(stage.now)["held_seconds"])


@pytest.mark.parametrize("has_ended", [False, True])
def test_what_is_stored_already_cannot_be_labelled(has_ended):
    stage = controlled()
    stage.steps(3)
    seen = stage.frame
    stage.session.episodes.hand_over(stage.now)
    stage.steps(2, done=has_ended)
    stage.press(Press.SUCCESS, frame=seen)
    assert stage.session.episodes.verdict(1) is None and "stored already" in stage.session.refusals[-1]
    stage.press(Press.SUCCESS)
    if not has_ended:
        assert stage.step().verdict == Verdict(Ending.SUCCESS, 5)
    assert stage.session.episodes.verdict(1) == Verdict(Ending.SUCCESS, 5)


def test_afterwards_a_label_is_refused():
    stage = controlled()
    stage.steps(3, done=True)
    stage.wait(HELD_SECONDS + MOMENT)
    stage.press(Press.SUCCESS)
    assert stage.session.episodes.verdict(1) is None
    assert "more than 2 s ago" in stage.session.refusals[-1]
    assert stage.session.counts["successes"] == 0


def test_the_last_label_counts():
    stage = controlled()
    stage.steps(3)
    stage.press(Press.SUCCESS)
    stage.step()
    stage.press(Press.VETO)
    assert stage.session.episodes.verdict(1) == Verdict(Ending.VETO, 3)
    stage.press(Press.DISCARD)
    assert stage.session.episodes.verdict(1).ending is Ending.DISCARD


@pytest.mark.parametrize("press", [Press.RESET, Press.STOP])
def test_an_episode_that_an_operator_has_ended_can_be_labelled_too(press):
    stage = controlled()
    stage.steps(3)
    stage.press(press)
    stage.step()
    stage.press(Press.SUCCESS)
    assert stage.session.episodes.verdict(1) == Verdict(Ending.SUCCESS, 3)


def test_before_the_first_transition_of_an_episode_the_one_before_it_is_meant():
    stage = controlled()
    stage.steps(3, done=True)
    stage.begin()
    stage.press(Press.SUCCESS)
    assert stage.session.episodes.verdict(1) == Verdict(Ending.SUCCESS, 3)
    assert stage.step().actor is StepActor.POLICY


def test_before_the_first_transition_of_all_there_is_nothing_to_label():
    stage = controlled()
    stage.press(Press.SUCCESS)
    assert stage.step().actor is StepActor.POLICY
    assert stage.session.counts["refused"] == 1


def test_the_first_frame_of_an_episode_that_has_ended_shows_none_of_its_transitions():
    stage = controlled()
    first = stage.frame
    stage.steps(3, done=True)
    stage.press(Press.SUCCESS, frame=first)
    assert stage.session.episodes.verdict(1) is None
    assert "shows no transition" in stage.session.refusals[-1]


def test_an_episode_that_was_given_up_does_not_pass_a_label_on_to_the_one_before_it():
    stage = controlled()
    stage.steps(2, done=True)
    stage.begin()
    stage.steps(1)
    stage.begin()
    stage.press(Press.SUCCESS)
    assert stage.session.episodes.verdict(1) is None
    assert stage.session.counts["refused"] == 1


def test_only_the_episode_that_ended_last_is_held_back():
    stage = controlled()
    stage.ends()
    seen = stage.frame
    stage.begin()
    stage.ends()
    assert stage.session.episodes.is_settled(1, stage.now)
    assert not stage.session.episodes.is_settled(2, stage.now)
    stage.press(Press.SUCCESS, frame=seen)
    assert stage.session.episodes.verdict(1) is None


def test_an_episode_without_transitions_is_settled_at_once():
    stage = controlled()
    stage.press(Press.RESET)
    assert stage.step().verdict == Verdict(Ending.RESET, 0)
    assert stage.session.episodes.is_settled(1, stage.now)


def test_a_running_episode_is_not_settled():
    stage = begun()
    stage.wait(60.0)
    assert not stage.session.episodes.is_settled(1, stage.now)


@pytest.mark.parametrize(("age", "is_known"), [(FRAMES - 1, True), (FRAMES, False)])
def test_frames_are_known_for_a_while(age, is_known):
    stage = controlled()
    stage.steps(1)
    seen = stage.frame
    for _ in range(age):
        stage.show()
    stage.press(Press.SUCCESS, frame=seen)
    assert (stage.step().verdict == Verdict(Ending.SUCCESS, 1)) is is_known
    assert stage.session.counts["refused"] == (not is_known)


@pytest.mark.parametrize(("press", "ending"), LABELS)
def test_a_label_needs_control(press, ending):
    stage = controlled()
    stage.steps(1)
    stage.press(press, BEN)
    stage.press(press, ANNA, epoch=0)
    assert stage.step().actor is StepActor.POLICY
    assert stage.session.counts["refused"] == 2


def test_whoever_watches_sees_how_long_an_episode_is_held_back():
    stage = controlled()
    stage.ends()
    stage.press(Press.VETO)
    stage.wait(0.5)
    state = json.loads(json.dumps(stage.session.state(stage.now), allow_nan=False))
    assert (state["episode"], state["step"], state["is_running"]) == (1, 1, False)
    assert (state["held_seconds"], state["held_verdict"]) == (HELD_SECONDS - 0.5, "veto")
    stage.wait(HELD_SECONDS)
    state = stage.session.state(stage.now)
    assert (state["held_seconds"], state["held_verdict"]) == (0.0, None)
