"""robosuite's TwoArmPegInHole: a Panda puts a peg into the hole of a plate that another one holds."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from serl_ray.envs.robosuite.suite import ROTATION_GOAL, TRANSLATION_GOAL, Hand, make_suite
from serl_ray.envs.tabletop.motion import approach

_RADIUS, _HALF_LENGTH = 0.0225, 0.13  # metres, of the peg
_HOLE = (0.1, 0.0, 0.0)  # metres, centre of the hole in the plate's frame
_MEETING_PLACE = np.array([0.1, 0.02, 0.95])  # metres, of the hole
_MEETING_NORMAL = np.array([-0.5, 0.0, 0.5]) * np.sqrt(
    2.0
)  # of the plate, towards the peg: each hand tilts by 45 degrees
_INSIDE = 0.03  # metres of the tip behind the plate that the expert strives for
_TOLERANCE = 0.02  # metres beside the hole's axis at which the expert moves straight in
_ALIGNED = 0.2  # largest angle between the peg and the hole's axis, radians, at which the expert does


class PegAndPlate:
    """Task with two arms that face each other: put the held peg into the hole of the held plate.

    Success is robosuite's: the hole's centre is within 6 cm of the peg's axis and at most 1 cm beyond its tip, and the
    angle between the axes is below 18 degrees.

    Action (12,): of the arm with the peg, then of that with the plate, translation and rotation.

    Vectors: `state` (24,) is `Hand.proprio` of both arms. `object_state` (9,) is the hole's centre relative to the
    peg's tip (3, decimetres), the peg's axis (3) and the plate's normal (3).
    """

    setup_mode = "dual-arm-fixed-gripper"
    cameras = {
        "agentview": "agentview",
        "image": "agentview",
        "robot0_eye_in_hand": "robot0_eye_in_hand",
        "robot1_eye_in_hand": "robot1_eye_in_hand",
    }
    action_dim = 12

    def __init__(self) -> None:
        arguments = {"gripper_types": None, "peg_radius": (_RADIUS, _RADIUS), "peg_length": _HALF_LENGTH}
        self.suite = make_suite("TwoArmPegInHole", num_arms=2, rotates=True, **arguments)
        self._data = self.suite.sim.data._data
        self._hands = (
            Hand(self.suite, 0, (0.0, -0.14, 1.12), np.diag([-1.0, 1.0, -1.0])),
            Hand(self.suite, 1, (0.0, 0.16, 1.1), np.diag([1.0, -1.0, -1.0])),
        )

    def reset(self, rng: np.random.Generator) -> None:
        """Draws the joints of both arms as robosuite does."""
        self.suite.rng = rng
        self.suite.reset()

    def command(self, action: np.ndarray) -> tuple[np.ndarray, int]:
        """robosuite's action (12,); there are no grippers."""
        return action, 0

    def state(self) -> np.ndarray:
        return np.concatenate([hand.proprio() for hand in self._hands])

    def object_state(self) -> np.ndarray:
        tip, axis = self._peg()
        hole, frame = self._plate()
        return np.array([*(hole - tip) / 0.1, *axis, *frame[:, 2]])

    def expert_action(self) -> np.ndarray:
        """The expert's action (12,): the plate goes to its place, the peg in front of the hole, then straight in."""
        tip, axis = self._peg()
        hole, frame = self._plate()
        plate_turn = _turn(frame[:, 2], _MEETING_NORMAL)
        peg_turn = _turn(axis, -frame[:, 2])
        error = frame.T @ (hole - tip) - (0.0, 0.0, _INSIDE)
        tolerance = _TOLERANCE if np.linalg.norm(peg_turn) < _ALIGNED else 0.0
        way = frame @ approach(error, tolerance, hover=_INSIDE + 0.08, clear=_INSIDE + 0.05)
        return np.concatenate([_action(way, peg_turn), _action(_MEETING_PLACE - hole, plate_turn)])

    def _peg(self) -> tuple[np.ndarray, np.ndarray]:
        """Position (3,) of the peg's tip, and its axis (3,)."""
        axis = self._data.xmat[self.suite.peg_body_id].reshape(3, 3)[:, 2]
        return self._data.xpos[self.suite.peg_body_id] + _HALF_LENGTH * axis, axis

    def _plate(self) -> tuple[np.ndarray, np.ndarray]:
        """Position (3,) of the hole's centre, and the plate's rotation (3, 3), whose z is its normal."""
        frame = self._data.xmat[self.suite.hole_body_id].reshape(3, 3)
        return self._data.xpos[self.suite.hole_body_id] + frame @ _HOLE, frame


def _turn(now: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Smallest rotation vector (3,) from one unit vector (3,) to another, radians."""
    turn: np.ndarray = Rotation.align_vectors(wanted[None], now[None])[0].as_rotvec()
    return turn


def _action(way: np.ndarray, turn: np.ndarray) -> np.ndarray:
    """Action (6,) of a hand that is to move by `way` (3,), metres, and to turn by `turn` (3,), radians."""
    return np.concatenate([2.0 * way / TRANSLATION_GOAL, 2.0 * turn / ROTATION_GOAL]).clip(-1.0, 1.0)
