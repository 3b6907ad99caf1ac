"""Poses, and actions and velocities in the frame of the tool, for any robot whose tip has a pose.

A pose is (7,): x, y, z in metres and the quaternion x, y, z, w, in the robot's base frame; as (6,) it has extrinsic
Euler angles x, y, z in radians instead.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from scipy.spatial.transform import Rotation

FrameKind = Literal["hil-serl", "tool", "base"]


def with_quaternion(pose: np.ndarray) -> np.ndarray:
    """The pose (7,) of one with Euler angles (6,)."""
    return np.concatenate([pose[:3], Rotation.from_euler("xyz", pose[3:]).as_quat()])


def with_euler(pose: np.ndarray) -> np.ndarray:
    """The pose (6,) with Euler angles of one with a quaternion (7,)."""
    return np.concatenate([pose[:3], Rotation.from_quat(pose[3:]).as_euler("xyz")])


def moved(pose: np.ndarray, motion: np.ndarray) -> np.ndarray:
    """The pose (7,) after a motion (6,) about the base's axes: metres, and radians as Euler angles."""
    rotation = Rotation.from_euler("xyz", motion[3:]) * Rotation.from_quat(pose[3:])
    return np.concatenate([pose[:3] + motion[:3], rotation.as_quat()])


def distance(first: np.ndarray, second: np.ndarray) -> tuple[float, float]:
    """The distance of two poses (7,): metres, and radians about one axis."""
    turn = Rotation.from_quat(first[3:]).inv() * Rotation.from_quat(second[3:])
    return float(np.linalg.norm(first[:3] - second[:3])), float(turn.magnitude())


def offsets(pose: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The offsets (6,) of a pose (7,) from a target (7,): metres by axis, and Euler angles in the tool's frame."""
    turn = Rotation.from_quat(pose[3:]).inv() * Rotation.from_quat(target[3:])
    return np.concatenate([pose[:3] - target[:3], turn.as_euler("xyz")])


def tool_to_base(pose: np.ndarray, kind: FrameKind) -> np.ndarray:
    """The matrix (6, 6) that takes a motion (translation, rotation) in the tool's frame to the base's axes.

    Args:
        pose: pose (7,) of the tool.
        kind: `tool` rotates both parts alone. `hil-serl` adds the original's lower left block, [p] R with p the
            position, by which a translation also turns the tool; policies and demonstrations of HIL-SERL need it.
            `base` is no change.
    """
    if kind == "base":
        return np.eye(6)
    matrix = np.zeros((6, 6))
    matrix[:3, :3] = matrix[3:, 3:] = rotation = Rotation.from_quat(pose[3:]).as_matrix()
    if kind == "hil-serl":
        matrix[3:, :3] = np.cross(pose[:3], rotation, axisb=0, axisc=0)
    return matrix


class RelativeFrame:
    """Frame of a tool: poses are relative to the one at the reset, motions and velocities are along the tool's axes.

    Args:
        kind: see `tool_to_base`; with `base` everything stays as it is.
        pose: pose (7,) of the tool at the reset.
    """

    def __init__(self, kind: FrameKind, pose: np.ndarray) -> None:
        self._kind = kind
        self._first = Rotation.from_quat(pose[3:]), np.array(pose[:3])
        self.follow(pose)

    def follow(self, pose: np.ndarray) -> None:
        """Moves the frame with the tool, to its newest pose (7,)."""
        self._matrix = tool_to_base(pose, self._kind)

    def to_base(self, action: np.ndarray) -> np.ndarray:
        """A motion (6,) about the base's axes, of one in the frame."""
        return self._matrix @ action

    def from_base(self, action: np.ndarray) -> np.ndarray:
        """A motion or velocity (6,) in the frame, of one about the base's axes."""
        return np.linalg.solve(self._matrix, action)

    def relative(self, pose: np.ndarray) -> np.ndarray:
        """The pose (7,) relative to the one at the reset."""
        if self._kind == "base":
            return pose
        inverse = self._first[0].inv()
        turn = inverse * Rotation.from_quat(pose[3:])
        return np.concatenate([inverse.apply(pose[:3] - self._first[1]), turn.as_quat()])
