"""Check of a Franka's safety box against the poses that demonstrations use."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy.spatial.transform import Rotation

from serl_ray.data.observations import STATE
from serl_ray.data.reference import DemoReference
from serl_ray.envs.franka.box import SafetyBox
from serl_ray.envs.franka.settings import PROPRIO, ArmSettings, FrankaSettings
from serl_ray.envs.robot_checks.result import Curve, RobotCheck

MARGINS = np.array([0.02, 0.02, 0.02, 0.1, 0.1, 0.1])
"""Room around the demonstrations' poses in a proposed box, metres and radians."""
WIDE = 2.0
"""Ratio of a box's side to the proposed one from which it is larger than the task needs."""
OUTSIDE = 0.5
"""Share of a margin by which a demonstration may leave the box: impedance control does not stop at a target."""
PROPRIO_SIZES = {"gripper_pose": 1, "tcp_force": 3, "tcp_pose": 6, "tcp_torque": 3, "tcp_vel": 6}


def workspace_checks(settings: FrankaSettings, reference: DemoReference) -> Iterator[RobotCheck]:
    """The check of each arm's box; none where the demonstrations' state does not hold the pose."""
    used = [name for name in PROPRIO if name in settings.proprio_keys]
    per_arm = sum(PROPRIO_SIZES[name] for name in used)
    if STATE not in reference.starts or "tcp_pose" not in used:
        return
    rows = np.concatenate([course.vectors[STATE] for course in reference.courses])
    if rows.shape[1] != per_arm * len(settings.arms):
        return
    first = sum(PROPRIO_SIZES[name] for name in used[: used.index("tcp_pose")])
    for number, arm in enumerate(settings.arms):
        begin = number * per_arm + first
        yield _workspace(number, arm, _absolute(rows[:, begin : begin + 6], arm, settings.frame != "base"))


def _absolute(poses: np.ndarray, arm: ArmSettings, is_relative: bool) -> np.ndarray:
    """The poses (n, 6) in the base's frame, the first Euler angle by its absolute value."""
    if is_relative:
        first = Rotation.from_euler("xyz", arm.reset_pose[3:])
        turns = (first * Rotation.from_euler("xyz", poses[:, 3:])).as_euler("xyz")
        poses = np.concatenate([np.array(arm.reset_pose[:3]) + first.apply(poses[:, :3]), turns], axis=1)
    poses = np.array(poses)
    poses[:, 3] = np.abs(poses[:, 3])
    return poses


def _workspace(number: int, arm: ArmSettings, poses: np.ndarray) -> RobotCheck:
    reach = np.array([arm.random_xy, arm.random_xy, 0.0, 0.0, 0.0, arm.random_yaw])
    low, high = poses.min(axis=0) - MARGINS - reach, poses.max(axis=0) + MARGINS + reach
    low[3], high[3] = max(low[3], 0.0), min(high[3], np.pi)
    proposal = f"box_low: {_listed(low)}, box_high: {_listed(high)}"
    beyond = SafetyBox(arm.box_low, arm.box_high)
    outside = np.max([beyond.overshoot(pose) for pose in poses], axis=0) - reach
    title = f"Workspace of arm {number}"
    curves = [
        Curve("least of the box", np.array(arm.box_low)),
        Curve("greatest of the box", np.array(arm.box_high)),
        Curve("least of the demonstrations", poses.min(axis=0)),
        Curve("greatest of the demonstrations", poses.max(axis=0)),
    ]
    if (outside > OUTSIDE * MARGINS).any():
        axis = int((outside / MARGINS).argmax())
        text = (
            f"The demonstrations leave the box of the settings by {outside[axis]:.3g} in number {axis} of the pose, so "
            f"that the policy cannot go where they went. A box around them is {proposal}."
        )
        return RobotCheck(title, "wrong", text, curves=curves)
    ratios = (np.array(arm.box_high) - arm.box_low) / (high - low)
    if (ratios > WIDE).any():
        axis = int(ratios.argmax())
        text = (
            f"The box is {ratios[axis]:.1f} times as wide as the demonstrations need in number {axis} of the pose. A "
            f"smaller one is explored sooner and hits less: {proposal}."
        )
        return RobotCheck(title, "note", text, curves=curves)
    return RobotCheck(title, "fine", "The box fits the poses of the demonstrations.", curves=curves)


def _listed(pose: np.ndarray) -> str:
    return f"[{', '.join(f'{value:.3f}' for value in pose)}]"
