"""The motion that a device asks for, and the rule that gives a clutch to a device without one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol, Tuple

Numbers = Tuple[float, ...]
"""Twist of a device: x forward, y left, z up, roll, pitch, yaw, each in [-1, 1]."""
AT_REST: Numbers = (0.0,) * 6
ON_ABOVE = 0.05
"""Greatest number of a twist above which a device without a clutch takes over."""
OFF_BELOW = 0.02
"""Greatest number of a twist below which it is at rest."""
OFF_SECONDS = 0.5
"""Seconds at rest after which it hands back."""


@dataclass(frozen=True)
class Motion:
    """The state of a device.

    Attributes:
        twist: x forward, y left, z up, roll, pitch, yaw, each in [-1, 1].
        clutch: whether the clutch is held.
        tail: whether the device has no clutch and is at rest, so that its hand-back may have begun.
    """

    twist: Numbers = AT_REST
    clutch: bool = False
    tail: bool = False


class Device(Protocol):
    """A device that is open."""

    source: ClassVar[str]
    """Kind of device, as it is stored beside the steps that it drives."""
    has_motion: ClassVar[bool]
    """True if the device can drive an arm of its own, on a robot of two."""
    name: str

    def poll(self, now: float) -> tuple[Motion, list[str]]:
        """The state at `now`, in seconds of a monotonic clock, and the names of the keys pressed since the last call.

        Raises:
            DeviceLost: the device is gone.
        """
        ...

    def close(self) -> None:
        """Closes the device."""
        ...


class Clutchless:
    """The clutch of a device that has none: moving it takes over, and letting go of it hands back a while later."""

    def __init__(self) -> None:
        self._is_on = False
        self._rests_since: float | None = None
        self._touched = -OFF_SECONDS

    def touched(self, now: float) -> None:
        """A key for a gripper was pressed, which moves the robot as well."""
        self._is_on, self._touched = True, now

    def motion(self, twist: Numbers, now: float) -> Motion:
        """The state of the device with this twist."""
        greatest = max(map(abs, twist))
        if greatest >= OFF_BELOW or now - self._touched < OFF_SECONDS:
            self._rests_since = None
            self._is_on = self._is_on or greatest > ON_ABOVE
        elif self._is_on:
            self._rests_since = now if self._rests_since is None else self._rests_since
            self._is_on = now - self._rests_since < OFF_SECONDS
        return Motion(twist, self._is_on, self._is_on and self._rests_since is not None)


def clamped(number: float) -> float:
    """The number within [-1, 1]."""
    return max(-1.0, min(1.0, number))
