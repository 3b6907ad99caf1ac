"""Keyboards at this computer, with the keys of the page."""

from __future__ import annotations

import signal
from typing import ClassVar

from .events import EV_KEY, EventPort, is_gap
from .motion import Motion, Numbers, clamped

SPACE, LETTER_C = 57, 46
CONTROL_KEYS = {29, 97}
KEY_MOTION = {
    103: (0, 1),
    108: (0, -1),
    105: (1, 1),
    106: (1, -1),
    17: (2, 1),
    16: (2, -1),
    104: (2, 1),
    109: (2, -1),
    24: (3, 1),
    22: (3, -1),
    23: (4, 1),
    37: (4, -1),
    36: (5, 1),
    38: (5, -1),
}
"""Axis of the twist and direction by the codes of the arrows, W, Q, Page Up and Down, O, U, I, K, J and L."""
KEY_PRESSES = {
    31: "success",
    33: "failure",
    47: "veto",
    25: "pause",
    19: "reset",
    14: "discard",
    34: "close",
    35: "open",
    28: "control",
    21: "rearm",
    15: "arm",
    2: "speed-25",
    3: "speed-50",
    4: "speed-100",
    1: "stop",
}
"""Presses by the codes of S, F, V, P, R, Backspace, G, H, Enter, Y, Tab, 1, 2, 3 and Esc."""


class Keyboard:
    """A keyboard, whose clutch is the space bar.

    Args:
        events: events of the keyboard.
        name: name of the model.
    """

    source: ClassVar[str] = "keyboard"
    has_motion: ClassVar[bool] = False

    def __init__(self, events: EventPort, name: str) -> None:
        self._events, self.name = events, name
        self._held: set[int] = set()

    def poll(self, now: float) -> tuple[Motion, list[str]]:
        """The held keys at `now`, and the presses since the last call; Ctrl-C interrupts this process, since the
        terminal does not get it."""
        presses = []
        for event in self._events.read():
            if is_gap(event):
                self._held.clear()
            elif event.kind == EV_KEY and event.value == 0:
                self._held.discard(event.code)
            elif event.kind == EV_KEY and event.value == 1:
                self._held.add(event.code)
                if event.code == LETTER_C and self._held & CONTROL_KEYS:
                    signal.raise_signal(signal.SIGINT)
                presses += [KEY_PRESSES[event.code]] if event.code in KEY_PRESSES else []
        return Motion(self._twist(), SPACE in self._held), presses

    def close(self) -> None:
        """Closes the keyboard's file, which gives it back to others."""
        self._events.close()

    def _twist(self) -> Numbers:
        numbers = [0.0] * 6
        for axis, direction in (KEY_MOTION[key] for key in self._held if key in KEY_MOTION):
            numbers[axis] += direction
        return tuple(map(clamped, numbers))
