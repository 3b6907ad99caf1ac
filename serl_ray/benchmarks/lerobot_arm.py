"""A stand-in for an arm of LeRobot's, which goes to its goals at once, and its env, for `serl-robot`."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
from serl_robot.lerobot import LeRobotEnv, LeRobotSettings

SO101 = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper")
"""Joints of an SO-101."""
GRIPPER_START = 90.0
CAMERA_SHAPE = (480, 640)


class CalibratedDevice:
    """A device of LeRobot's interface that is calibrated and can be connected."""

    name = "fake"
    id = "black"
    is_calibrated: Any = True

    def __init__(self) -> None:
        self.is_connected = False

    def connect(self, calibrate: bool = True) -> None:
        """Connects the device."""
        assert not calibrate, "LeRobot would ask a person to move the joints"
        self.is_connected = True

    def disconnect(self) -> None:
        """Disconnects the device."""
        self.is_connected = False


class ObedientArm(CalibratedDevice):
    """An arm whose joints are at their goals when they are observed.

    Args:
        joints: names of the joints.
        cameras: height and width by camera.
    """

    def __init__(self, joints: tuple[str, ...] = SO101, cameras: Mapping[str, tuple[int, int]] | None = None) -> None:
        super().__init__()
        self.config = SimpleNamespace(use_degrees=True)
        self.joints, self.cameras = joints, dict(cameras or {})
        self.goals = {f"{name}.pos": GRIPPER_START if name.endswith("gripper") else 0.0 for name in joints}
        self.places = dict(self.goals)

    @property
    def action_features(self) -> dict[str, Any]:
        """Type of each number of an action."""
        return {name: float for name in self.goals}

    @property
    def observation_features(self) -> dict[str, Any]:
        """Type or shape of each part of an observation."""
        return self.action_features | {name: (*shape, 3) for name, shape in self.cameras.items()}

    def get_observation(self) -> dict[str, Any]:
        """The places of the joints, which are their goals, and the images."""
        assert self.is_connected
        self.move()
        return self.places | {name: np.full((*shape, 3), 7, np.uint8) for name, shape in self.cameras.items()}

    def move(self) -> None:
        """Brings the joints to their goals."""
        self.places.update(self.goals)

    def send_action(self, action: Mapping[str, float]) -> dict[str, float]:
        """Sets the goals, which are returned."""
        assert self.is_connected and action.keys() == self.goals.keys()
        self.goals.update(action)
        return dict(self.goals)


def obedient_env(hz: float) -> LeRobotEnv:
    """The env of an arm with two cameras of 480x640, whose images are resized to 128x128.

    Args:
        hz: steps a second.
    """
    arm = ObedientArm(cameras={"front": CAMERA_SHAPE, "wrist": CAMERA_SHAPE})
    return LeRobotEnv(arm, settings=LeRobotSettings(hz=hz, person_judges=False))
