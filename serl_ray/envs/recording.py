"""Recording of demonstrations of an operator or a scripted expert."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from threading import Event
from typing import Any

import gymnasium
import numpy as np

from serl_ray.data.episodes import EnvFault, EpisodeRecorder
from serl_ray.data.rewards import SUCCESS_RETURN, succeeded, unusual_reward
from serl_ray.data.schema import Segment
from serl_ray.teleop.events import Ending
from serl_ray.teleop.held import operated
from serl_ray.teleop.judged import judged
from serl_ray.teleop.wrapper import VERDICT, Interrupted, OperatedEnv
from serl_ray.utils.errors import SetupError

logger = logging.getLogger(__name__)

MAX_FAILURES = 20
"""Number of consecutive episodes without success that ends recording."""
MAX_FAULTS = 5
"""Number of consecutive episodes with an env fault that ends recording."""
MOST_TRIES = MAX_FAILURES * MAX_FAULTS
"""Upper bound of the episodes that are played for one that is recorded."""

FAILED, SPOILED, CUT_OFF = "failed", "spoiled by the env", "cut off by the end of the recording"
DROPPED = {
    Ending.FAILURE: "called a failure",
    Ending.VETO: "vetoed",
    Ending.DISCARD: "discarded",
    Ending.RESET: "ended by a reset",
    Ending.STOP: "ended by a stop",
    Ending.LOST: "lost for want of commands",
}
"""Reasons for which an episode is dropped by a word of its operator."""

LAST_FRAME_SECONDS = 0.5
"""Seconds for which an operator sees the last frame of an episode before the robot is reset."""

Drive = Callable[[], np.ndarray]
"""Function that returns the next action (A + G,); zero on a robot that the operator drives, whose action the env
reports."""


@dataclass
class Recorder:
    """Recorder of successful episodes; an episode with an env fault is dropped, and one that its operator rejects.

    Attributes:
        env: env inside a `Guard`, which turns its faults into `EnvFault`.
        drive: source of the actions.
        by_operator: whether an operator drives through the env; an episode without `info["intervene_action"]` is then
            dropped.
        success_return: sum of rewards from which an episode is a success; None if `info["success"]` decides.
        interrupted: event that ends the recording after the current step, and drops its episode.
        dropped: number of dropped episodes by reason.
        says_rule: whether a reward other than 0 and 1 will be named, with the rule of success; not where stages are
            rewarded.
    """

    env: gymnasium.Env
    drive: Drive
    by_operator: bool = False
    success_return: float | None = SUCCESS_RETURN
    interrupted: Event = field(default_factory=Event)
    dropped: Counter[str] = field(default_factory=Counter)
    says_rule: bool = True
    _faults_in_a_row: int = 0
    _failures_in_a_row: int = 0
    _has_person: bool = False
    _undecided: tuple[int, Segment] | None = None

    def __post_init__(self) -> None:
        self._operated = operated(self.env)

    def successes(self, episodes: int, seed: int, first: int = 0) -> Iterator[Segment]:
        """Plays episodes until enough have succeeded or it is interrupted, and yields the successful ones.

        An operator who drives from a page decides about an episode until the next one is driven.

        Args:
            episodes: number of successful episodes.
            seed: seed of the first reset; each later reset adds 1.
            first: number of the first episode.

        Raises:
            SetupError: too many consecutive episodes failed, or had an env fault.
            ValueError: a whole episode passed without an action of the operator who should drive, or without a
                report of success where this decides.
        """
        if self._operated:
            self._operated.interrupted = self.interrupted
        recorded, number = 0, first
        while recorded < episodes and not self.interrupted.is_set():
            for segment in self._play(f"demo-{seed}-{number:05d}", seed + number):
                recorded += 1
                yield segment
                if recorded == episodes:
                    return
            number += 1
        yield from self._decided()

    def _play(self, name: str, seed: int) -> Iterator[Segment]:
        """Plays an episode, and yields those that are kept, as soon as that is decided."""
        try:
            yield from self._episode(name, seed)
        except Interrupted:
            return
        except EnvFault as fault:
            self._drop(SPOILED)
            self._faults_in_a_row += 1
            logger.warning("An episode is dropped. %s", fault)
            if self._faults_in_a_row == MAX_FAULTS:
                message = f"The env has spoiled {MAX_FAULTS} consecutive episodes, the last one by this fault: {fault}"
                raise SetupError(message) from fault

    def _episode(self, name: str, seed: int) -> Iterator[Segment]:
        observation, _ = self.env.reset(seed=seed)
        if self._operated is None or self._is_decided(self._operated):
            yield from self._decided()
        episode = EpisodeRecorder(name, observation, has_policy=False)
        try:
            while not self._is_last_step(episode):
                pass
        except Interrupted:
            if len(episode):
                self._drop(CUT_OFF)
            raise
        self._faults_in_a_row = 0
        if len(episode):
            self._ended(episode.cut())
        if not self._operated:
            yield from self._decided()

    def _is_last_step(self, episode: EpisodeRecorder) -> bool:
        """Makes a step of an episode, and returns whether this was its last one."""
        if self.interrupted.is_set():
            raise Interrupted("The recording ends.")
        action = self.drive()
        observation, reward, terminated, truncated, info = self.env.step(action)
        if not self.by_operator:
            info = {"intervene_action": action, **info}
        return VERDICT in info or episode.add(action, (observation, reward, terminated, truncated, info))

    def _is_decided(self, env: OperatedEnv) -> bool:
        """Waits until nothing more can be said of the episode that ended last; False where the new one ends first."""
        if self._undecided is None:
            return True
        episodes, (number, _) = env.session.episodes, self._undecided
        env.wait_until(lambda: episodes.is_settled(number, env.clock()) or episodes.is_ending)
        return episodes.is_settled(number, env.clock())

    def _ended(self, segment: Segment) -> None:
        """An episode has ended, and its operator may still say something of it."""
        number = self._operated.episode if self._operated else 0
        self._undecided = number, segment
        success = succeeded(float(segment.rewards.sum()), segment.success, self.success_return)
        self._tell(ended={"episode": number, "steps": len(segment), "success": success})
        if self._operated:
            self.interrupted.wait(LAST_FRAME_SECONDS)

    def _decided(self) -> Iterator[Segment]:
        """The episode that has ended last, if it is kept; nothing more can be said of it from now on."""
        if self._undecided is None:
            return
        (number, segment), self._undecided = self._undecided, None
        verdict = self._operated.settle(number) if self._operated else None
        kept = None if verdict and verdict.ending in DROPPED else judged(segment, verdict)
        if kept is None:
            self._drop(DROPPED[verdict.ending] if verdict else FAILED)
        elif self._has_nobody(kept):
            self._drop("driven by nobody")
        elif self._is_success(kept):
            self._failures_in_a_row = 0
            yield kept
        else:
            self._drop(FAILED)
            self._count_failure()

    def _drop(self, reason: str) -> None:
        self.dropped[reason] += 1
        self._tell(dropped=dict(self.dropped))

    def _tell(self, **recording: Any) -> None:
        if self._operated:
            self._operated.tell(**recording)

    def _count_failure(self) -> None:
        self._failures_in_a_row += 1
        if self._failures_in_a_row == MAX_FAILURES:
            fix = "Check how success is judged" if self.by_operator else "Lower the expert's noise, or check the env"
            raise SetupError(f"{MAX_FAILURES} consecutive episodes have failed. {fix}.")

    def _is_success(self, segment: Segment) -> bool:
        if self.says_rule and (unusual := unusual_reward(segment.rewards, self.success_return)):
            logger.warning(unusual)
            self.says_rule = False
        success = succeeded(float(segment.rewards.sum()), segment.success, self.success_return)
        if success is None:
            raise ValueError(
                "The env does not report info['success'], which decides whether an episode is kept: report it in the "
                "last step, or name the sum of rewards that is a success, --success_return."
            )
        return success

    def _has_nobody(self, segment: Segment) -> bool:
        """True if nobody has driven an episode; ValueError if nobody ever has."""
        if self.by_operator and not segment.intervened.any():
            if not self._has_person:
                raise ValueError(
                    "A whole episode has passed without info['intervene_action']: the env must report the operator's "
                    "actions in it, as serl-robot --devices does. Use an env that does so, or drive it from a page by "
                    "--driver operator."
                )
            return True
        self._has_person = True
        return False


def record_successes(env: gymnasium.Env, drive: Drive, episodes: int, seed: int) -> Iterator[Segment]:
    """Successful episodes of a scripted expert; see `Recorder.successes`."""
    return Recorder(env, drive).successes(episodes, seed)
