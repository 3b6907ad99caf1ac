"""Keys of the robot's terminal, by which a person takes over, judges, and begins episodes."""

from __future__ import annotations

import atexit
import os
import select
import sys
from contextlib import suppress
from typing import Any, TextIO

HELP = "Keys: space takes over and hands back, s success, f failure, r record again, Enter begins an episode."


class Keys:
    """Keys of a terminal.

    Args:
        stream: input of the terminal; keys of anything else are never pressed.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._file: int | None = None
        stream = sys.stdin if stream is None else stream
        if stream is None or not stream.isatty():
            return
        import termios  # which Windows does not have
        import tty

        file = stream.fileno()
        if os.tcgetpgrp(file) != os.getpgrp():  # a process in the background may not read
            return
        self._file, self._before = file, termios.tcgetattr(file)
        tty.setcbreak(file)
        atexit.register(self.close)

    @property
    def is_there(self) -> bool:
        """True if there is a terminal."""
        return self._file is not None

    def read(self) -> str:
        """The keys that were pressed since the last call."""
        pressed = b""
        while self._file is not None and select.select([self._file], [], [], 0)[0]:
            piece = os.read(self._file, 64)
            if not piece:
                break
            pressed += piece
        return pressed.decode(errors="ignore")

    def close(self) -> None:
        """Gives the terminal back."""
        if self._file is None:
            return
        import termios

        before: Any = self._before
        with suppress(termios.error):  # the terminal is gone, as after a closed ssh
            termios.tcsetattr(self._file, termios.TCSADRAIN, before)
        self._file = None
        atexit.unregister(self.close)
