"""Limits on how often somebody may try a secret, or send a message."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict, deque
from collections.abc import Callable

WRONG_SECONDS = 1.0
"""Seconds until a wrong secret is answered."""
RATE_SECONDS = 5.0
"""Seconds over which the rate of messages is taken."""


async def delay_refusal() -> None:
    """Waits before a wrong secret is answered. It locks nobody out, since all who come through a tunnel have one
    address."""
    await asyncio.sleep(WRONG_SECONDS)


class Throttle:
    """Counts of what clients have sent lately.

    Args:
        clock: monotonic clock in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._messages: defaultdict[str, deque[float]] = defaultdict(deque)

    def counts(self, name: str, rate: float) -> bool:
        """Counts a message, and is true while there are at most `rate` a second."""
        now, messages = self._clock(), self._messages[name]
        messages.append(now)
        while now - messages[0] > RATE_SECONDS:
            messages.popleft()
        return len(messages) <= rate * RATE_SECONDS

    def forget(self, name: str) -> None:
        """A client has left: its messages are counted no more."""
        self._messages.pop(name, None)
