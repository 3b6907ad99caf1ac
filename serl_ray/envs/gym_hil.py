"""gym-hil's Panda that picks up a cube, with this project's env contract (optional extra `serl-ray[gym-hil]`).

The scene, the robot and its controller are gym-hil's. Episodes, observations and cameras are ours, because gym-hil
0.1.14

- draws the cube's position from NumPy's global generator, which `reset(seed=...)` does not seed; ours uses `np_random`;
- reports a cube that left its area as terminated; ours is truncated, because such a state is not final;
- counts any cube in the air as a success; ours must be at the gripper;
- waits a second at every reset, opens OpenGL even without a camera, and draws every camera with shadows; ours does not;
- takes 0, 1, 2 as open, stay, close (measured; its comments name other orders); ours takes -1 close, 0 hold, +1 open.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from serl_ray.types import GRASP_PENALTY
from serl_ray.utils.errors import SetupError

try:
    import gym_hil
    import mujoco
    from gym_hil.envs import panda_pick_gym_env as pick
    from gym_hil.mujoco_gym_env import MAX_GRIPPER_COMMAND, FrankaGymEnv, MujocoGymEnv
except ImportError as error:
    raise SetupError(f"The env gym-hil needs its package ({error}): pip install 'serl-ray[gym-hil]'.") from error

from serl_ray.envs.rendering import OffscreenRenderer

CAMERAS = {"front": "front", "image": "front", "wrist": "handcam_rgb"}
"""Cameras of gym-hil's scene by observation key."""

STEP_SIZE = 0.025  # metres that a full-scale action moves the tip's target in a step of 0.1 s
SUCCESS_HEIGHT = 0.1  # metres above its resting height to which the cube must be lifted
HOLDING_DISTANCE = 0.05  # largest distance in metres between the tip and a held cube
AREA_MARGIN = 0.05  # metres by which the cube may leave the area of its start positions
WORKSPACE_CENTRE = np.array([0.4, 0.0, 0.1])  # metres, base frame
CLOSED_DRIVE = 0.8  # radians of a finger's drive when fully closed
VIDEO_SIZE = 256  # pixels

HOVER_HEIGHT = 0.07  # metres of the tip above a resting cube while the expert aligns with it
GRASP_DISTANCE = 0.012  # metres between tip and cube at which the expert closes the gripper


def make_pick_cube(cameras: Sequence[str] = (), image_size: int = 128, max_steps: int = 100) -> gymnasium.Env:
    """`PandaPickCube` with episodes of at most `max_steps` steps of 0.1 s."""
    return gymnasium.wrappers.TimeLimit(PandaPickCube(cameras, image_size), max_steps)


class PandaPickCube(FrankaGymEnv):
    """Task with one arm and a learned gripper at 10 Hz: lift a randomly placed cube by 0.1 m.

    Action (4,): translation of the tip's target along the base frame's x, y, z (full scale 0.025 m), then the gripper
    (<= -0.5 close, >= 0.5 open, else hold). The orientation is fixed: the gripper points down.

    Observations, in the base frame: `state` (11,) is the tip's position (3, decimetres from the workspace's centre),
    its target minus its position (3, in steps of 0.025 m), its velocity (3, in 0.25 m/s), the gripper's command (-1
    closed, +1 open) and its opening (-1 to 1). `object_state` (6,) is the cube's position minus the tip's (3, in
    steps), the cube's height above rest (decimetres), and whether the right and the left pad touch it (0 or 1). Each of
    `cameras` is an image (image_size square).

    Args:
        cameras: cameras to render, from front (or image, the same view) and wrist; without cameras no OpenGL is needed.
        image_size: height and width of an image in pixels.
    """

    def __init__(self, cameras: Sequence[str] = (), image_size: int = 128) -> None:
        unknown = [name for name in cameras if name not in CAMERAS]
        if unknown:
            raise ValueError(f"Unknown camera(s) {', '.join(unknown)}: the env gym-hil has {', '.join(CAMERAS)}.")
        self._load_robot()
        self._model.vis.global_.offwidth = self._model.vis.global_.offheight = max(image_size, VIDEO_SIZE)
        self._cameras = tuple(cameras)
        self._image_size = image_size
        self._renderers: dict[int, OffscreenRenderer] = {}  # by image size, made at first use
        self.metadata = {"render_modes": ["rgb_array"], "render_fps": 10, "seen_from": "front"}
        self.render_mode = "rgb_array"
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (4,), np.float32)
        image = gymnasium.spaces.Box(0, 255, (image_size, image_size, 3), np.uint8)
        vectors = {"state": 11, "object_state": 6}
        spaces: dict[str, gymnasium.Space[Any]] = {
            key: gymnasium.spaces.Box(-np.inf, np.inf, (size,), np.float32) for key, size in vectors.items()
        }
        self.observation_space = gymnasium.spaces.Dict(spaces | {name: image for name in cameras})

    def _load_robot(self) -> None:
        """Sets the attributes that gym-hil's controller reads, instead of FrankaGymEnv.__init__, which opens OpenGL."""
        scene = Path(gym_hil.__file__).parent / "assets" / "scene.xml"
        MujocoGymEnv.__init__(self, scene, control_dt=0.1, physics_dt=0.002)
        self._home_position = pick._PANDA_HOME
        self._cartesian_bounds = pick._CARTESIAN_BOUNDS
        self._panda_dof_ids = np.array([self._model.joint(f"joint{i}").id for i in range(1, 8)])
        self._panda_ctrl_ids = np.array([self._model.actuator(f"actuator{i}").id for i in range(1, 8)])
        self._gripper_ctrl_id = self._model.actuator("fingers_actuator").id
        self._pinch_site_id = self._model.site("pinch").id
        self._cube_geom = self._model.geom("block").id
        self._rest_height = float(self._model.geom("block").size[2])
        self._pads = [{self._model.geom(f"{side}_pad{i}").id for i in (1, 2)} for side in ("right", "left")]

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Starts an episode with the arm at home and the cube on the floor at a random place."""
        gymnasium.Env.reset(self, seed=seed)
        mujoco.mj_resetData(self._model, self._data)
        self.reset_robot()
        self._data.joint("block").qpos[:3] = (*self.np_random.uniform(*pick._SAMPLING_BOUNDS), self._rest_height)
        mujoco.mj_forward(self._model, self._data)
        return self._observation(), {"success": False, "grasp_penalty": 0.0}

    def step(self, action: np.ndarray) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        """Executes an action (4,) for 0.1 s; success terminates, and a cube outside its area truncates."""
        command = np.sign(action[3]) * (abs(action[3]) >= 0.5)
        useless = command == self._gripper_command
        translation = np.clip(action[:3], -1.0, 1.0) * STEP_SIZE
        self.apply_action((*translation, 0.0, 0.0, 0.0, -command))  # gym-hil closes at +1
        success = self._is_success()
        info = {"success": success, "grasp_penalty": GRASP_PENALTY * useless}
        return self._observation(), float(success), success, self._has_left_area() and not success, info

    def render(self) -> np.ndarray:
        """The front view (256, 256, 3), uint8, for videos."""
        return self._draw("front", VIDEO_SIZE)

    def close(self) -> None:
        """Frees the memory of the renderers."""
        for renderer in self._renderers.values():
            renderer.close()
        self._renderers.clear()

    def expert_action(self) -> np.ndarray:
        """The expert's action (4,): align above the cube, go down, close, lift; open after a miss."""
        to_cube = self._cube - self._data.mocap_pos[0]  # from the target, so that a lagging arm does not overshoot
        tip_to_cube = self._cube - self._tip
        is_closed = self._gripper_command < 0.0
        if is_closed and all(self._pad_contacts()):
            move, command = np.array([0.0, 0.0, STEP_SIZE]), 0.0
        elif np.linalg.norm(tip_to_cube) < GRASP_DISTANCE:
            move, command = to_cube, 0.0 if is_closed else -1.0
        else:
            is_above = np.linalg.norm(tip_to_cube[:2]) < GRASP_DISTANCE and self._gripper_opening > 0.5
            move = to_cube + np.array([0.0, 0.0, 0.0 if is_above else HOVER_HEIGHT])
            command = 1.0 if is_closed else 0.0
        return np.array([*np.clip(move / STEP_SIZE, -1.0, 1.0), command], np.float32)

    def _observation(self) -> dict[str, np.ndarray]:
        lag = (self._data.mocap_pos[0] - self._tip) / STEP_SIZE
        velocity = self._data.sensor("2f85/pinch_vel").data / (10 * STEP_SIZE)
        gripper = [self._gripper_command, self._gripper_opening]
        object_state = [
            *(self._cube - self._tip) / STEP_SIZE,
            (self._cube[2] - self._rest_height) / 0.1,
            *self._pad_contacts(),
        ]
        return {
            "state": np.array([*(self._tip - WORKSPACE_CENTRE) / 0.1, *lag, *velocity, *gripper], np.float32),
            "object_state": np.array(object_state, np.float32),
            **{name: self._draw(CAMERAS[name], self._image_size) for name in self._cameras},
        }

    def _draw(self, camera: str, size: int) -> np.ndarray:
        if size not in self._renderers:
            self._renderers[size] = OffscreenRenderer(self._model, size, size)
        return self._renderers[size].render(self._data, camera)

    def _is_success(self) -> bool:
        lifted = self._cube[2] - self._rest_height > SUCCESS_HEIGHT
        return bool(lifted and np.linalg.norm(self._cube - self._tip) < HOLDING_DISTANCE)

    def _has_left_area(self) -> bool:
        low, high = pick._SAMPLING_BOUNDS
        return bool(np.any(self._cube[:2] < low - AREA_MARGIN) or np.any(self._cube[:2] > high + AREA_MARGIN))

    def _pad_contacts(self) -> list[bool]:
        """Contact of the right and the left pad with the cube."""
        pairs = self._data.contact.geom  # (contacts, 2)
        touching = set(pairs[(pairs == self._cube_geom).any(axis=1)].flat)
        return [bool(pad & touching) for pad in self._pads]

    @property
    def _tip(self) -> np.ndarray:
        return self._data.sensor("2f85/pinch_pos").data

    @property
    def _cube(self) -> np.ndarray:
        return self._data.sensor("block_pos").data

    @property
    def _gripper_command(self) -> float:
        return 1.0 - 2.0 * self._data.ctrl[self._gripper_ctrl_id] / MAX_GRIPPER_COMMAND

    @property
    def _gripper_opening(self) -> float:
        return 1.0 - 2.0 * self._data.joint("right_driver_joint").qpos[0] / CLOSED_DRIVE
