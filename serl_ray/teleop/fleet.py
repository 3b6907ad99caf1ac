"""The view of the whole fleet that a client has: a thumbnail of every robot, and the curves of the run."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from serl_ray.teleop.outbox import Outbox
from serl_ray.teleop.wire import Message, pack

THUMBNAIL_SECONDS = 1.0
"""Least seconds between two thumbnails of a robot for a client."""
MOST_ROWS = 300
"""Results of a run that are kept, the newest ones."""
CURVES = ("env_steps", "success", "autonomous_success", "intervention_rate")
"""Numbers of a result of a run, in the order of a row."""


@dataclass
class _Sent:
    """The newest thumbnail of a robot that was sent: when, of which frame, and whether it is not displayed yet."""

    at: float
    frame: int | None
    is_due: bool = False


class Thumbnails:
    """The thumbnails of one client: of each robot the newest one, a while after the one before it, and once the client
    has displayed that. A slow client gets fewer, and nothing waits for it.

    Args:
        outbox: messages to the client.
        clock: monotonic clock in seconds.
    """

    def __init__(self, outbox: Outbox, clock: Callable[[], float] = time.monotonic) -> None:
        self._outbox, self._clock = outbox, clock
        self._sent: dict[str, _Sent] = {}

    def offer(self, robot: str, newest: Message) -> None:
        """Sends a robot's newest view and state if it is time: with the JPEG of its first camera, where that is new."""
        now, sent = self._clock(), self._sent.get(robot)
        if sent and (not sent.is_due or now - sent.at < THUMBNAIL_SECONDS):
            return
        frame = newest.fields.get("frame")
        is_new = sent is None or sent.frame != frame
        jpegs = dict([*newest.jpegs.items()][:1]) if is_new else {}
        self._sent[robot] = _Sent(now, frame)
        self._outbox.replace(f"thumbnail of {robot}", pack(Message("thumbnail", newest.fields, jpegs=jpegs)))

    def displayed(self, robot: str) -> None:
        """The client has displayed its thumbnail of a robot."""
        if robot in self._sent:
            self._sent[robot].is_due = True

    def lose(self, robot: str) -> None:
        """A robot is not there any more."""
        self._sent.pop(robot, None)


class RunCurves:
    """The newest results of a run, for its curves."""

    def __init__(self) -> None:
        self._rows: deque[list[float | None]] = deque(maxlen=MOST_ROWS)
        self._name = ""

    def add(self, name: str, result: Mapping[str, float]) -> None:
        """Adds a result of the run of this name, with the numbers of `CURVES`; NaN where one is not known."""
        self._name = name
        self._rows.append([result[key] if math.isfinite(result[key]) else None for key in CURVES])

    def message(self) -> Message:
        """All of them, for a client."""
        return Message("run", {"name": self._name, "curves": list(CURVES), "rows": list(self._rows)})
