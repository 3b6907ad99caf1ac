"""The state of a robot's joints, scaled to about 1."""

from __future__ import annotations

from typing import Any, Mapping, Sequence

import numpy as np

from serl_robot.lerobot.layout import Layout
from serl_robot.lerobot.motion import Tip
from serl_robot.lerobot.settings import LeRobotSettings
from serl_robot.spaces import UnservableEnv

TIP_SCALE = 0.3
"""Metres from the base that are 1 in the state."""


class State:
    """The state of an observation.

    It holds, for the joints that the policy moves, their places, their motions since the last step in steps, and the
    distances of their targets in leads, which tell a load or a contact; the opening of each gripper in [-1, 1] and its
    last command, where it is a part of the action; the places of the tips in units of 0.3 m; and the extra numbers.

    Args:
        layout: joints of the robot.
        tips: tips of the arms, if they are known.
        settings: settings of the robot.

    Attributes:
        size: D, its number of numbers.
    """

    def __init__(self, layout: Layout, tips: Sequence[Tip], settings: LeRobotSettings) -> None:
        self._layout, self._tips, self._settings = layout, tips, settings
        self._last = np.zeros(len(layout.names))
        learned = sum(arm.gripper is not None for arm in layout.arms)
        self.size = 3 * len(layout.moving) + 2 * learned + 3 * len(tips) + len(settings.extra_state)

    def begin(self, measured: np.ndarray) -> None:
        """Starts an episode with a robot at rest at `measured` (P,)."""
        self._last = measured

    def vector(
        self, observation: Mapping[str, Any], measured: np.ndarray, targets: np.ndarray, commands: Sequence[int]
    ) -> np.ndarray:
        """The state (D,), float32.

        Args:
            observation: the robot's observation by name.
            measured: measured places (P,).
            targets: places (P,) that were sent last.
            commands: last command of each arm's gripper, -1 or 1.
        """
        moving, layout = self._layout.moving, self._layout
        parts = [
            layout.scaled(measured)[moving],
            ((measured - self._last) / layout.step)[moving],
            ((targets - measured) / layout.lead)[moving],
        ]
        for arm, command in zip(layout.arms, commands):
            if arm.gripper is not None:
                parts.append(np.array([self._opening(measured[arm.gripper]), command]))
        parts += [tip.place(measured[arm.joints]) / TIP_SCALE for tip, arm in zip(self._tips, layout.arms)]
        parts.append(np.array([self._extra(observation, name) for name in self._settings.extra_state]))
        self._last = measured
        return np.concatenate(parts).astype(np.float32)

    def _opening(self, place: float) -> float:
        closed, opened = self._settings.gripper_closed, self._settings.gripper_open
        return float(np.clip(2 * (place - closed) / (opened - closed) - 1, -1.5, 1.5))

    def _extra(self, observation: Mapping[str, Any], name: str) -> float:
        if name not in observation:
            raise UnservableEnv(f"extra_state names {name}; the robot observes {', '.join(observation)}.")
        return float(observation[name]) / self._settings.extra_state[name]
