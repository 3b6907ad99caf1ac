"""Episodes that are held back for operators: each step is handed over once, in its order, and the newest last."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from operated_robots import PUSHED, STEP, Robot
from stage import ANNA

from serl_ray.data.episodes import EpisodeRecorder
from serl_ray.data.schema import SCALAR_FIELDS, Segment
from serl_ray.rllib.metrics import EpisodeLog
from serl_ray.teleop import held
from serl_ray.teleop.episodes import KEPT_SECONDS
from serl_ray.teleop.events import Command, Press, Pressed
from serl_ray.teleop.held import HeldEpisodes

MOST = 10
"""Steps from which an episode is handed over in pieces, in these tests."""
KEPT = round(KEPT_SECONDS / STEP)


@pytest.fixture(autouse=True)
def most_held(monkeypatch):
    monkeypatch.setattr(held, "MOST_HELD_STEPS", MOST)


class Recorded:
    """A robot whose steps are recorded twice: as a worker does, and as a whole."""

    def __init__(self) -> None:
        self.robot, self.rng = Robot(), np.random.default_rng(1)
        self.held = HeldEpisodes(self.robot.env)
        observation, _ = self.robot.env.reset(seed=1)
        self.episode, self.whole = EpisodeRecorder("episode", observation), EpisodeRecorder("episode", observation)
        self.segments: list[Segment] = []

    def step(self) -> None:
        action = self.rng.uniform(-0.1, 0.1, 7).astype(np.float32)
        result = self.robot.env.step(action)
        for recorder in (self.episode, self.whole):
            recorder.add(action, result)

    def hand_over(self) -> None:
        if (segment := self.held.cut(self.episode)) is not None:
            self.segments.append(segment)

    def label(self, press: Press, frames_ago: int) -> None:
        frame, epoch = self.robot.view.frame - frames_ago, self.robot.session.lease.epoch
        self.robot.env.pressed(Pressed(ANNA, epoch, press, frame))

    def ended(self) -> Segment:
        """The whole episode, which ends now, as it was handed over."""
        *_, is_over, _ = self.robot.env.step(self.rng.uniform(-0.1, 0.1, 7).astype(np.float32))
        assert is_over
        self.held.end(self.episode)
        self.segments += self.held.all()
        assert all(later.continues(earlier) for earlier, later in pairwise(self.segments))
        return Segment.join(self.segments)


def assert_same(found: Segment, expected: Segment) -> None:
    for name in ("actions", *SCALAR_FIELDS):
        assert getattr(found, name).tobytes() == getattr(expected, name).tobytes(), name
    for key, rows in expected.observations.items():
        assert found.observations[key].tobytes() == rows.tobytes(), key
    for name, rows in vars(expected.actors).items():
        np.testing.assert_array_equal(getattr(found.actors, name), rows)


def watched() -> Recorded:
    recorded = Recorded()
    recorded.robot.env.pressed(Pressed(ANNA, 0, Press.REQUEST, 0))
    return recorded


EVENTS = st.sampled_from(["step", "step", "step", "step", "wait", "hand over", "hand over", "alive", "leave"])


@settings(max_examples=60, deadline=None)
@given(events=st.lists(EVENTS, min_size=1, max_size=120))
def test_every_step_is_handed_over_once_in_its_order_bit_for_bit(events):
    recorded = watched()
    for event in events:
        match event:
            case "step":
                recorded.step()
            case "wait":
                recorded.robot.clock.now += 0.5
            case "hand over":
                recorded.hand_over()
            case "alive":
                recorded.robot.session.alive(ANNA, recorded.robot.clock())
            case "leave":
                recorded.robot.session.left(ANNA, recorded.robot.clock())
    recorded.segments += [recorded.episode.cut()] if len(recorded.episode) else []
    if recorded.segments:
        assert all(later.continues(earlier) for earlier, later in pairwise(recorded.segments))
        assert_same(Segment.join(recorded.segments), recorded.whole.cut())


def alive_steps(recorded: Recorded, number: int) -> None:
    for _ in range(number):
        recorded.robot.session.alive(ANNA, recorded.robot.clock())
        recorded.step()
        recorded.hand_over()


def test_a_long_episode_is_handed_over_but_for_what_can_still_be_labelled():
    recorded = watched()
    alive_steps(recorded, MOST - 1)
    assert recorded.segments == []
    alive_steps(recorded, 90)
    assert sum(map(len, recorded.segments)) == MOST + 89 - len(recorded.episode) and len(recorded.segments) > 1
    assert len(recorded.episode) == KEPT, "the frames of the last seconds"


@pytest.mark.parametrize("frames_ago", [0, 1, KEPT - 1])
def test_a_label_on_a_frame_of_the_last_seconds_counts_in_a_long_episode(frames_ago):
    recorded = watched()
    alive_steps(recorded, 60)
    recorded.label(Press.SUCCESS, frames_ago)
    recorded.robot.clock.now += 1.0
    recorded.hand_over()
    whole, found = recorded.whole.cut(), recorded.ended()
    assert len(found) == 60 - frames_ago
    assert (found.rewards[-1], found.masks[-1], found.dones[-1], found.success) == (1.0, 0.0, True, True)
    np.testing.assert_array_equal(found.actions, whole.actions[: len(found)])


def test_a_label_on_an_older_frame_is_refused_and_the_episode_goes_on():
    recorded = watched()
    alive_steps(recorded, 60)
    recorded.label(Press.SUCCESS, KEPT)
    assert "stored already" in recorded.robot.session.refusals[-1]
    alive_steps(recorded, 1)


def test_what_is_handed_over_while_nobody_is_there_is_all():
    recorded = watched()
    alive_steps(recorded, 5)
    recorded.robot.session.left(ANNA, recorded.robot.clock())
    recorded.hand_over()
    assert [len(segment) for segment in recorded.segments] == [5] and not len(recorded.episode)


def test_the_success_of_a_piece_is_that_of_its_last_step():
    recorder = EpisodeRecorder("a", {"state": np.zeros(1, np.float32)})
    for success in (None, True, False):
        info = {} if success is None else {"success": success}
        recorder.add(np.zeros(2, np.float32), ({"state": np.ones(1, np.float32)}, 0.0, False, False, info))
    assert recorder.cut(2).success is True
    assert recorder.cut().success is False


def test_the_rest_at_the_end_of_an_intervention_is_stored_and_is_no_demonstration():
    recorded = Recorded()
    robot = recorded.robot

    def command(clutch, tail=False):
        motion = np.zeros(7, np.float32) if tail else PUSHED
        epoch, frame = robot.session.lease.epoch, robot.view.frame
        robot.say(robot.session.command, Command(ANNA, epoch, frame, clutch, motion, "spacemouse", tail))

    robot.env.pressed(Pressed(ANNA, 0, Press.REQUEST, robot.view.frame))
    command(False)
    for tail in (False, True, False, True, True):
        command(True, tail)
        recorded.step()
    command(False)
    recorded.step()
    segment = recorded.episode.cut()
    assert segment.intervened.tolist() == [True, True, True, False, False, False]
    assert segment.actors.interventions.tolist() == [1, 1, 1, 1, 1, 0]
    assert segment.actors.sources.tolist() == ["spacemouse"] * 5 + ["policy"]
    np.testing.assert_array_equal(segment.actions, robot.witness.executed)
    [demonstration] = segment.runs(segment.intervened)
    assert len(demonstration) == 3

    log = EpisodeLog()
    log.add(replace(segment, dones=[*[False] * 5, True]))
    assert log.metrics()["env/intervention_rate"] == 5 / 6, "all that a person did, also at rest"
