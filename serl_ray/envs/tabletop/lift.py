"""Tasks with learned grippers: one arm lifts a cube, or two arms lift a tray by its handles."""

from __future__ import annotations

from collections.abc import Sequence

import mujoco
import numpy as np

from serl_ray.envs.tabletop.arm import LENGTH_UNIT, ROTATION_LIMIT, TRANSLATION_SCALE, Arm, ArmSpec, quaternion
from serl_ray.envs.tabletop.mjcf import box
from serl_ray.envs.tabletop.motion import approach, motion_action, square_yaw
from serl_ray.envs.tabletop.scene import touches

CUBE_HALF = 0.02
TRAY_HALF = (0.06, 0.11, 0.006)
"""Half-sizes of the tray, metres; a handle stands at either end of its y axis."""
HANDLE_OFFSET, HANDLE_HALF = 0.09, (0.022, 0.011, 0.021)
LIFT_HEIGHT = 0.05
"""Height of the object above its resting place at success, metres; every hand must grip it."""
LEVEL = 0.95
"""Smallest cosine of the object's tilt at success."""


def cube() -> str:
    """The cube, which is gripped as a whole."""
    return _free_body(box((CUBE_HALF,) * 3, "0.88 0.12 0.14", name="grip0", collides_as="object", mass=0.05), CUBE_HALF)


def tray() -> str:
    """The tray, with the left arm's handle at +y and the right arm's handle at -y."""
    geoms = box(TRAY_HALF, "0.93 0.91 0.84", collides_as="object", mass=0.08)
    for i, (y, color) in enumerate([(HANDLE_OFFSET, "0.88 0.12 0.14"), (-HANDLE_OFFSET, "0.55 0.15 0.70")]):
        pos = (0, y, TRAY_HALF[2] + HANDLE_HALF[2])
        geoms += box(HANDLE_HALF, color, pos, name=f"grip{i}", collides_as="object", mass=0.02)
    return _free_body(geoms, TRAY_HALF[2])


def _free_body(geoms: str, height: float) -> str:
    return f'<body name="object" pos="0 0 {height}"><freejoint/>{geoms}</body>'


def fence(half_x: float, half_y: float) -> str:
    """Four invisible walls that keep the object within reach of the grippers; only objects collide with them."""
    inward = ((1, 0), (-1, 0), (0, 1), (0, -1))
    plane = '<geom type="plane" class="fence" size="1 1 1" pos="{} {} 0" zaxis="{} {} 0"/>'
    return "".join(plane.format(-x * half_x, -y * half_y, x, y) for x, y in inward)


class Lift:
    """The lifting task in a running simulation: arm i grips the geom `grip{i}`."""

    @staticmethod
    def scene(num_arms: int) -> tuple[tuple[ArmSpec, ...], str]:
        """The arms, and the MJCF of the object."""
        if num_arms == 1:
            arm = ArmSpec((0, 0, 0.12), (-0.13, -0.13, 0.016), (0.13, 0.13, 0.22), tilts=False)
            return (arm,), cube() + fence(0.14, 0.14)
        left = ArmSpec((0, 0.10, 0.15), (-0.10, 0.04, 0.03), (0.10, 0.17, 0.19), tilts=False)
        right = ArmSpec((0, -0.10, 0.15), (-0.10, -0.17, 0.03), (0.10, -0.04, 0.19), tilts=False)
        return (left, right), tray() + fence(0.095, 0.15)

    def __init__(self, model: mujoco.MjModel, data: mujoco.MjData, arms: Sequence[Arm]) -> None:
        self._data, self._arms = data, arms
        self._object = model.body("object").id
        self._object_qpos = model.jnt_qposadr[model.body("object").jntadr[0]]
        self._rest_height = float(model.body("object").pos[2])
        self._grip_rest_height = self._rest_height + float(model.geom("grip0").pos[2])
        self._grips = [model.geom(f"grip{i}").id for i in range(len(arms))]

    def reset(self, rng: np.random.Generator) -> None:
        """Places hands within (3, 3, 2) cm of home, a cube within 8 cm and 0.4 rad, a tray within 2.5 cm, 0.15 rad."""
        for arm in self._arms:
            arm.place(arm.spec.home + rng.uniform(-1, 1, 3) * (0.03, 0.03, 0.02))
        x, y, yaw = rng.uniform(-1, 1, 3) * ((0.08, 0.08, 0.4) if len(self._arms) == 1 else (0.025, 0.02, 0.15))
        pose = [x, y, self._rest_height, *quaternion(np.array([0.0, 0.0, yaw]))]
        self._data.qpos[self._object_qpos : self._object_qpos + 7] = pose

    def is_success(self) -> bool:
        return self._height() >= LIFT_HEIGHT and self._is_level() and all(map(all, self._contacts()))

    def object_state(self) -> np.ndarray:
        """Privileged state of the object.

        Per arm: grip minus tcp in full-scale steps (3,), the turn that aligns the hand / ROTATION_LIMIT (1,), contacts
        of its two pads, 0 or 1 (2,). Then the object's height above rest / LENGTH_UNIT (1,), and x and y of its upward
        axis (2,).
        """
        values: list[float] = []
        for arm, grip, contacts in zip(self._arms, self._grips, self._contacts(), strict=True):
            offset = (self._data.geom_xpos[grip] - arm.position) / TRANSLATION_SCALE
            values += [*offset, (self._goal_yaw() - arm.rotation[2]) / ROTATION_LIMIT, *map(float, contacts)]
        return np.array([*values, self._height() / LENGTH_UNIT, *self._up()[:2]])

    def expert_action(self) -> np.ndarray:
        """The expert's action: open, above the grip, down, close; once every hand has its grip, up.

        A hand that loses its grip opens and starts again, while the other hand lowers its end; a tilted tray is
        released.
        """
        is_held = [arm.is_closed and all(contacts) for arm, contacts in zip(self._arms, self._contacts(), strict=True)]
        if all(is_held) and not self._is_level():
            return np.tile([*np.zeros(6), 1.0], len(self._arms))
        goal_height = self._grip_rest_height + (LIFT_HEIGHT + 0.02 if all(is_held) else 0.0)
        actions = []
        for arm, grip, holds in zip(self._arms, self._data.geom_xpos[self._grips], is_held, strict=True):
            if holds:
                rise = np.array([0.0, 0.0, goal_height - grip[2]])
                actions.append([*motion_action(arm, rise, arm.rotation[2]), 0.0])
            else:
                actions.append(self._reach(arm, grip - arm.position))
        return np.concatenate(actions)

    def _reach(self, arm: Arm, error: np.ndarray) -> list[float]:
        """Action (7,) of a hand without a grip; `error` is grip minus tcp (3,), metres."""
        is_there = bool(np.abs(error).max() <= 0.012)
        wants_closed = is_there and (not arm.is_closed or arm.opening > 0.2)
        gripper = 0.0 if wants_closed == arm.is_closed else -1.0 if wants_closed else 1.0
        displacement = np.zeros(3) if wants_closed else approach(error, tolerance=0.01, hover=0.06, clear=0.045)
        return [*motion_action(arm, displacement, self._goal_yaw()), gripper]

    def _contacts(self) -> list[tuple[bool, bool]]:
        """Contacts of the left and right pad with the grip, for each arm."""
        pairs = zip(self._arms, self._grips, strict=True)
        return [(touches(self._data, arm.pads[0], grip), touches(self._data, arm.pads[1], grip)) for arm, grip in pairs]

    def _is_level(self) -> bool:
        """True if the tray is upright, and for a cube, which has no upper side."""
        return len(self._arms) == 1 or bool(self._up()[2] >= LEVEL)

    def _height(self) -> float:
        """Height of the object above its resting place, metres."""
        return float(self._data.xpos[self._object][2]) - self._rest_height

    def _up(self) -> np.ndarray:
        """The object's upward axis (3,) in the world's frame."""
        axis: np.ndarray = self._data.xmat[self._object][2::3]
        return axis

    def _goal_yaw(self) -> float:
        """Heading of a hand that aligns its pads with the object, radians."""
        return square_yaw(self._data.xmat[self._object].reshape(3, 3))
