"""The terminal of a command: signals, and what becomes of output that nobody can read any more."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from threading import Event
from typing import Any, TextIO, cast

SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


@contextmanager
def stop_on_signals(stopping: str = "Stopping: saving the run.") -> Iterator[Event]:
    """An event that Ctrl-C, SIGTERM, a closed terminal and a closed output pipe set; a second signal interrupts at
    once. The sentence `stopping` is printed at the first one.

    A signal that was ignored before, as SIGHUP under nohup, stays ignored.
    """
    stop = Event()

    def handle(signum: int, frame: Any) -> None:
        if stop.is_set():
            if signum == getattr(signal, "SIGHUP", None):  # several of which come when a terminal is closed
                return
            raise KeyboardInterrupt
        stop.set()
        with suppress(OSError):  # print may be interrupted amid a line, and must not be called anew then
            os.write(1, f"{stopping} Press Ctrl-C again to leave at once.\n".encode())

    heard = [signum for signum in SIGNALS if signal.getsignal(signum) is not signal.SIG_IGN]
    previous = {signum: signal.signal(signum, handle) for signum in heard}
    out, err = _LostStream(sys.stdout, stop.set), _LostStream(sys.stderr, stop.set)
    try:
        with redirect_stdout(cast(TextIO, out)), redirect_stderr(cast(TextIO, err)):
            yield stop
    finally:
        for signum, handler in previous.items():
            signal.signal(signum, handler)


class _LostStream:
    """A stream whose reader may go away: what is written then is dropped, and the loss is reported once."""

    def __init__(self, stream: TextIO, on_loss: Callable[[], None]) -> None:
        self._stream, self._on_loss = stream, on_loss

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except OSError:
            self._drop()
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError:
            self._drop()

    def _drop(self) -> None:
        """Sends the rest to nowhere, so that not even the interpreter's last flush fails."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._stream.fileno())
        os.close(nowhere)
        self._on_loss()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
