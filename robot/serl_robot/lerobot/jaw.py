"""A gripper that is told to open or close, and goes there at bounded speed and force."""

from __future__ import annotations

import numpy as np

from serl_robot.lerobot.settings import LeRobotSettings

THRESHOLD = 0.5
"""Least amount of an action's number that is a command."""


class Jaw:
    """Gripper of an arm. A command lasts until the opposite one.

    Args:
        settings: settings of the robot.
    """

    def __init__(self, settings: LeRobotSettings) -> None:
        self._open, self._closed, self._step = settings.gripper_open, settings.gripper_closed, settings.gripper_step
        self._goal: float | None = None
        self.state = 0

    def begin(self, place: float) -> None:
        """Starts an episode with the gripper at rest."""
        self._goal = None
        self.state = 1 if self.opening(place) > 0.5 else -1

    def opening(self, place: float) -> float:
        """The opening in [0, 1] at a place."""
        return float(np.clip((place - self._closed) / (self._open - self._closed), 0.0, 1.0))

    def command(self, number: float) -> bool:
        """Takes an action's number: -1 closes, 1 opens, and less than the threshold changes nothing.

        Returns:
            True for a useless command: to close what is closed or closes, or to open what is open or opens.
        """
        wanted = int(number >= THRESHOLD) - int(number <= -THRESHOLD)
        if not wanted:
            return False
        is_useless = wanted == self.state
        self.state, self._goal = wanted, self._open if wanted > 0 else self._closed
        return is_useless

    def target(self, before: float) -> float:
        """The next target, after that of the last step."""
        goal = before if self._goal is None else self._goal
        return before + float(np.clip(goal - before, -self._step, self._step))
