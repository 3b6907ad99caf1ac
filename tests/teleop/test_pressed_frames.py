"""What operators say in a run with a reward classifier, and which images await review because of it."""

from __future__ import annotations

import pytest
from line_envs import LineEnv
from operated_robots import LAYOUT, POLICY, STEP, Clock
from stage import ANNA

from serl_ray.data.episodes import EpisodeRecorder
from serl_ray.data.positives import read_positives
from serl_ray.envs.guard import Guard
from serl_ray.envs.learned_reward import LearnedReward
from serl_ray.networks.classifier import RewardClassifier
from serl_ray.teleop.events import Press, Pressed
from serl_ray.teleop.held import HeldEpisodes
from serl_ray.teleop.session import Session
from serl_ray.teleop.wrapper import VERDICT, OperatedEnv

BELIEVED = 4
"""Step that the classifier calls a success."""


class JudgedRobot:
    """A robot whose reward is a classifier's, which takes an image for a success by the number of its step."""

    def __init__(self, folder, monkeypatch):
        RewardClassifier(["front"], device="cpu").save(folder)
        probability = lambda self, observation: (int(observation["front"].max()) / 10, False)  # noqa: E731
        believed = lambda self, seen: (probability(self, seen)[0], seen["front"].max() == BELIEVED)  # noqa: E731
        monkeypatch.setattr(RewardClassifier, "predict_success", believed)
        self.positives = folder / "positives"
        rewarded = LearnedReward(LineEnv(cameras=("front",)), str(folder), positives_dir=str(self.positives))
        self.clock, self.session = Clock(), Session(LAYOUT)
        self.env = OperatedEnv(Guard(rewarded, None, None), self.session, self.clock)
        self.held, self.segments = HeldEpisodes(self.env), []
        self.env.pressed(Pressed(ANNA, 0, Press.REQUEST, 0))

    def begin(self):
        observation, _ = self.env.reset(seed=1)
        self.episode = EpisodeRecorder("episode", observation)

    def play(self, steps, press=None, frames_ago=0):
        """Makes steps, presses a key, and ends the episode where either of them does."""
        self.begin()
        done = False
        for _ in range(steps):
            self.clock.now += STEP
            self.session.alive(ANNA, self.clock())
            result = self.env.step(POLICY)
            done = self.episode.add(POLICY, result)
        if press:
            frame = self.env.view.frame - frames_ago
            self.env.pressed(Pressed(ANNA, self.session.lease.epoch, press, frame))
        assert done or VERDICT in self.env.step(POLICY)[-1]
        self.held.end(self.episode)

    def settle(self):
        self.clock.now += 10.0
        [segment] = self.held.settled()
        return segment


@pytest.fixture
def robot(tmp_path, monkeypatch):
    return JudgedRobot(tmp_path, monkeypatch)


def waiting(robot):
    return [(int(p.step), p.probability, p.pressed) for p in read_positives(robot.positives)]


def test_a_success_that_nobody_contests_waits_for_review(robot):
    robot.play(BELIEVED)
    assert robot.settle().rewards[-1] == 1.0
    assert waiting(robot) == [(BELIEVED, 0.4, None)]


def test_a_veto_takes_the_reward_and_marks_the_image(robot):
    robot.play(BELIEVED, Press.VETO)
    robot.begin()
    assert waiting(robot) == [(BELIEVED, 0.4, None)], "it may still be changed"
    segment = robot.settle()
    assert (segment.rewards[-1], segment.masks[-1], segment.truncateds[-1]) == (0.0, 1.0, True)
    assert waiting(robot) == [(BELIEVED, 0.4, "veto")]


@pytest.mark.parametrize(("press", "word"), [(Press.SUCCESS, "success"), (Press.FAILURE, "failure")])
def test_a_press_keeps_the_frame_that_was_displayed(robot, press, word):
    robot.play(3, press, frames_ago=1)
    assert len(robot.settle()) == 2
    assert waiting(robot) == [(2, 0.2, word)]


@pytest.mark.parametrize("press", [Press.DISCARD, Press.RESET, Press.STOP])
def test_what_says_nothing_of_success_keeps_nothing(robot, press):
    robot.play(3, press)
    robot.clock.now += 10.0
    robot.held.settled()
    assert waiting(robot) == []


def test_a_label_is_kept_though_the_episode_after_the_next_has_begun(robot):
    robot.play(BELIEVED, Press.VETO)
    robot.play(BELIEVED)
    robot.begin()
    assert len(robot.held.settled()) == 1
    assert waiting(robot) == [(BELIEVED, 0.4, "veto"), (BELIEVED, 0.4, None)]
