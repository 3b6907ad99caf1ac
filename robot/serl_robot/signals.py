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
    """A block in the main thread that a signal of `ENDS` ends by `Terminated`, unless it is ignored as under nohup."""

    def end(signum: int, frame: Any) -> None:
        raise Terminated

    return _handled(end, ENDS)


def unhurried() -> Any:
    """A block in the main thread that no signal and no further Ctrl-C breaks off for `STOP_SECONDS`."""
    deadline = time.monotonic() + STOP_SECONDS

    def wait(signum: int, frame: Any) -> None:
        if time.monotonic() >= deadline:
            raise KeyboardInterrupt if signum == signal.SIGINT else Terminated

    return _handled(wait, [*ENDS, signal.SIGINT])


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
