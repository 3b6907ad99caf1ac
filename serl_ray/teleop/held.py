"""Episodes that are held back until operators can say nothing more of them."""

from __future__ import annotations

import logging
from typing import Any, NamedTuple

import gymnasium

from serl_ray.data.episodes import EpisodeRecorder
from serl_ray.data.schema import Segment
from serl_ray.teleop.episodes import KEPT_SECONDS
from serl_ray.teleop.judged import judged
from serl_ray.teleop.numbers import StepValues
from serl_ray.teleop.wrapper import OperatedEnv

logger = logging.getLogger(__name__)

MOST_HELD_STEPS = 500
"""Steps of a running episode from which it is handed over in pieces, all but those of the last `KEPT_SECONDS`."""


class HeldBack(NamedTuple):
    """Experience that a worker has not handed over, because operators may still label it.

    Attributes:
        episodes: number of episodes.
        steps: number of their steps.
    """

    episodes: int
    steps: int


NOTHING_HELD = HeldBack(0, 0)


class HeldEpisodes:
    """The episodes of one env that have not been handed over yet.

    While an operator is attached, an episode is handed over when it has ended and can be labelled no more, because a
    label may come late, and it may be discarded. Without one it is handed over at once.

    Args:
        env: env of the episodes.
    """

    def __init__(self, env: gymnasium.Env) -> None:
        self._operated = operated(env)
        self._ended: list[tuple[int, EpisodeRecorder]] = []

    def cut(self, episode: EpisodeRecorder) -> Segment | None:
        """The steps of a running episode that are handed over before its end, and can be labelled no more; None where
        all are held back."""
        if self._operated is None or not len(episode):
            return episode.cut() if len(episode) else None
        is_attached = self._operated.is_attached()
        if is_attached and len(episode) < MOST_HELD_STEPS:
            return None
        steps = len(episode) - self._operated.hand_over(KEPT_SECONDS if is_attached else 0.0)
        return episode.cut(steps) if steps else None

    def end(self, episode: EpisodeRecorder) -> None:
        """The newest episode of the env has ended."""
        self._ended.append((self._operated.episode if self._operated else 0, episode))

    def ends_running(self) -> bool:
        """True if an operator has ended the running episode, which takes no further step."""
        return self._operated is not None and self._operated.ends_running()

    @property
    def waits(self) -> bool:
        """True while an episode that has ended is held back."""
        return bool(self._ended)

    @property
    def lengths(self) -> list[int]:
        """Numbers of steps of the episodes that have ended and are held back."""
        return [len(episode) for _, episode in self._ended]

    def settled(self) -> list[Segment]:
        """The last segments of episodes that are not held back any more."""
        segments = []
        while self._ended and (self._operated is None or self._operated.is_settled(self._ended[0][0])):
            number, episode = self._ended.pop(0)
            if (segment := self._last(number, episode)) is not None:
                segments.append(segment)
        return segments

    def all(self) -> list[Segment]:
        """The last segments of all episodes that have ended, with what has been said of them so far."""
        ended, self._ended = self._ended, []
        return [segment for number, episode in ended if (segment := self._last(number, episode)) is not None]

    def value_by(self, values: StepValues) -> None:
        """From now on, whoever looks at the robot sees the critics' values of its actions."""
        if self._operated:
            self._operated.numbers.values = values

    def _last(self, number: int, episode: EpisodeRecorder) -> Segment | None:
        verdict = self._operated.settle(number) if self._operated else None
        if not len(episode):
            if verdict is not None:
                logger.warning("The %s of an episode came after its last step was handed over.", verdict.ending)
            return None
        segment = judged(episode.cut(), verdict)
        if segment is None:
            logger.info("An episode is dropped by an operator (%s).", verdict.ending if verdict else "")
        return segment


def operated(env: gymnasium.Env) -> OperatedEnv | None:
    """The wrapper of an env's operators; None without one."""
    inner: Any = env
    while isinstance(inner, gymnasium.Wrapper):
        if isinstance(inner, OperatedEnv):
            return inner
        inner = inner.env
    return None
