"""Signals that end the process of a robot, which is stopped first, whole."""

from __future__ import annotations

import signal
import threading
import time
from contextlib import contextmanager
from typing import Any, Callable, Iterator

ENDS = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
"""Signals that end the process: that of a service, and that of a terminal or an ssh that is closed."""
STOP_SECONDS = 5.0
"""Seconds of a stop during which no signal breaks it off."""


class Terminated(BaseException):
    """A signal that ends the process."""


def terminable() -> Any:
    """A block in the main thread that Ctrl-C ends by KeyboardInterrupt, and a signal of `ENDS` by `Terminated`.

    It does so also where the env has taken the signals, as rospy does, but not where they are ignored, as under nohup.
    """
    return _handled(_raise, [*ENDS, signal.SIGINT])


def unhurried() -> Any:
    """A block in the main thread that no signal and no further Ctrl-C breaks off for `STOP_SECONDS`."""
    deadline = time.monotonic() + STOP_SECONDS

    def wait(signum: int, frame: Any) -> None:
        if time.monotonic() >= deadline:
            _raise(signum, frame)

    return _handled(wait, [*ENDS, signal.SIGINT])


def _raise(signum: int, frame: Any) -> None:
    raise KeyboardInterrupt if signum == signal.SIGINT else Terminated


@contextmanager
def _handled(handler: Callable[[int, Any], None], numbers: list[int]) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in numbers}
    heeded = {number: old for number, old in before.items() if old not in (signal.SIG_IGN, None)}
    try:
        for number in heeded:
            signal.signal(number, handler)
        yield
    finally:
        for number, old in heeded.items():
            signal.signal(number, old)
