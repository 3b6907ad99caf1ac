"""Demonstrations that a person drives from a page: what is kept, what is dropped, and when that is decided."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event

import numpy as np
import pytest
from scripted_persons import PersonsRobot

from serl_ray.envs.recording import CUT_OFF, Recorder
from serl_ray.teleop.episodes import SessionEpisodes
from serl_ray.teleop.events import Press

HORIZON = 8


@pytest.fixture(autouse=True)
def no_last_look(monkeypatch):
    monkeypatch.setattr("serl_ray.envs.recording.LAST_FRAME_SECONDS", 0.0)


class Recording:
    """A recording, and its person, who does the next thing of a list whenever the robot begins to wait."""

    def __init__(self, *waits: Callable[[PersonsRobot], None], wanted: int = 1) -> None:
        self.robot = PersonsRobot(SessionEpisodes(held_seconds=None), HORIZON)
        self.interrupted = Event()
        self.recorder = Recorder(self.robot, lambda: np.zeros(7, np.float32), True, interrupted=self.interrupted)
        self._waits = iter(waits)
        self.robot.when_waiting = lambda: next(self._waits)(self.robot)
        self.episodes = self.recorder.successes(wanted, seed=0)

    @property
    def steps(self) -> int:
        return len(self.robot.witness.executed)


def drive(succeeds: bool = True, **after_step: Press) -> Callable[[PersonsRobot], None]:
    """Drives an episode that the env calls a success or not, with presses after the steps `at_1`, `at_2` ..."""

    def act(robot: PersonsRobot) -> None:
        robot.witness.succeeds = succeeds
        robot.after_step = {int(name[3:]): lambda press=press: robot.press(press) for name, press in after_step.items()}
        robot.drive()

    return act


def say(*presses: Press, then: Callable[[PersonsRobot], None] = lambda robot: None) -> Callable[[PersonsRobot], None]:
    """Lets go of the clutch, presses keys, and does something else then."""

    def act(robot: PersonsRobot) -> None:
        robot.command(False)
        for press in presses:
            robot.press(press)
        then(robot)

    return act


def test_an_episode_is_kept_when_the_next_one_is_driven_and_before_its_first_step():
    recording = Recording(drive(), drive(), say(Press.KEEP), wanted=2)
    [first, second] = [next(recording.episodes), next(recording.episodes)]
    assert recording.steps == 2 * HORIZON, "the first was handed over before the second had a step"
    executed = np.array(recording.robot.witness.executed)
    np.testing.assert_array_equal(np.concatenate([first.actions, second.actions]), executed)
    assert first.success and first.dones[-1] and not recording.recorder.dropped
    assert list(recording.episodes) == []


def test_the_last_episode_waits_as_well_and_needs_no_further_step():
    recording = Recording(drive(), say(Press.DISCARD, then=drive()), say(Press.KEEP))
    [segment] = recording.episodes
    assert recording.steps == 2 * HORIZON and segment.success
    assert recording.recorder.dropped == {"discarded": 1}


DROPPED = {
    "discarded while it is driven": (drive(at_3=Press.DISCARD), say(), "discarded"),
    "discarded afterwards": (drive(), say(Press.DISCARD), "discarded"),
    "called a failure": (drive(at_3=Press.FAILURE), say(), "called a failure"),
    "called a failure afterwards": (drive(), say(Press.FAILURE), "called a failure"),
    "reset": (drive(at_3=Press.RESET), say(), "ended by a reset"),
    "time limit": (drive(succeeds=False), say(), "failed"),
}


@pytest.mark.parametrize("name", DROPPED)
def test_what_is_not_kept_is_counted_by_name(name):
    driven, afterwards, reason = DROPPED[name]

    def goes_on(robot: PersonsRobot) -> None:
        afterwards(robot)
        drive()(robot)

    recording = Recording(driven, goes_on, say(Press.KEEP))
    [segment] = recording.episodes
    assert recording.recorder.dropped == {reason: 1} == recording.robot.recording["dropped"]
    assert len(segment) == HORIZON, "the next one is whole"


def test_the_last_word_counts_as_long_as_nothing_is_driven():
    words = [Press.DISCARD, Press.FAILURE, Press.SUCCESS]
    recording = Recording(drive(succeeds=False), say(*words, then=drive()))
    segment = next(recording.episodes)
    assert segment.success and segment.rewards[-1] == 1.0 and len(segment) == HORIZON
    assert recording.steps == HORIZON and not recording.recorder.dropped


def test_a_success_cuts_the_episode_at_the_displayed_frame():
    recording = Recording(drive(succeeds=False, at_5=Press.SUCCESS), say(Press.KEEP))
    [segment] = recording.episodes
    assert len(segment) == 5 and segment.masks[-1] == 0.0


@pytest.mark.parametrize("presses", [[Press.RESET], [Press.STOP, Press.REARM]], ids=["reset", "stop"])
def test_what_resets_the_robot_again_decides_nothing(presses):
    recording = Recording(drive(), say(*presses), say(Press.DISCARD, then=drive()), say(Press.KEEP))
    [_] = recording.episodes
    assert recording.recorder.dropped == {"discarded": 1}
    assert recording.robot.witness.calls.count("reset") == 4


def test_an_interrupt_keeps_what_waits_and_drops_what_runs():
    recording = Recording(drive(), lambda robot: recording.interrupted.set(), wanted=3)
    assert [segment.success for segment in recording.episodes] == [True]
    running = Recording(drive(), wanted=3)
    running.robot.after_step = {}
    running.robot.when_waiting = lambda: drive_until(running, 3)
    assert list(running.episodes) == [] and running.steps == 3
    assert running.recorder.dropped == {CUT_OFF: 1}


def drive_until(recording: Recording, step: int) -> None:
    """Drives, and interrupts after a step."""
    drive()(recording.robot)
    recording.robot.after_step = {step: recording.interrupted.set}


def test_the_page_is_told_of_the_episode_that_waits():
    told = []

    def looks(robot: PersonsRobot) -> None:
        told.append((robot.state()["held_episode"], robot.state()["held_verdict"], robot.recording["ended"]))
        robot.press(Press.KEEP)

    recording = Recording(drive(), looks)
    [_] = recording.episodes
    assert told == [(1, None, {"episode": 1, "steps": HORIZON, "success": True})]
    assert recording.robot.state()["held_episode"] is None
