"""Limits on how often somebody may try a secret, or send a message."""

from __future__ import annotations

import time
from collections import defaultdict, deque
from collections.abc import Callable

TRIES = 5
"""Wrong secrets of one address after which it waits."""
TRIES_SECONDS = 60.0
RATE_SECONDS = 5.0
"""Seconds over which the rate of messages is taken."""


class Throttle:
    """Counts of what addresses and clients have done lately.

    Args:
        clock: monotonic clock in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures: defaultdict[str, deque[float]] = defaultdict(lambda: deque(maxlen=TRIES))
        self._messages: defaultdict[str, deque[float]] = defaultdict(deque)

    def failed(self, address: str) -> None:
        """A secret from this address was wrong."""
        now = self._clock()
        self._failures[address].append(now)
        for other in [name for name, tries in self._failures.items() if now - tries[-1] > TRIES_SECONDS]:
            del self._failures[other]

    def allows(self, address: str) -> bool:
        """True unless the address has given too many wrong secrets lately."""
        failures = self._failures.get(address)
        return failures is None or len(failures) < TRIES or self._clock() - failures[0] > TRIES_SECONDS

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
