"""robosuite's Lift: a Panda picks a cube up from a table."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from serl_ray.envs.robosuite.suite import TRANSLATION_GOAL, Hand, make_suite
from serl_ray.envs.tabletop.scene import touches

_FULLY_OPEN = 0.04  # metres of each finger from the middle
_HOVER_HEIGHT = 0.07  # metres of the tip above the cube while the expert aligns with it
_ALIGNED = 0.008  # largest sideways distance in metres at which the expert goes down
_GRASP_HEIGHT = 0.006  # metres between tip and cube at which the expert closes


class CubeLift:
    """Task with a learned gripper: lift the cube by 2 cm, after robosuite's own success.

    Action (4,): translation, then the gripper (<= -0.5 close, >= 0.5 open, else as before). The hand keeps its
    rotation.

    Vectors: `state` (15,) is `Hand.proprio`, then of the gripper in [-1, 1] the opening, the servo's target, which
    takes 10 steps from one end to the other, and the last command. `object_state` (8,) is the cube's position relative
    to the tip (3, decimetres), its height above rest (decimetres), cosine and sine of four times its
    yaw, and whether the left and the right finger touch it (0 or 1).
    """

    setup_mode = "single-arm-learned-gripper"
    cameras = {"agentview": "agentview", "image": "agentview", "robot0_eye_in_hand": "robot0_eye_in_hand"}
    action_dim = 4

    def __init__(self) -> None:
        self.suite = make_suite("Lift", num_arms=1, rotates=False)
        model = self.suite.sim.model._model
        self._data = self.suite.sim.data._data
        self._hand = Hand(self.suite, 0, (-0.1, 0.0, 1.0), np.diag([1.0, -1.0, -1.0]))
        gripper = self._hand.robot.gripper["right"]
        self._pads = [model.geom(gripper.important_geoms[f"{side}_fingerpad"][0]).id for side in ("left", "right")]
        self._gripper, self._fingers = gripper, self._hand.robot._ref_gripper_joint_pos_indexes["right"]
        self._cube, self._cube_geom = self.suite.cube_body_id, model.geom("cube_g0").id
        self._rest_height = 0.8 + float(model.geom_size[self._cube_geom, 2])
        self._command = 1.0

    def reset(self, rng: np.random.Generator) -> None:
        """Draws the arm's joints and the cube's pose as robosuite does."""
        self.suite.rng = self.suite.placement_initializer.rng = rng
        self.suite.reset()
        self._command = 1.0

    def command(self, action: np.ndarray) -> tuple[np.ndarray, int]:
        """robosuite's action (4,), and the number of useless commands of the gripper."""
        command = float(np.sign(action[3]) * (abs(action[3]) >= 0.5))
        useless = command == self._command
        self._command = command or self._command
        return np.array([*action[:3], -self._command]), int(useless)  # robosuite closes at +1

    def state(self) -> np.ndarray:
        opening = 2.0 * np.abs(self._data.qpos[self._fingers]).mean() / _FULLY_OPEN - 1.0
        return np.array([*self._hand.proprio(), opening, self._gripper.current_action[0], self._command])

    def object_state(self) -> np.ndarray:
        offset, height = self._to_cube() / 0.1, (self._data.xpos[self._cube][2] - self._rest_height) / 0.1
        yaw = 4.0 * Rotation.from_matrix(self._data.xmat[self._cube].reshape(3, 3)).as_euler("zyx")[0]
        return np.array([*offset, height, np.cos(yaw), np.sin(yaw), *self._contacts()])

    def expert_action(self) -> np.ndarray:
        """The expert's action (4,): align above the cube, go down, close, lift; open after a miss."""
        to_cube = self._to_cube()
        is_closed = self._command < 0.0
        is_aligned = np.linalg.norm(to_cube[:2]) < _ALIGNED
        if is_closed and all(self._contacts()):
            move, command = np.array([0.0, 0.0, TRANSLATION_GOAL]), 0.0
        elif is_aligned and abs(to_cube[2]) < _GRASP_HEIGHT:
            move, command = to_cube, 0.0 if is_closed else -1.0
        else:
            move = to_cube + np.array([0.0, 0.0, 0.0 if is_aligned and not is_closed else _HOVER_HEIGHT])
            command = 1.0 if is_closed else 0.0
        return np.array([*(2.0 * move / TRANSLATION_GOAL).clip(-1.0, 1.0), command])

    def _to_cube(self) -> np.ndarray:
        offset: np.ndarray = self._data.xpos[self._cube] - self._hand.position
        return offset

    def _contacts(self) -> list[bool]:
        return [touches(self._data, pad, self._cube_geom) for pad in self._pads]
