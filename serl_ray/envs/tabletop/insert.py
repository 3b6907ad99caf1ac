"""Tasks with fixed grippers: put a held peg into a socket on the table, or in the second arm's hand."""

from __future__ import annotations

from collections.abc import Sequence

import mujoco
import numpy as np

from serl_ray.envs.tabletop.arm import ROTATION_LIMIT, TRANSLATION_SCALE, Arm, ArmSpec, quaternion
from serl_ray.envs.tabletop.mjcf import Vector, box, numbers
from serl_ray.envs.tabletop.motion import approach, motion_action, square_yaw
from serl_ray.envs.tabletop.scene import touches

PEG_HALF_WIDTH = 0.012
"""Half the width of the square peg, metres."""
CLEARANCE = 0.004
"""Distance between the centred peg and each wall of the socket, metres."""
SOCKET_DEPTH = 0.03
"""Depth of the socket's bottom under its rim, metres, below a funnel of FUNNEL metres."""
FUNNEL = 0.014
SUCCESS_DEPTH = 0.02
"""Depth of the tip under the rim at success, metres; the peg must also touch the bottom."""
_SIDEWAYS = 'quat="0.70710678 -0.70710678 0 0"'
"""Rotation of z to the world's y, by which the held peg and the held socket point at each other."""


def peg(tip: Vector, length: float, turn: str = "") -> str:
    """The peg's body, with its origin at the tip and its `length` in metres along its z axis."""
    size = (PEG_HALF_WIDTH, PEG_HALF_WIDTH, length / 2)
    shaft = box(size, "0.96 0.85 0.15", (0, 0, length / 2), name="peg", collides_as="object", mass=0.02)
    return f'<body name="peg" pos="{numbers(tip)}" {turn} gravcomp="1">{shaft}</body>'


def socket(rim: Vector, turn: str = "") -> str:
    """The socket's body, with its origin at the centre of the rim and its opening along its z axis."""
    inner, wall = PEG_HALF_WIDTH + CLEARANCE, 0.005  # half the opening, half a wall's thickness
    outer, inset = inner + 2 * wall, wall / 2 * np.sqrt(0.5)  # `inset` brings the slope's inner face to the rim's edge
    floor = box(
        (outer, outer, 0.004),
        "0.9 0.2 0.5",
        (0, 0, -SOCKET_DEPTH - 0.004),
        name="bottom",
        collides_as="fixture",
        mass=0.01,
    )
    side = box(
        (wall, outer, SOCKET_DEPTH / 2),
        "0.10 0.62 0.45",
        (inner + wall, 0, -SOCKET_DEPTH / 2),
        collides_as="fixture",
        mass=0.005,
    )
    slope_size = (wall / 2, inner + FUNNEL, FUNNEL * np.sqrt(0.5))
    slope_pos = (inner + FUNNEL / 2 + inset, 0, FUNNEL / 2 - inset)
    slope = box(slope_size, "0.25 0.80 0.62", slope_pos, collides_as="fixture", mass=0.005, pitch=45)
    four = "".join(f'<body euler="0 0 {turned}" gravcomp="1">{side}{slope}</body>' for turned in (0, 90, 180, 270))
    return f'<body name="socket" pos="{numbers(rim)}" {turn} gravcomp="1">{floor}{four}</body>'


class Insert:
    """The insertion task in a running simulation."""

    @staticmethod
    def scene(num_arms: int) -> tuple[tuple[ArmSpec, ...], str]:
        """The arms, and the MJCF of the objects that they do not hold."""
        if num_arms == 1:
            arm = ArmSpec(
                (0, 0, 0.16), (-0.12, -0.12, 0.055), (0.12, 0.12, 0.24), (0, 0, -0.05), peg((0, 0, -0.05), 0.07)
            )
            return (arm,), socket((0, 0, 0.038))
        held_peg, held_socket = peg((0, -0.08, 0), 0.10, _SIDEWAYS), socket((0, 0.02, 0), _SIDEWAYS)
        left = ArmSpec((0, 0.13, 0.15), (-0.12, 0.02, 0.07), (0.12, 0.22, 0.24), (0, -0.1, -0.01), held_peg)
        right = ArmSpec((0, -0.13, 0.15), (-0.12, -0.22, 0.07), (0.12, -0.02, 0.24), (0, 0.1, -0.01), held_socket)
        return (left, right), ""

    def __init__(self, model: mujoco.MjModel, data: mujoco.MjData, arms: Sequence[Arm]) -> None:
        self._model, self._data, self._arms = model, data, arms
        self._tip, self._rim = model.body("peg").id, model.body("socket").id
        self._peg_geom, self._bottom = model.geom("peg").id, model.geom("bottom").id
        self._socket_home = model.body_pos[self._rim].copy()

    def reset(self, rng: np.random.Generator) -> None:
        """Places hands within (4, 4, 2) cm of home, and the socket within 5 cm and 0.2 rad, or 1.5 cm in its hand."""
        for arm in self._arms:
            arm.place(arm.spec.home + rng.uniform(-1, 1, 3) * (0.04, 0.04, 0.02))
        if len(self._arms) == 1:
            spread, yaw = np.array([0.05, 0.05, 0.0]), rng.uniform(-0.2, 0.2)
            self._model.body_quat[self._rim] = quaternion(np.array([0.0, 0.0, yaw]))
        else:
            spread = np.array([0.015, 0.0, 0.015])
        self._model.body_pos[self._rim] = self._socket_home + rng.uniform(-1, 1, 3) * spread

    def is_success(self) -> bool:
        return bool(self._tip_in_socket()[2] <= -SUCCESS_DEPTH) and touches(self._data, self._peg_geom, self._bottom)

    def object_state(self) -> np.ndarray:
        """Rim minus tip in full-scale steps (3,), world frame, and hand 1's turn to align / ROTATION_LIMIT (1,)."""
        offset = (self._data.xpos[self._rim] - self._data.xpos[self._tip]) / TRANSLATION_SCALE
        return np.array([*offset, (self._goal_yaw() - self._arms[0].rotation[2]) / ROTATION_LIMIT])

    def expert_action(self) -> np.ndarray:
        """The expert's action: above the funnel, then straight in; two arms move half the way each."""
        error = -self._tip_in_socket() - (0, 0, SOCKET_DEPTH + 0.005)
        way = approach(error, tolerance=0.008, hover=SOCKET_DEPTH + FUNNEL + 0.012, clear=SOCKET_DEPTH + FUNNEL + 0.002)
        share = self._socket_frame() @ way / len(self._arms)
        yaw = self._goal_yaw()
        return np.concatenate(
            [motion_action(arm, sign * share, yaw) for arm, sign in zip(self._arms, (1, -1), strict=False)]
        )

    def _tip_in_socket(self) -> np.ndarray:
        """Position (3,) of the tip in the socket's frame, metres."""
        tip: np.ndarray = self._socket_frame().T @ (self._data.xpos[self._tip] - self._data.xpos[self._rim])
        return tip

    def _socket_frame(self) -> np.ndarray:
        frame: np.ndarray = self._data.xmat[self._rim].reshape(3, 3)
        return frame

    def _goal_yaw(self) -> float:
        """Heading of the hands that aligns the peg, radians; 0 for a held socket."""
        return square_yaw(self._socket_frame()) if len(self._arms) == 1 else 0.0
