"""Gamepads at this computer, with the keys that they have on the page."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar

from .events import EV_ABS, EV_KEY, EventPort, is_gap
from .motion import Motion, Numbers, clamped

DEAD_ZONE = 0.12
"""Radius of a stick's deflection that counts as none."""
CLUTCH = 0x137
"""The right shoulder button, which the kernel calls BTN_TR."""
LEFT_X, LEFT_Y, LEFT_TRIGGER, RIGHT_X, RIGHT_Y, RIGHT_TRIGGER, CROSS_X, CROSS_Y = 0, 1, 2, 3, 4, 5, 16, 17
STICKS_AND_CROSS = (LEFT_X, LEFT_Y, RIGHT_X, RIGHT_Y, CROSS_X, CROSS_Y)
PAD_AXES = (*STICKS_AND_CROSS, LEFT_TRIGGER, RIGHT_TRIGGER)
PAD_PRESSES = {
    0x130: "success",
    0x131: "failure",
    0x133: "close",
    0x134: "open",
    0x136: "arm",
    0x13A: "control",
    0x13B: "pause",
    0x13C: "stop",
}
"""Presses by the codes of A, B, X, Y, LB, Back, Start and the button in the middle."""


class Gamepad:
    """A gamepad, whose clutch is its right shoulder button.

    Args:
        events: events of the gamepad.
        name: name of the model.
        ranges: least and greatest value of each axis; an axis without a range counts as centred.
    """

    source: ClassVar[str] = "gamepad"
    has_motion: ClassVar[bool] = True

    def __init__(self, events: EventPort, name: str, ranges: Mapping[int, tuple[int, int]]) -> None:
        self._events, self.name, self._ranges = events, name, ranges
        self._axes: dict[int, float] = {}
        self._is_held = False

    def poll(self, now: float) -> tuple[Motion, list[str]]:
        """The sticks and the clutch at `now`, and the buttons pressed since the last call."""
        presses = []
        for event in self._events.read():
            if is_gap(event):
                self._is_held = False
                self._axes.clear()
            elif event.kind == EV_ABS and event.code in self._ranges:
                self._axes[event.code] = self._scaled(event.code, event.value)
            elif event.kind == EV_KEY and event.code == CLUTCH:
                self._is_held = event.value != 0
            elif event.kind == EV_KEY and event.value == 1 and event.code in PAD_PRESSES:
                presses.append(PAD_PRESSES[event.code])
        return Motion(self._twist(), self._is_held), presses

    def close(self) -> None:
        """Closes the gamepad's file."""
        self._events.close()

    def _scaled(self, axis: int, value: int) -> float:
        """A stick in [-1, 1], and a trigger in [0, 1]."""
        least, greatest = self._ranges[axis]
        share = (value - least) / (greatest - least)
        return clamped(2 * share - 1) if axis in STICKS_AND_CROSS else max(0.0, min(1.0, share))

    def _twist(self) -> Numbers:
        axes = self._axes
        left_x, left_y = _beyond_dead_zone(axes.get(LEFT_X, 0.0), axes.get(LEFT_Y, 0.0))
        right_x, right_y = _beyond_dead_zone(axes.get(RIGHT_X, 0.0), axes.get(RIGHT_Y, 0.0))
        up = axes.get(RIGHT_TRIGGER, 0.0) - axes.get(LEFT_TRIGGER, 0.0) - _step(axes.get(CROSS_Y, 0.0))
        roll = _step(axes.get(CROSS_X, 0.0))
        return tuple(clamped(number) + 0.0 for number in (-left_y, -left_x, up, roll, -right_y, -right_x))


def _beyond_dead_zone(x: float, y: float) -> tuple[float, float]:
    """A stick without its dead zone, which is round: beyond it the scale begins at 0."""
    length = math.hypot(x, y)
    scale = (min(length, 1.0) - DEAD_ZONE) / (1.0 - DEAD_ZONE) / length if length > DEAD_ZONE else 0.0
    return scale * x, scale * y


def _step(value: float) -> float:
    """The direction of a cross, which some drivers report as an axis of 256 values whose centre is not exactly 0."""
    return math.copysign(1.0, value) if abs(value) > 0.5 else 0.0
