"""Safety box: the poses to which a robot may be sent."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from serl_ray.envs.franka.frames import with_euler, with_quaternion


class SafetyBox:
    """Limits of a pose: metres by axis, and Euler angles (extrinsic x, y, z, radians).

    The first Euler angle is bounded by its absolute value, because it jumps from pi to -pi where a tool points down.

    Args:
        low: least x, y, z, |first angle|, second and third angle.
        high: greatest ones.

    Raises:
        ValueError: a limit is above its opposite, or an absolute value has a negative limit.
    """

    def __init__(self, low: Sequence[float], high: Sequence[float]) -> None:
        self._low, self._high = np.array(low, np.float64), np.array(high, np.float64)
        if (wrong := np.flatnonzero(self._low > self._high)).size:
            axis = wrong[0]
            raise ValueError(
                f"box_low[{axis}] is {low[axis]:g}, above box_high[{axis}], {high[axis]:g}: give the lower limit first."
            )
        if self._low[3] < 0.0:
            raise ValueError(
                f"box_low[3] is {low[3]:g}: the first Euler angle is bounded by its absolute value, so its limits are "
                "0 or more (about pi where the tool points down)."
            )

    def clip(self, pose: np.ndarray) -> np.ndarray:
        """The nearest pose (7,) in the box, number by number."""
        limited = self._bounded(with_euler(pose))
        limited[3] = np.copysign(limited[3], with_euler(pose)[3])
        return with_quaternion(limited)

    def overshoot(self, pose: np.ndarray) -> np.ndarray:
        """Amounts (6,) by which a pose (6,) with Euler angles leaves the box; 0 inside."""
        return np.abs(self._absolute(pose) - self._bounded(pose))

    def _bounded(self, pose: np.ndarray) -> np.ndarray:
        return np.clip(self._absolute(pose), self._low, self._high)

    def _absolute(self, pose: np.ndarray) -> np.ndarray:
        pose = np.array(pose, np.float64)
        pose[3] = abs(pose[3])
        return pose
