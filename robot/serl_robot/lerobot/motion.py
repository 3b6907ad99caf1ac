"""Motions of an arm: from the numbers of an action to its joints, and back."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Sequence

import numpy as np

from serl_robot.lerobot.settings import LeRobotSettings
from serl_robot.spaces import UnservableEnv

SOLVER_ROUNDS = 20
"""Greatest number of rounds of the inverse kinematics for one motion."""
SOLVED = 5e-5
"""Distance in metres from the wanted place of the tip at which the inverse kinematics ends."""
ORIENTATION_WEIGHT = 0.01
"""Weight of the tip's orientation beside its place: arms with five joints cannot have both."""


class Tip:
    """Tip of an arm.

    Args:
        kinematics: LeRobot's kinematics of the arm: `forward_kinematics` and `inverse_kinematics` in degrees.
        settings: settings of the robot.
    """

    def __init__(self, kinematics: Any, settings: LeRobotSettings) -> None:
        self._kinematics = kinematics
        self.step = settings.tip_step
        self._low = np.array(settings.tip_low or [-np.inf] * 3)
        self._high = np.array(settings.tip_high or [np.inf] * 3)

    def place(self, joints: np.ndarray) -> np.ndarray:
        """x, y, z (3,) of the tip in metres from the base, for joints (J,) in degrees."""
        place: np.ndarray = self._pose(joints)[:3, 3]
        return place

    def moved(self, joints: np.ndarray, shift: np.ndarray, is_tools: bool = False) -> np.ndarray:
        """The joints (J,) with the tip shifted by x, y, z in metres, in its box, and turned as little as can be.

        Args:
            joints: present joints (J,) in degrees.
            shift: shift (3,).
            is_tools: whether the shift has the axes of the tip, in place of those of the base.
        """
        pose = np.array(self._pose(joints))
        here = pose[:3, 3].copy()
        shift = pose[:3, :3] @ shift if is_tools else np.asarray(shift)
        pose[:3, 3] = np.clip(here + shift, np.minimum(self._low, here), np.maximum(self._high, here))
        found = np.array(joints, np.float64)
        for _ in range(SOLVER_ROUNDS):
            if np.linalg.norm(self.place(found) - pose[:3, 3]) < SOLVED:
                break
            found = np.asarray(
                self._kinematics.inverse_kinematics(found, pose, orientation_weight=ORIENTATION_WEIGHT), np.float64
            )
        return found

    def _pose(self, joints: np.ndarray) -> np.ndarray:
        return np.asarray(self._kinematics.forward_kinematics(np.asarray(joints, np.float64)))


class JointMotion:
    """Differences of joints: a number for each joint.

    Args:
        step: greatest motion of each joint (J,).
    """

    def __init__(self, step: np.ndarray) -> None:
        self._step, self.size = step, len(step)

    def moved(self, joints: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        """The joints (J,) after a motion of `numbers` (J,) in [-1, 1]."""
        moved: np.ndarray = joints + numbers * self._step
        return moved

    def numbers(self, before: np.ndarray, after: np.ndarray) -> np.ndarray:
        """The numbers (J,) in [-1, 1] of the motion from one pose (J,) to another, or as far as a step goes."""
        return np.clip((after - before) / self._step, -1.0, 1.0)


class TipMotion:
    """Shifts of the tip: x, y and z.

    Args:
        tip: tip of the arm.
    """

    size = 3

    def __init__(self, tip: Tip) -> None:
        self._tip = tip

    def moved(self, joints: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        """The joints (J,) after a shift of `numbers` (3,) in [-1, 1]; a shift of zeros leaves them as they are."""
        return self._tip.moved(joints, numbers * self._tip.step) if np.any(numbers) else joints

    def numbers(self, before: np.ndarray, after: np.ndarray) -> np.ndarray:
        """The numbers (3,) in [-1, 1] of the shift from one pose (J,) to another, or as far as a step goes."""
        return np.clip((self._tip.place(after) - self._tip.place(before)) / self._tip.step, -1.0, 1.0)


def kinematics_of(robot: Any, joints: Sequence[str], settings: LeRobotSettings) -> Any:
    """LeRobot's kinematics of an arm.

    Args:
        robot: robot of LeRobot, whose config may say that its joints are not in degrees.
        joints: names of the arm's joints, as the URDF file has them.
        settings: settings of the robot.

    Raises:
        UnservableEnv: the file or placo is missing, or the robot's joints are not in degrees.
    """
    if getattr(getattr(robot, "config", None), "use_degrees", True) is False:
        raise UnservableEnv("A URDF needs joints in degrees: start the robot with --robot.use_degrees=true.")
    if not Path(settings.urdf).is_file():
        raise UnservableEnv(f"There is no URDF file {settings.urdf}.")
    try:
        from lerobot.model.kinematics import RobotKinematics

        return RobotKinematics(settings.urdf, settings.tip_frame, list(joints))
    except ImportError as error:
        raise UnservableEnv(f"Motions of the tip need placo (pip install 'lerobot[kinematics]'): {error}") from error
