"""robosuite itself: its import without side effects, and its simulations without its own observations and images."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from typing import Any

import mujoco
import numpy as np
from scipy.spatial.transform import Rotation

from serl_ray.utils.errors import SetupError

logging.getLogger("robosuite_logs").addFilter(lambda record: record.levelno >= logging.ERROR)  # of packages not needed
_backend = os.environ.get("MUJOCO_GL")
try:
    import robosuite
except ImportError as error:
    raise SetupError(f"The env robosuite needs its package ({error}): pip install 'serl-ray[robosuite]'.") from error
finally:  # robosuite sets the variable to egl, whatever OpenGL there is
    os.environ.pop("MUJOCO_GL", None)
    if _backend is not None:
        os.environ["MUJOCO_GL"] = _backend

CONTROL_HZ = 20
TRANSLATION_GOAL = 0.05
"""Metres that a full-scale action puts the goal ahead of the hand, of which the hand covers STEP in a step."""
ROTATION_GOAL = 0.5
"""Radians that a full-scale action puts the goal ahead of the hand."""
STEP = 0.0125
"""Metres that a hand moves in a step of full-scale actions."""
_HIDDEN = 3  # group of geoms that are not drawn


def make_suite(name: str, num_arms: int, rotates: bool, **arguments: Any) -> Any:
    """robosuite's env `name` with Pandas whose hands go to goals relative to their pose, along the world's axes.

    Args:
        name: robosuite's name.
        num_arms: number of arms.
        rotates: whether actions have rotations.
        arguments: further arguments of robosuite's env.
    """
    goal = [TRANSLATION_GOAL] * 3 + [ROTATION_GOAL] * 3 * rotates
    part = {
        "type": "OSC_POSE" if rotates else "OSC_POSITION",
        "input_ref_frame": "world",
        "output_max": goal,
        "output_min": [-number for number in goal],
    }
    controller = robosuite.load_composite_controller_config(robot="Panda")
    controller["body_parts"]["right"].update(part)
    suite = robosuite.make(
        name,
        robots=["Panda"] * num_arms,
        controller_configs=controller,
        has_offscreen_renderer=False,
        use_camera_obs=False,
        use_object_obs=False,
        renderer="mujoco",
        control_freq=CONTROL_HZ,
        ignore_done=True,
        hard_reset=False,
        seed=0,  # of the sizes of things, which are compiled once
        **arguments,
    )
    suite._observables.clear()
    model = suite.sim.model._model
    model.geom_group[model.geom_group == 0] = _HIDDEN  # shapes for collisions, which lie around those that are drawn
    return suite


class Hand:
    """The hand of an arm in a running simulation, in the world's frame: metres and radians.

    Args:
        suite: robosuite's env.
        arm: number of the arm.
        home: position (3,) near which episodes start.
        down: rotation matrix (3, 3) of the hand that points down.
    """

    def __init__(self, suite: Any, arm: int, home: Sequence[float], down: np.ndarray) -> None:
        self.robot = suite.robots[arm]
        self._data = suite.sim.data._data
        self._site = self.robot.eef_site_id["right"]
        self._home, self._down = np.array(home), down
        self._model = suite.sim.model._model

    @property
    def position(self) -> np.ndarray:
        """Position (3,) of the hand's tip."""
        position: np.ndarray = self._data.site_xpos[self._site]
        return position

    def proprio(self) -> np.ndarray:
        """Proprioception (12,).

        Position from home (3, decimetres), rotation vector from straight down (3), velocity (3, steps of full-scale
        actions a step) and angular velocity (3, radians/s).
        """
        turned = self._data.site_xmat[self._site].reshape(3, 3) @ self._down.T
        motion = np.empty(6)
        mujoco.mj_objectVelocity(self._model, self._data, mujoco.mjtObj.mjOBJ_SITE, self._site, motion, 0)
        tilt, velocity = Rotation.from_matrix(turned).as_rotvec(), motion[3:] / (STEP * CONTROL_HZ)
        return np.array([*(self.position - self._home) / 0.1, *tilt, *velocity, *motion[:3]])
