"""Gripper that opens or closes, and needs some time for it."""

from __future__ import annotations

import time
from collections.abc import Callable

from serl_ray.envs.franka.server import FrankaServer
from serl_ray.envs.wrappers import GRIPPER_THRESHOLD

OPEN_FROM = 0.85
"""Opening, in [0, 1], above which a gripper counts as open."""


class BinaryGripper:
    """Gripper of one arm. A command is sent where it changes something, and no step waits for it.

    Args:
        server: the arm's server.
        seconds: time after a command in which further ones are ignored.
        clock: monotonic clock in seconds.
    """

    def __init__(self, server: FrankaServer, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._server, self._seconds, self._clock = server, seconds, clock
        self._sent_at = -float("inf")
        self._last = 0

    def begin(self) -> None:
        """Starts an episode, with a gripper that rests."""
        self._sent_at, self._last = self._clock(), 0

    def command(self, number: float, opening: float) -> bool:
        """Executes an action's number: -1 closes, 1 opens, less than the threshold holds.

        Args:
            number: the action's number.
            opening: measured opening, 0 closed to 1 open.

        Returns:
            True for a useless command: one to close what is closed or closes, or to open what is open or opens.
        """
        wanted = int(number >= GRIPPER_THRESHOLD) - int(number <= -GRIPPER_THRESHOLD)
        if not wanted:
            return False
        is_moving = self._clock() - self._sent_at <= self._seconds
        going = self._last if is_moving and self._last else (1 if opening > OPEN_FROM else -1)
        is_needed = opening > OPEN_FROM if wanted < 0 else opening < OPEN_FROM
        if is_needed and not is_moving:
            self._send(wanted)
        return wanted == going

    def send(self, is_open: bool) -> None:
        """Opens or closes the gripper, whatever its state."""
        self._send(1 if is_open else -1)

    def _send(self, wanted: int) -> None:
        if wanted > 0:
            self._server.open_gripper()
        else:
            self._server.close_gripper()
        self._sent_at, self._last = self._clock(), wanted
