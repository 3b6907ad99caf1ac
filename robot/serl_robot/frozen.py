"""A watch of images that do not change, which tells a camera that has frozen."""

from __future__ import annotations

import math
import time
from typing import Callable, Mapping

import numpy as np

from serl_robot.spaces import UnservableEnv


class ImageWatch:
    """A watch of the images of cameras. The noise of a sensor changes every image; one that stays is not new.

    Args:
        seconds: time after which images that are equal to the last bit count as frozen; 0 for never.
        clock: monotonic clock in seconds.

    Raises:
        UnservableEnv: the time is negative, NaN or infinite.
    """

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        if not (math.isfinite(seconds) and seconds >= 0):
            raise UnservableEnv(f"frozen_after is {seconds}; it must be 0, for never, or more seconds.")
        self._seconds, self._clock = seconds, clock
        self._changes: dict[str, tuple[np.ndarray, float]] = {}

    def fault(self, observation: Mapping[str, np.ndarray]) -> str:
        """The sentence about a camera that has frozen; empty without one.

        Args:
            observation: newest arrays by key; those of three axes are images.
        """
        now = self._clock()
        for key, image in observation.items():
            if not self._seconds or image.ndim != 3:
                continue
            before, since = self._changes.get(key, (None, now))
            if before is None or not np.array_equal(before, image):
                self._changes[key] = image.copy(), now
            elif now - since > self._seconds:
                return (
                    f"The camera {key} has frozen: its image has been the same to the last bit for {now - since:.1f} s "
                    f"(frozen_after is {self._seconds:g} s; 0 where images may stand still, as a simulator's). Check "
                    "its cable, and start the robot's program again."
                )
        return ""
