"""Marks of frames by a held key, from which the images of a reward classifier get their labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from serl_ray.teleop.episodes import SessionEpisodes
from serl_ray.teleop.events import LABELS, Press, Pressed
from serl_ray.teleop.sorting import SortLabel

MARGIN_SECONDS = 0.5
"""Seconds of motion before a press of the key and after its release whose frames are left out: a person reacts late."""


class TimedFrame(NamedTuple):
    """A frame of an episode.

    Attributes:
        number: number of the frame.
        at: duration in seconds of the steps of the episode before it, without the time in which the robot waited.
    """

    number: int
    at: float


@dataclass
class _Span:
    """Frames that were displayed while the key was held; `last` is None while it is."""

    first: int
    last: int | None = None

    def holds(self, frame: int) -> bool:
        return self.first <= frame and (self.last is None or frame <= self.last)


class MarkedEpisodes(SessionEpisodes):
    """Episodes of a recording of labelled images: frames are marked as successes, and episodes are not labelled.

    An episode that has ended waits until it is kept or discarded.
    """

    def __init__(self) -> None:
        super().__init__(held_seconds=None)
        self._spans: list[_Span] = []

    def begin(self) -> None:
        """An episode begins, in which nothing is marked; a key that is still held must be pressed again."""
        super().begin()
        self._spans = []

    def judge(self, pressed: Pressed, now: float) -> str | None:
        """A press about an episode or its frames; see `SessionEpisodes.judge`."""
        if pressed.press is Press.MARK:
            return self._mark(pressed.frame)
        if pressed.press is Press.UNMARK:
            self._unmark(pressed.frame)
            return None
        if pressed.press in LABELS and pressed.press is not Press.DISCARD:
            return "frames are marked here, not episodes: hold the success key"
        refusal = super().judge(pressed, now)
        if not refusal and not self.is_running:
            self.keep(now)  # an episode that has ended is discarded at once
        return refusal

    @property
    def is_marking(self) -> bool:
        """True while frames are being marked as successes."""
        return self.is_running and bool(self._spans) and self._spans[-1].last is None

    def labels(self, frames: Sequence[TimedFrame]) -> list[SortLabel]:
        """The labels of the newest episode's frames, in their order.

        A frame that was displayed while the key was held is a success. Those within `MARGIN_SECONDS` of motion before
        the first and after the last frame of a press are left out. All others are failures.
        """
        marked = [[frame for frame in frames if span.holds(frame.number)] for span in self._spans]
        margins = [(run[0].at - MARGIN_SECONDS, run[-1].at + MARGIN_SECONDS) for run in marked if run]
        successes = {frame.number for run in marked for frame in run}
        return [
            SortLabel.SUCCESS
            if frame.number in successes
            else SortLabel.LEFT_OUT
            if any(first <= frame.at <= last for first, last in margins)
            else SortLabel.FAILURE
            for frame in frames
        ]

    def _mark(self, frame: int) -> str | None:
        if not self.is_running:
            return "no episode runs"
        if not self.is_marking:
            self._spans.append(_Span(frame))
        return None

    def _unmark(self, frame: int) -> None:
        if self.is_marking:
            self._spans[-1].last = max(frame, self._spans[-1].first)

    def state(self, now: float) -> dict[str, object]:
        """The episodes in JSON, for whoever watches."""
        return {**super().state(now), "is_marking": self.is_marking}
