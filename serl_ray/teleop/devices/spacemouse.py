"""3Dconnexion's SpaceMice, by the reports of their raw HID file.

Report 1 has the translation, and on newer and wireless models the rotation behind it; report 2 has the rotation of the
others, and report 3 the keys, a bit each. Axes are those of the HID usage tables: x right, y towards the person, z
down, and right-handed rotations about them.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import ClassVar, Protocol

from .motion import Clutchless, Motion, Numbers, clamped

VENDORS = (0x046D, 0x256F)
"""Vendors of SpaceMice: Logitech, for the older ones, and 3Dconnexion."""
SPACEMOUSE_SCALE = 350
"""Number of a report at full deflection."""
SILENT_SECONDS = 0.25
"""Seconds without a report after which a deflection counts no more: a SpaceMouse repeats it, and is silent at rest."""
TRANSLATION, ROTATION, KEYS = 1, 2, 3
REPORT_AXES = struct.Struct("<3h")
TWO_KEYS = {0: "close", 1: "open"}
"""Presses by the bits of report 3: the left and the right key, which are Menu and Fit on large models."""
MANY_KEYS = {**TWO_KEYS, 12: "success", 13: "failure", 14: "pause", 15: "reset", 22: "stop"}
"""The same with the keys 1, 2, 3 and 4, and Esc."""
LARGE_MODELS = (0xC62B, 0xC631, 0xC632, 0xC633, 0xC638, 0xC652)
"""Products with these keys: Pro, Pro Wireless by cable, receiver and Bluetooth, Enterprise, universal receiver."""


class Reports(Protocol):
    """The reports of a HID device, each of which begins with its number."""

    def read(self) -> Iterator[bytes]:
        """The reports that have come since the last call."""
        ...

    def close(self) -> None:
        """Closes the device."""
        ...


class SpaceMouse:
    """A SpaceMouse, whose deflection is its clutch.

    Args:
        reports: file of its reports.
        name: name of the model.
        product: USB number of the model.
    """

    source: ClassVar[str] = "spacemouse"
    has_motion: ClassVar[bool] = True

    def __init__(self, reports: Reports, name: str, product: int) -> None:
        self._reports, self.name = reports, name
        self._keys = MANY_KEYS if product in LARGE_MODELS else TWO_KEYS
        self._translation = self._rotation = (0, 0, 0)
        self._pressed = 0
        self._heard = -SILENT_SECONDS
        self._clutch = Clutchless()

    def poll(self, now: float) -> tuple[Motion, list[str]]:
        """The deflection at `now`, and the keys pressed since the last call."""
        presses: list[str] = []
        for report in self._reports.read():
            presses += self._take(report, now)
        if now - self._heard > SILENT_SECONDS:
            self._translation = self._rotation = (0, 0, 0)
        return self._clutch.motion(twist_of(self._translation, self._rotation), now), presses

    def close(self) -> None:
        """Closes the file of reports."""
        self._reports.close()

    def _take(self, report: bytes, now: float) -> list[str]:
        """Takes a report in, and returns its presses; a report of another kind, such as the battery's, has none."""
        number, rest = report[0], report[1:]
        if number in (TRANSLATION, ROTATION) and len(rest) >= REPORT_AXES.size:
            self._heard = now
            axes = REPORT_AXES.unpack_from(rest)
            if number == ROTATION:
                self._rotation = axes
            else:
                self._translation = axes
                if len(rest) >= 2 * REPORT_AXES.size:
                    self._rotation = REPORT_AXES.unpack_from(rest, REPORT_AXES.size)
        elif number == KEYS:
            before, self._pressed = self._pressed, int.from_bytes(rest, "little")
            pressed = self._pressed & ~before
            presses = [press for bit, press in self._keys.items() if pressed >> bit & 1]
            if {"close", "open"} & {*presses}:
                self._clutch.touched(now)
            return presses
        return []


def twist_of(translation: tuple[int, ...], rotation: tuple[int, ...]) -> Numbers:
    """The twist of two reports: forward, left and up are all against the axes of the device."""
    (x, y, z), (rx, ry, rz) = translation, rotation
    return tuple(clamped(-number / SPACEMOUSE_SCALE) + 0.0 for number in (y, x, z, ry, rx, rz))
