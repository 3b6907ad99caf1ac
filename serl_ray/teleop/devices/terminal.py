"""Keys of a terminal, for presses alone: whoever drives with a device at the robot labels episodes with them."""

from __future__ import annotations

import os
import select
from typing import ClassVar

from serl_ray.teleop.devices.motion import Motion

LETTERS = {
    b"s": "success",
    b"f": "failure",
    b"v": "veto",
    b"p": "pause",
    b"r": "reset",
    b"\x7f": "discard",
    b"g": "close",
    b"h": "open",
    b"\n": "control",
    b"y": "rearm",
    b"\t": "arm",
    b"1": "speed-25",
    b"2": "speed-50",
    b"3": "speed-100",
    b" ": "stop",
    b"\x1b": "stop",
}
"""Presses by the bytes of the keys, as on the page; the space bar and Esc stop, since a terminal knows no key that is
held."""


class TerminalKeys:
    """The keys of a terminal, which are read one by one, without Enter, until this is closed.

    Args:
        number: file of the terminal.
    """

    source: ClassVar[str] = "terminal"
    has_motion: ClassVar[bool] = False
    name = "keys of this terminal"

    def __init__(self, number: int) -> None:
        import termios  # which Windows does not have
        import tty

        self._number: int | None = number
        self._before = termios.tcgetattr(number)
        tty.setcbreak(number)

    def poll(self, now: float) -> tuple[Motion, list[str]]:
        """No motion, and the keys pressed since the last call."""
        presses = []
        while self._number is not None and select.select([self._number], [], [], 0)[0]:
            key = os.read(self._number, 1)
            if not key:
                self._number = None  # the terminal is closed
            elif key in LETTERS:
                presses.append(LETTERS[key])
        return Motion(), presses

    def close(self) -> None:
        """Gives the terminal back as it was."""
        import termios

        if self._number is not None:
            termios.tcsetattr(self._number, termios.TCSADRAIN, self._before)
