"""Motions of the scripted experts, which reach a goal from above from any pose, without stored phases."""

from __future__ import annotations

import numpy as np

from serl_ray.envs.tabletop.arm import ROTATION_LIMIT, ROTATION_SCALE, TRANSLATION_SCALE, Arm


def approach(error: np.ndarray, tolerance: float, hover: float, clear: float) -> np.ndarray:
    """The displacement (3,) that moves a tool to its goal along the goal's z axis.

    A tool within `tolerance` of the axis moves straight to the goal. Any other tool moves to `hover` above it, and
    sideways only from the height `clear`.

    Args:
        error: goal minus tool (3,), metres, in a frame whose z points away from the goal.
        tolerance: largest sideways error of a straight approach, metres.
        hover: height above the goal at which to correct sideways, metres.
        clear: height above the goal from which sideways motion hits nothing, metres.
    """
    if np.abs(error[:2]).max() <= tolerance:
        return error
    sideways = error[:2] if -error[2] >= clear else np.zeros(2)
    return np.array([*sideways, error[2] + hover])


def motion_action(arm: Arm, displacement: np.ndarray, yaw: float) -> np.ndarray:
    """Action (6,) in [-1, 1] that moves the tcp by `displacement` (3,), metres, and turns the hand to `yaw`."""
    upright = np.array([0.0, 0.0, np.clip(yaw, -ROTATION_LIMIT, ROTATION_LIMIT)])
    action = np.concatenate([displacement / TRANSLATION_SCALE, (upright - arm.rotation) / ROTATION_SCALE])
    return action.clip(-1.0, 1.0)


def square_yaw(rotation: np.ndarray) -> float:
    """Heading in [-pi/4, pi/4), radians, of a square object with the rotation matrix (3, 3).

    It is measured at the most level axis, so that it also holds for a cube on another side.
    """
    x, y, _ = rotation[:, np.abs(rotation[2]).argmin()]
    return float((np.arctan2(y, x) + np.pi / 4) % (np.pi / 2) - np.pi / 4)
