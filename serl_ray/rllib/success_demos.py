"""Autonomous successes as demonstrations (`--success_demos`)."""

from __future__ import annotations

from serl_ray.data.schema import Segment
from serl_ray.evaluation.rollouts import Episode

MAX_UNENDED = 32
"""Greatest number of episodes whose segments wait for their end; those of a lost env never end."""


class SuccessDemos:
    """Keeps the segments of episodes until they end.

    Demonstrations are then of the policy's own speed and states, too, and their share grows with what works
    (self-imitation, arXiv 1806.05635, without its weights).
    """

    def __init__(self) -> None:
        self._unended: dict[str, list[Segment]] = {}

    def add(self, segment: Segment, ended: Episode | None) -> list[Segment]:
        """The segments of the whole episode, if it has `ended` with this one in a success in which nobody intervened;
        otherwise none."""
        segments = [*self._unended.pop(segment.episode, []), segment]
        if ended is not None:
            return segments if ended.success and not ended.interventions else []
        self._unended[segment.episode] = segments
        if len(self._unended) > MAX_UNENDED:
            del self._unended[next(iter(self._unended))]
        return []
