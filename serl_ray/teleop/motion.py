"""The motion of a person: the action of a command, within its limits, with the presses for grippers."""

from __future__ import annotations

import numpy as np

from serl_ray.teleop.grips import Grips
from serl_ray.teleop.limits import Limits
from serl_ray.teleop.twists import Twist, TwistMap


class PersonMotion:
    """Makes the actions of a person, one after the other.

    Args:
        limits: limits of the motion.
        twist_map: makes actions of twists.

    Attributes:
        grips: presses for grippers that wait.
    """

    def __init__(self, limits: Limits, twist_map: TwistMap) -> None:
        self._limits, self._twist_map = limits, twist_map
        self.grips = Grips(twist_map.layout)
        self.rest()

    def rest(self) -> None:
        """No person acts in this step: the next motion begins at rest."""
        self._previous = np.zeros(self._twist_map.layout.action_dim, np.float32)

    def action(self, motion: Twist | np.ndarray, now: float) -> tuple[np.ndarray, int]:
        """The action (A + G,) of a command's motion, and the number of presses for grippers that came too late.

        Raises:
            TwistError: no action can be made of the twist.
        """
        wanted = self._twist_map.action(motion) if isinstance(motion, Twist) else motion
        action = self._limits.limited(wanted, self._previous, self._twist_map.layout)
        expired = self.grips.put_into(action, now)
        self._previous = action
        return action, expired
