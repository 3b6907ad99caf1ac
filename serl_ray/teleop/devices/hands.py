"""Devices together: which of them drives which arm, how fast, and from where the robot is seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from .motion import AT_REST, Device, Motion, Numbers, clamped

SPEEDS = {"speed-25": 0.25, "speed-50": 0.5, "speed-100": 1.0}
TURNS = {"behind": (1, 0), "left": (0, 1), "front": (-1, 0), "right": (0, -1)}
"""Cosine and sine of the turn from a person's directions to the robot's, by the side from which it is seen."""


@dataclass(frozen=True)
class Grasp:
    """Use of devices.

    Attributes:
        arm: index of the arm that a device drives first.
        speed: share of full scale, in (0, 1].
        seen_from: side of the robot on which the person stands: one of `TURNS`.
    """

    arm: int = 0
    speed: float = 0.5
    seen_from: str = "behind"


class HandsState(NamedTuple):
    """The state of all devices.

    Attributes:
        twists: twist in the robot's base by arm.
        clutch: whether a clutch is held.
        tail: whether every device whose clutch is held may have begun to hand back.
        source: kind of device.
        presses: names of the keys that were pressed, with the arm that each is for.
    """

    twists: dict[int, Numbers]
    clutch: bool
    tail: bool
    source: str
    presses: list[tuple[str, int]]


class Hands:
    """The devices of a person.

    Of several devices the one whose clutch is held is the active one. Two SpaceMice or gamepads drive an arm each
    on a robot of two arms, the first one the left.

    Args:
        devices: devices that are open, in their order.
        grasp: use that is made of them.
        arms: number of the robot's arms.
    """

    def __init__(self, devices: Sequence[Device], grasp: Grasp, arms: int) -> None:
        self._devices, self._seen_from = list(devices), grasp.seen_from
        self._arm, self._speed, self._arms = min(grasp.arm, arms - 1), grasp.speed, arms
        moving = [device for device in devices if device.has_motion]
        self._arm_of = {id(device): arm for arm, device in enumerate(moving[:arms])} if len(moving) >= arms > 1 else {}
        self._active = self._devices[0]
        self._must_rest = False

    def poll(self, now: float) -> HandsState:
        """The state at `now`.

        Raises:
            DeviceLost: a device is gone.
        """
        motions, presses = {}, []
        for device in self._devices:
            motions[id(device)], pressed = device.poll(now)
            for name in pressed:
                if not self._set(name):
                    presses.append((name, self._arm_of.get(id(device), self._arm)))
        self._choose(motions)
        if id(self._active) in self._arm_of:
            return self._pair(motions, presses)
        motion = motions[id(self._active)]
        self._must_rest = self._must_rest and motion.twist != AT_REST
        twist = AT_REST if self._must_rest else self._turned(motion)
        return HandsState({self._arm: twist}, motion.clutch, motion.tail, self._active.source, presses)

    def close(self) -> None:
        """Closes the devices."""
        for device in self._devices:
            device.close()

    def _choose(self, motions: dict[int, Motion]) -> None:
        """Makes the device whose clutch is held the active one; while it is, no other one takes its place."""
        if not motions[id(self._active)].clutch:
            held = [device for device in self._devices if motions[id(device)].clutch]
            self._active = held[0] if held else self._active

    def _pair(self, motions: dict[int, Motion], presses: list[tuple[str, int]]) -> HandsState:
        """The state of devices that drive an arm each."""
        by_arm = {arm: motions[device] for device, arm in self._arm_of.items()}
        held = [motion for motion in by_arm.values() if motion.clutch]
        tail = bool(held) and all(motion.tail for motion in held)
        twists = {arm: self._turned(motion) for arm, motion in by_arm.items()}
        return HandsState(twists, bool(held), tail, self._active.source, presses)

    def _turned(self, motion: Motion) -> Numbers:
        """The twist in the robot's base, at the chosen speed; none without the clutch."""
        if not motion.clutch:
            return AT_REST
        (cosine, sine), (x, y, z, roll, pitch, yaw) = TURNS[self._seen_from], motion.twist
        numbers = (*_rotated(x, y, cosine, sine), z, *_rotated(roll, pitch, cosine, sine), yaw)
        return tuple(clamped(self._speed * number) for number in numbers)

    def _set(self, name: str) -> bool:
        """Sets what a key stands for that is about the devices alone; false for another key."""
        if name in SPEEDS:
            self._speed = SPEEDS[name]
        elif name == "arm":
            self._must_rest = self._arms > 1  # the motion that is under way was meant for the other arm
            self._arm = (self._arm + 1) % self._arms
        else:
            return False
        return True


def _rotated(x: float, y: float, cosine: int, sine: int) -> tuple[float, float]:
    return cosine * x + sine * y, cosine * y - sine * x
