"""Presses for grippers, each of which is executed in one step."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import numpy as np

from serl_ray.types import ActionLayout

GRIP_SECONDS = 1.0
"""Greatest age of a press that is executed."""


class _Grip(NamedTuple):
    """A press that waits: -1 closes, 1 opens."""

    gripper: int
    direction: int
    at: float


class Grips:
    """The presses that wait, in their order.

    Args:
        layout: layout of the action.
    """

    def __init__(self, layout: ActionLayout) -> None:
        self._layout = layout
        self._waiting: deque[_Grip] = deque()

    def add(self, gripper: int, direction: int, now: float) -> bool:
        """Adds a press; false where there is no such gripper or direction."""
        is_known = gripper in range(self._layout.num_grippers) and direction in (-1, 1)
        if is_known:
            self._waiting.append(_Grip(gripper, direction, now))
        return is_known

    def clear(self) -> None:
        """Drops all presses."""
        self._waiting.clear()

    def put_into(self, action: np.ndarray, now: float) -> int:
        """Gives each gripper of an action (A + G,) its next press; returns the number of presses that came too late."""
        waiting, self._waiting = self._waiting, deque()
        expired = 0
        for grip in waiting:
            dimension = self._layout.gripper_indices[grip.gripper]
            if now - grip.at > GRIP_SECONDS:
                expired += 1
            elif action[dimension]:
                self._waiting.append(grip)
            else:
                action[dimension] = grip.direction
        return expired
