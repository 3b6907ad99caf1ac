"""State vector, targets and frames equal those of the original's env and wrappers, on answers of a server.

The reference is written in NumPy alone, from the equations of REFERENCE and ROBOTS.
"""

from __future__ import annotations

import numpy as np
import pytest
from franka_server import served, write_settings

from serl_ray.benchmarks.franka_arm import arm_settings
from serl_ray.envs.franka import FrankaServerEnv
from serl_ray.envs.franka.box import SafetyBox
from serl_ray.envs.franka.frames import RelativeFrame, tool_to_base, with_euler, with_quaternion

EXACT = {"rtol": 0.0, "atol": 1e-6}


def matrix_of(quaternion):
    x, y, z, w = np.array(quaternion) / np.linalg.norm(quaternion)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


def matrix_of_angles(angles):
    """Rz Ry Rx: turns about the fixed axes x, y, z, one after the other."""
    (a, b, c), (sa, sb, sc) = np.cos(angles), np.sin(angles)
    about_x = np.array([[1, 0, 0], [0, a, -sa], [0, sa, a]])
    about_y = np.array([[b, 0, sb], [0, 1, 0], [-sb, 0, b]])
    about_z = np.array([[c, -sc, 0], [sc, c, 0], [0, 0, 1]])
    return about_z @ about_y @ about_x


def angles_of(matrix):
    return np.array(
        [
            np.arctan2(matrix[2, 1], matrix[2, 2]),
            -np.arcsin(matrix[2, 0]),
            np.arctan2(matrix[1, 0], matrix[0, 0]),
        ]
    )


def adjoint(pose):
    x, y, z = pose[:3]
    rotation, skew = matrix_of(pose[3:]), np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.block([[rotation, np.zeros((3, 3))], [skew @ rotation, rotation]])


def expected_target(pose, action, settings):
    """The target's position (3,) and rotation (3, 3)."""
    motion = np.clip(adjoint(pose) @ action[:6], -1, 1)
    position = np.clip(
        pose[:3] + motion[:3] * settings["translation_scale"], settings["box_low"][:3], settings["box_high"][:3]
    )
    angles = angles_of(matrix_of_angles(motion[3:] * settings["rotation_scale"]) @ matrix_of(pose[3:]))
    low, high = settings["box_low"][3:], settings["box_high"][3:]
    first = np.sign(angles[0]) * np.clip(abs(angles[0]), low[0], high[0])
    return position, matrix_of_angles([first, *np.clip(angles[1:], low[1:], high[1:])])


def expected_state(answer, first):
    """The original's 19 numbers: gripper, force, pose relative to the first one, torque, the tool's velocity."""
    pose, start = np.array(answer["pose"]), np.array(first["pose"])
    inverse = matrix_of(start[3:]).T
    relative = inverse @ matrix_of(pose[3:])
    velocity = np.linalg.inv(adjoint(pose)) @ answer["vel"]
    position = inverse @ (pose[:3] - start[:3])
    parts = [[answer["gripper_pos"]], answer["force"], position, angles_of(relative), answer["torque"], velocity]
    return np.concatenate(parts)


@pytest.fixture
def arms():
    with served() as left, served() as right:
        yield left, right


@pytest.mark.parametrize(
    "mode",
    ["single-arm-fixed-gripper", "single-arm-learned-gripper", "dual-arm-fixed-gripper", "dual-arm-learned-gripper"],
)
def test_states_and_targets_equal_the_original(arms, tmp_path, mode):
    used = arms if mode.startswith("dual") else arms[:1]
    settings = [arm_settings(url) for _, url in used]
    env = FrankaServerEnv(write_settings(tmp_path / "franka.yaml", settings), mode)
    rng = np.random.default_rng(0)
    observation, _ = env.reset(seed=0)
    firsts = [arm.answers[-1] for arm, _ in used]
    for _ in range(40):
        action = rng.uniform(-1.0, 1.0, env.action_space.shape)
        for arm, _ in used:
            arm.overrides = {name: rng.normal(size=size).tolist() for name, size in (("vel", 6), ("force", 3))}
        before = [np.array(arm.answers[-1]["pose"]) for arm, _ in used]
        observation, *_ = env.step(action.astype(np.float32))
        states = [expected_state(arm.answers[-1], first) for (arm, _), first in zip(used, firsts, strict=True)]
        np.testing.assert_allclose(observation["state"], np.concatenate(states), **EXACT)
        numbers = action.astype(np.float32).reshape(len(used), -1)
        for (arm, _), own, pose, given in zip(used, numbers, before, settings, strict=True):
            position, rotation = expected_target(pose, own, given)
            np.testing.assert_allclose(arm.poses[-1][:3], position, **EXACT)
            np.testing.assert_allclose(matrix_of(arm.poses[-1][3:]), rotation, **EXACT)
    assert observation["state"].shape == (19 * len(used),)
    env.close()


def random_pose(rng):
    quaternion = rng.normal(size=4)
    return np.array([*rng.uniform(-1, 1, 3), *quaternion / np.linalg.norm(quaternion)])


@pytest.mark.parametrize("kind", ["hil-serl", "tool", "base"])
def test_a_frame_takes_its_own_motions_back(kind):
    rng = np.random.default_rng(1)
    for _ in range(20):
        first, pose, motion = random_pose(rng), random_pose(rng), rng.normal(size=6)
        frame = RelativeFrame(kind, first)
        frame.follow(pose)
        np.testing.assert_allclose(frame.from_base(frame.to_base(motion)), motion, **EXACT)
        if kind == "hil-serl":
            np.testing.assert_allclose(frame.to_base(motion), adjoint(pose) @ motion, **EXACT)
    np.testing.assert_allclose(tool_to_base(pose, "tool")[3:, :3], 0.0)


def test_without_a_frame_the_pose_is_the_base_s():
    pose = random_pose(np.random.default_rng(2))
    np.testing.assert_array_equal(RelativeFrame("base", pose).relative(pose), pose)
    np.testing.assert_allclose(with_euler(RelativeFrame("tool", pose).relative(pose)), 0.0, atol=1e-12)


def test_angles_and_quaternions_are_one_another():
    angles = np.array([0.1, -0.2, 0.3, 3.1, 0.4, -1.2])
    pose = with_quaternion(angles)
    np.testing.assert_allclose(with_euler(pose), angles, **EXACT)
    np.testing.assert_allclose(matrix_of(pose[3:]), matrix_of_angles(angles[3:]), **EXACT)


def test_the_first_angle_is_bounded_on_both_sides_of_pi():
    box = SafetyBox([0, 0, 0, 3.0, -0.1, -0.1], [1, 1, 1, 3.14, 0.1, 0.1])
    for first, expected in ((3.1, 3.1), (-3.1, -3.1), (2.5, 3.0), (-2.5, -3.0)):
        clipped = with_euler(box.clip(with_quaternion(np.array([0.5, 2.0, -1.0, first, 0.0, 0.3]))))
        np.testing.assert_allclose(clipped, [0.5, 1.0, 0.0, expected, 0.0, 0.1], **EXACT)
