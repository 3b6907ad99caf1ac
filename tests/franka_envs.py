"""A Franka env with a scripted expert, which goes straight to the target pose."""

from __future__ import annotations

import numpy as np

from serl_ray.envs.franka import FrankaServerEnv
from serl_ray.envs.franka.frames import with_quaternion
from serl_ray.envs.franka.settings import read_settings


class ReachingFranka(FrankaServerEnv):
    """One arm in the base's frame with a target pose, of which the expert sees nothing but the position."""

    def __init__(self, settings: str, setup_mode: str = "single-arm-fixed-gripper") -> None:
        super().__init__(settings, setup_mode)
        arm = read_settings(settings).arms[0]
        self._goal, self._reach = with_quaternion(np.array(arm.target_pose))[:3], arm.translation_scale

    def expert_action(self) -> np.ndarray:
        """The action (6,): as far towards the target as one step goes."""
        way = (self._goal - self._arms[0].state.pose[:3]) / self._reach
        return np.concatenate([way / max(1.0, np.abs(way).max()), np.zeros(3)]).astype(np.float32)
