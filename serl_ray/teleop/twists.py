"""Twists of devices, and the actions that are made of them in the robot's own process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np

from serl_ray.teleop.bounded import BoundedCall
from serl_ray.types import ActionLayout

TWIST_DIM = 6
"""Numbers of a twist: x forward, y left, z up, roll, pitch, yaw."""
CONVERT_SECONDS = 1.0
"""Seconds within which an env's `twist_to_action` must answer; the robot waits for it, and then does without."""
AXES_OF_FOUR = (0, 1, 2, 5)
"""Numbers of a twist that an arm of four numbers takes: its fourth one is the yaw."""


class Reference(StrEnum):
    """The frame of reference of a twist."""

    BASE = "base"
    TOOL = "tool"


@dataclass(frozen=True, eq=False)
class Twist:
    """The motion that a device asks of one arm, or two devices of both.

    Attributes:
        numbers: x forward, y left, z up, roll, pitch, yaw (6,), float32 in [-1, 1].
        arm: index of the arm.
        reference: frame of reference of the numbers.
        other: the numbers of the other arm, of two (6,); None where it holds.
    """

    numbers: np.ndarray
    arm: int
    reference: Reference
    other: np.ndarray | None = None

    def by_arm(self) -> dict[int, np.ndarray]:
        """The numbers (6,) of each arm that moves."""
        return {self.arm: self.numbers} | ({} if self.other is None else {1 - self.arm: self.other})


TwistToAction = Callable[[int, np.ndarray, str], Any]
"""An env's `twist_to_action(arm, twist, frame)`: the numbers of that arm without its gripper."""


class TwistError(ValueError):
    """No action can be made of a twist."""


class TwistMap:
    """Makes actions of twists.

    Without an env's `twist_to_action`, a twist is the action: its first numbers are those of the arm.

    Args:
        layout: layout of the action.
        arms: number of arms; each has as many numbers, of which the last one may be its gripper.
        convert: the env's `twist_to_action`; None without one.

    Attributes:
        layout: layout of the action.
        arms: number of arms.
        references: frames of reference that the robot understands.
    """

    def __init__(self, layout: ActionLayout, arms: int = 1, convert: TwistToAction | None = None) -> None:
        self.layout, self.arms = layout, arms
        self._convert = BoundedCall(convert, CONVERT_SECONDS) if convert else None
        self.references = tuple(Reference) if convert else (Reference.BASE,)

    @property
    def converts(self) -> bool:
        """True if the env makes the actions itself."""
        return self._convert is not None

    @classmethod
    def from_env(cls, env: Any, layout: ActionLayout, setup_mode: str) -> TwistMap:
        """The map of a gymnasium env, with its `twist_to_action` where it has one."""
        convert = getattr(env.unwrapped, "twist_to_action", None)
        return cls(layout, 2 if setup_mode.startswith("dual") else 1, convert if callable(convert) else None)

    def indices(self, arm: int) -> list[int]:
        """The indices of an arm's numbers in an action, without its gripper."""
        per_arm = self.layout.action_dim // self.arms
        return [index for index in self.layout.continuous_indices if index // per_arm == arm]

    def action(self, twist: Twist) -> np.ndarray:
        """The action (A + G,) of a twist, float32 in [-1, 1]; an arm without one and the grippers hold.

        Raises:
            TwistError: the env's `twist_to_action` has failed, hangs, or returned no numbers of an arm.
        """
        action = np.zeros(self.layout.action_dim, np.float32)
        for arm, wanted in twist.by_arm().items():
            indices = self.indices(arm)
            count = len(indices)
            numbers = (
                self._converted(arm, wanted, twist.reference, count) if self._convert else twist_numbers(wanted, count)
            )
            action[indices[: len(numbers)]] = numbers
        return action

    def _converted(self, arm: int, twist: np.ndarray, reference: Reference, count: int) -> np.ndarray:
        """The numbers of an arm (count,) that the env makes of a twist (6,)."""
        assert self._convert is not None
        try:
            numbers = np.asarray(self._convert(arm, twist.copy(), reference.value), np.float32)
        except Exception as error:  # the env's code, whose faults must neither move the robot nor end the run
            raise TwistError(f"twist_to_action has failed ({type(error).__name__}: {error})"[:200]) from error
        if numbers.shape != (count,) or not np.isfinite(numbers).all():
            raise TwistError(f"twist_to_action returned {numbers!r:.100}; it must be {count} finite numbers")
        return numbers.clip(-1.0, 1.0)


def twist_numbers(numbers: np.ndarray, count: int) -> np.ndarray:
    """The numbers of a twist (6,) that an arm of `count` numbers takes."""
    return numbers[list(AXES_OF_FOUR)] if count == len(AXES_OF_FOUR) else numbers[:count]
