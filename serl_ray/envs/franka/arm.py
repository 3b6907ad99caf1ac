"""One Franka arm by its server: motions, limits, and the way to the reset pose."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation, Slerp

from serl_ray.data.episodes import EnvFault
from serl_ray.envs.franka.box import SafetyBox
from serl_ray.envs.franka.frames import RelativeFrame, distance, moved, offsets, with_euler, with_quaternion
from serl_ray.envs.franka.gripper import BinaryGripper
from serl_ray.envs.franka.server import FrankaServer
from serl_ray.envs.franka.settings import PROPRIO, ArmSettings, FrankaSettings

JOINT_LIMITS = {
    "panda": (
        (-2.8973, -1.7628, -2.8973, -3.0718, -2.8973, -0.0175, -2.8973),
        (2.8973, 1.7628, 2.8973, -0.0698, 2.8973, 3.7525, 2.8973),
    ),
    "fr3": (
        (-2.7437, -1.7837, -2.9007, -3.0421, -2.8065, 0.5445, -3.0159),
        (2.7437, 1.7837, 2.9007, -0.1518, 2.8065, 4.5169, 3.0159),
    ),
}
"""Lower and upper limits of the joints by robot, rad, as the manufacturer gives them."""
RESET_TURN = 1.0
"""Greatest rate of turning of the move to the reset pose, rad/s."""
ARRIVED_TURN = 0.2
"""Angle from the reset pose within which an arm has arrived, rad."""


class FrankaArm:
    """One arm with its gripper.

    Args:
        settings: the arm's own settings.
        common: settings of all arms.

    Attributes:
        state: newest measured state.
        server: the arm's server.
        gripper: the arm's gripper.
    """

    def __init__(self, settings: ArmSettings, common: FrankaSettings) -> None:
        self._settings, self._common = settings, common
        self.server = FrankaServer(settings.server, common.server_timeout)
        self.gripper = BinaryGripper(self.server, common.gripper_seconds)
        self._box = SafetyBox(settings.box_low, settings.box_high)
        self._scale = np.repeat([settings.translation_scale, settings.rotation_scale], 3)
        self.state = self.server.state()
        self._frame = RelativeFrame(common.frame, self.state.pose)

    def target_of(self, action: np.ndarray) -> np.ndarray:
        """The pose (7,) to which a motion (6,) in [-1, 1], in the frame of the settings, leads from the newest
        state."""
        motion = np.clip(self._frame.to_base(action), -1.0, 1.0) * self._scale
        return self._box.clip(moved(self.state.pose, motion))

    def observe(self) -> None:
        """Reads the state.

        Raises:
            EnvFault: it is wrong, or a joint is at its limit.
        """
        self.state = self.server.state()
        self._frame.follow(self.state.pose)

    def check_joints(self) -> None:
        """Raises EnvFault where a joint is at its limit."""
        low, high = (np.array(limit) for limit in JOINT_LIMITS[self._common.robot])
        margin = self._common.joint_margin
        at_limit = (self.state.q <= low + margin) | (self.state.q >= high - margin)
        for joint in np.flatnonzero(at_limit):
            raise EnvFault(
                "error",
                f"Joint {joint + 1} of {self.server.url} is at {self.state.q[joint]:.3f} rad, and its limits are "
                f"{low[joint]:g} to {high[joint]:g} (joint_margin {margin:g}): reset the joints "
                "(joint_reset_period), or make the box smaller.",
            )

    def begin_episode(self) -> None:
        """Makes the present pose the one that poses are relative to."""
        self.observe()
        self._frame = RelativeFrame(self._common.frame, self.state.pose)

    def proprio(self) -> np.ndarray:
        """The chosen parts of the state (D,), in alphabetical order of their names; Euler angles for rotations."""
        state = self.state
        parts = {
            "gripper_pose": np.array([state.gripper]),
            "tcp_force": state.force,
            "tcp_pose": with_euler(self._frame.relative(state.pose)),
            "tcp_torque": state.torque,
            "tcp_vel": self._frame.from_base(state.vel),
        }
        return np.concatenate([parts[name] for name in PROPRIO if name in self._common.proprio_keys])

    def is_at_target(self) -> bool | None:
        """True within the tolerance of the target pose; None if there is no target."""
        if self._settings.target_pose is None:
            return None
        target = with_quaternion(np.array(self._settings.target_pose))
        return bool(np.all(np.abs(offsets(self.state.pose, target)) < np.array(self._settings.target_tolerance)))

    def draw_reset_pose(self, rng: np.random.Generator) -> np.ndarray:
        """The reset pose (7,) with its random part."""
        pose = np.array(self._settings.reset_pose)
        reach = self._settings.random_xy
        pose[:2] += rng.uniform(-reach, reach, 2)
        pose[5] += rng.uniform(-self._settings.random_yaw, self._settings.random_yaw)
        return with_quaternion(pose)

    def path_to(self, goal: np.ndarray, steps: int) -> np.ndarray:
        """A straight path (steps, 7) from the newest pose to a goal (7,)."""
        shares = np.linspace(0.0, 1.0, steps)
        start = self.state.pose
        turns = Slerp([0.0, 1.0], Rotation.from_quat([start[3:], goal[3:]]))(shares)
        positions = start[:3] + shares[:, None] * (goal[:3] - start[:3])
        return np.concatenate([positions, turns.as_quat()], axis=1)

    def seconds_to(self, goal: np.ndarray) -> float:
        """The duration of the move from the newest pose to a goal (7,)."""
        metres, radians = distance(self.state.pose, goal)
        return max(self._common.reset_seconds, metres / self._common.reset_speed, radians / RESET_TURN)

    def lacking(self, goal: np.ndarray) -> str:
        """The way that is left to a goal (7,), in words; empty where the arm has arrived."""
        metres, radians = distance(self.state.pose, goal)
        if metres <= self._common.reset_tolerance and radians <= ARRIVED_TURN:
            return ""
        return f"{self.server.url} is still {metres:.3f} m and {radians:.2f} rad away from its reset pose"

    def use(self, parameters: str) -> None:
        """Sets the parameters `compliance` or `precision` of the controller."""
        given: Any = getattr(self._settings, parameters)
        self.server.set_parameters(given)
