"""A Cartesian gripper: its MJCF and its controller.

A hand is a free body welded to a mocap body; moving the mocap body drags the hand along with a force that is soft
enough to press, to slide and to comply. Frames are the world's: metres, z up. Rotations are rotation vectors, radians,
from the home pose, in which a hand points down.
"""

from __future__ import annotations

from dataclasses import dataclass

import mujoco
import numpy as np

from serl_ray.envs.tabletop.mjcf import box, look_at, numbers

TRANSLATION_SCALE = 0.02
"""Metres per step of a full-scale action (0.2 m/s at 10 Hz)."""
ROTATION_SCALE = 0.08
"""Radians per step of a full-scale action."""
ROTATION_LIMIT = 0.25
"""Largest component, radians, of a commanded rotation vector."""
LENGTH_UNIT = 0.05
"""Unit of lengths in observations, metres."""
FINGER_TRAVEL = 0.04
"""Travel of each finger from the middle, metres."""
_GRIP = 0.02
"""Distance past the middle to which a closing finger is commanded, metres, so that it also squeezes thin objects."""
_COLORS, _METAL = ("0.16 0.42 0.85", "0.95 0.55 0.10"), "0.25 0.25 0.28"


@dataclass(frozen=True)
class ArmSpec:
    """Properties that differ between arms.

    Attributes:
        home: position (3,) of the tool centre point (tcp) around which episodes start, metres.
        low: lowest commanded position (3,).
        high: highest commanded position (3,).
        wrist_view: point (3,) in the hand's frame that the wrist camera looks at.
        held: MJCF of the object in a fixed gripper; empty for a learned gripper.
        tilts: whether the hand follows rotations about x and y; otherwise it points down, and turns about the vertical
            alone.
    """

    home: tuple[float, float, float]
    low: tuple[float, float, float]
    high: tuple[float, float, float]
    wrist_view: tuple[float, float, float] = (0.0, 0.0, -0.03)
    held: str = ""
    tilts: bool = True

    @property
    def has_gripper(self) -> bool:
        return not self.held


def arm_body(index: int, spec: ArmSpec) -> str:
    """MJCF bodies of arm `index`: the mocap target and the hand with its wrist camera."""
    color, home = _COLORS[index], numbers(spec.home)
    fingers = _finger(index, "left", 1) + _finger(index, "right", -1) if spec.has_gripper else _clamp()
    return f"""
    <body name="target{index}" mocap="true" pos="{home}"/>
    <body name="hand{index}" pos="{home}" gravcomp="1">
      <freejoint/>
      <inertial pos="0 0 0" mass="1" diaginertia="0.005 0.005 0.005"/>
      {box((0.018, 0.05, 0.012) if spec.has_gripper else (0.025, 0.025, 0.012), color, (0, 0, 0.072))}
      <geom type="cylinder" class="visual" size="0.016 0.1" pos="0 0 0.18" rgba="{color} 1"/>
      {look_at(f"wrist{index}", (0.1, 0.0, 0.09), spec.wrist_view, fovy=70)}
      {fingers}
      {spec.held}
    </body>"""


def _finger(arm: int, name: str, side: int) -> str:
    return f"""
      <body name="{name}{arm}" pos="0 {side * 0.005} 0.025" gravcomp="1">
        <joint name="{name}{arm}" type="slide" axis="0 {side} 0" range="0 {FINGER_TRAVEL}" damping="1"/>
        {box((0.011, 0.005, 0.035), _METAL, name=f"pad_{name}{arm}", collides_as="pad", mass=0.05)}
      </body>"""


def _clamp() -> str:
    return "".join(box((0.004, 0.012, 0.025), _METAL, (x, 0, 0.04)) for x in (-0.016, 0.016))


def arm_weld(index: int) -> str:
    """MJCF equality that makes a hand follow its target."""
    return f'<weld body1="target{index}" body2="hand{index}" solref="0.012 1" solimp="0.95 0.99 0.001"/>'


def arm_actuators(index: int) -> str:
    """MJCF position servos of a learned gripper's two fingers."""
    servo = '<position joint="{}{}" kp="500" kv="10" ctrlrange="{} {}" forcerange="-25 25"/>'
    return "".join(servo.format(name, index, -_GRIP, FINGER_TRAVEL) for name in ("left", "right"))


class Arm:
    """The controller of one arm in a running simulation.

    Commands start from the actual pose of the hand, so a blocked hand builds up no force: its goal is always within one
    step of its pose, and the pose is the whole state, without a hidden target.
    """

    def __init__(self, model: mujoco.MjModel, data: mujoco.MjData, index: int, spec: ArmSpec) -> None:
        self.spec, self._data = spec, data
        self.body = model.body(f"hand{index}").id
        self._mocap = model.body(f"target{index}").mocapid[0]
        self._hand_qpos = model.jnt_qposadr[model.body(f"hand{index}").jntadr[0]]
        if spec.has_gripper:
            names = (f"left{index}", f"right{index}")
            self.pads = tuple(model.geom(f"pad_{name}").id for name in names)
            self._finger_qpos = [model.joint(name).qposadr[0] for name in names]
            self._servos = [
                int(np.flatnonzero(model.actuator_trnid[:, 0] == model.joint(name).id)[0]) for name in names
            ]
        self.is_closed = False
        self._turn_limit = ROTATION_LIMIT * np.array([spec.tilts, spec.tilts, True])
        self._start, self._goal = np.zeros(6), np.zeros(6)

    @property
    def position(self) -> np.ndarray:
        """Position (3,) of the tcp, metres."""
        position: np.ndarray = self._data.xpos[self.body]
        return position

    @property
    def rotation(self) -> np.ndarray:
        """Rotation vector (3,) of the hand, radians."""
        return rotation_vector(self._data.xquat[self.body])

    @property
    def opening(self) -> float:
        """Opening of the fingers, from 0 (closed) to 1 (wide open)."""
        return float(self._data.qpos[self._finger_qpos].mean() / FINGER_TRAVEL)

    def proprio(self) -> np.ndarray:
        """Proprioception (6,), or (8,) with a learned gripper.

        Position from home / LENGTH_UNIT (3,), rotation / ROTATION_LIMIT (3,), the gripper's opening and command in [-1,
        1] (2,).
        """
        pose = [*(self.position - self.spec.home) / LENGTH_UNIT, *self.rotation / ROTATION_LIMIT]
        gripper = [2 * self.opening - 1, -1.0 if self.is_closed else 1.0] if self.spec.has_gripper else []
        return np.array(pose + gripper)

    def place(self, position: np.ndarray) -> None:
        """Places the hand at a position (3,), pointing down and open; for resets."""
        self._data.qpos[self._hand_qpos : self._hand_qpos + 7] = [*position, 1, 0, 0, 0]
        self._data.mocap_pos[self._mocap] = position
        self._data.mocap_quat[self._mocap] = [1, 0, 0, 0]
        if self.spec.has_gripper:
            self._data.qpos[self._finger_qpos] = FINGER_TRAVEL
            self._set_gripper(is_closed=False)

    def command(self, motion: np.ndarray) -> None:
        """Sets the goal of this step from a motion (6,) in [-1, 1]: translation, then rotation in the world's frame."""
        self._start[:] = *self.position, *self.rotation
        turned = np.empty(4)
        mujoco.mju_mulQuat(turned, quaternion(motion[3:] * ROTATION_SCALE), self._data.xquat[self.body])
        self._goal[:3] = np.clip(self.position + motion[:3] * TRANSLATION_SCALE, self.spec.low, self.spec.high)
        self._goal[3:] = np.clip(rotation_vector(turned), -self._turn_limit, self._turn_limit)

    def command_gripper(self, value: float) -> bool:
        """Closes at `value` <= -0.5, opens at >= 0.5, else holds; returns whether the command was useless."""
        if abs(value) < 0.5:
            return False
        is_useless = self.is_closed == (value < 0)
        self._set_gripper(is_closed=value < 0)
        return is_useless

    def advance(self, fraction: float) -> None:
        """Moves the target to `fraction` of the way to this step's goal."""
        pose = self._start + fraction * (self._goal - self._start)
        self._data.mocap_pos[self._mocap] = pose[:3]
        self._data.mocap_quat[self._mocap] = quaternion(pose[3:])

    def _set_gripper(self, is_closed: bool) -> None:
        self.is_closed = bool(is_closed)
        self._data.ctrl[self._servos] = -_GRIP if is_closed else FINGER_TRAVEL


def rotation_vector(quat: np.ndarray) -> np.ndarray:
    """Rotation vector (3,), radians, of a unit quaternion (4,), w first."""
    result = np.empty(3)
    mujoco.mju_quat2Vel(result, quat, 1.0)
    return result


def quaternion(rotation: np.ndarray) -> np.ndarray:
    """Unit quaternion (4,), w first, of a rotation vector (3,), radians."""
    result = np.array([1.0, 0.0, 0.0, 0.0])
    mujoco.mju_quatIntegrate(result, np.asarray(rotation, np.float64), 1.0)
    return result
