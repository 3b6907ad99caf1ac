"""The env of robosuite's tasks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np

from serl_ray.envs.rendering import OffscreenRenderer
from serl_ray.envs.robosuite.lift import CubeLift
from serl_ray.envs.robosuite.peg import PegAndPlate
from serl_ray.envs.robosuite.suite import CONTROL_HZ
from serl_ray.types import GRASP_PENALTY

SUITE_TASKS: dict[str, type[CubeLift] | type[PegAndPlate]] = {"lift": CubeLift, "two-arm-peg": PegAndPlate}
VIDEO_PIXELS = 256


class RobosuiteEnv(gymnasium.Env):
    """A task of robosuite's Pandas, with a sparse reward: 1 at success, which ends the episode, else 0.

    Scenes, robots, controllers, initial states and success are robosuite's: operational-space control at 20 Hz, in
    which a full-scale action puts the goal of a hand 0.05 m (and 0.5 rad) ahead of its pose. The axes are the world's,
    for both arms. See `CubeLift` and `PegAndPlate` for actions and vectors. Different here:

    - `reset(seed=...)` draws everything of an episode; the sizes of cube and peg, which robosuite draws as it compiles
      a scene, are always the same, so that a reset takes a millisecond and not a second;
    - images have neither shadows, reflections nor multisampling, which cost most of the time in software;
    - -1 closes and +1 opens; robosuite's numbers are the reverse.

    Args:
        setup_mode: the task's: single-arm-learned-gripper of lift, dual-arm-fixed-gripper of two-arm-peg.
        task: lift or two-arm-peg.
        cameras: cameras to render: agentview (or image, the same view), robot0_eye_in_hand and, with two arms,
            robot1_eye_in_hand. Without cameras no OpenGL is needed.
        image_size: height and width of an image in pixels.
        max_steps: steps of an episode.
    """

    def __init__(
        self,
        setup_mode: str,
        task: str = "lift",
        cameras: Sequence[str] = (),
        image_size: int = 128,
        max_steps: int = 100,
    ) -> None:
        _check(setup_mode, task, cameras)
        self._task = SUITE_TASKS[task]()
        self._model = self._task.suite.sim.model._model
        self._model.vis.quality.offsamples = 0
        self._model.vis.global_.offwidth = self._model.vis.global_.offheight = max(image_size, VIDEO_PIXELS)
        self._renderers: dict[int, OffscreenRenderer] = {}  # by image size, made at first use
        self._learns_gripper = setup_mode.endswith("learned-gripper")
        self._cameras, self._image_size = tuple(cameras), image_size
        self._max_steps, self._num_steps = max_steps, 0
        self.render_mode = "rgb_array"
        self.metadata = {"render_modes": ["rgb_array"], "render_fps": CONTROL_HZ, "seen_from": "front"}
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (self._task.action_dim,), np.float32)
        image = gymnasium.spaces.Box(0, 255, (image_size, image_size, 3), np.uint8)
        vectors: dict[str, gymnasium.Space[Any]] = {
            key: gymnasium.spaces.Box(-np.inf, np.inf, value.shape, np.float32)
            for key, value in self._vectors().items()
        }
        self.observation_space = gymnasium.spaces.Dict(vectors | {name: image for name in cameras})

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Starts an episode; all its randomness is drawn here from `self.np_random`."""
        super().reset(seed=seed)
        self._task.reset(self.np_random)
        self._num_steps = 0
        return self._observation(), self._info(success=False, num_useless=0)

    def step(self, action: np.ndarray) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        """Executes an action for 0.05 s; success terminates."""
        given, num_useless = self._task.command(np.clip(np.asarray(action, np.float64), -1.0, 1.0))
        self._task.suite.step(given)
        self._num_steps += 1
        success = bool(self._task.suite._check_success())
        truncated = self._num_steps >= self._max_steps and not success
        return self._observation(), float(success), success, truncated, self._info(success, num_useless)

    def expert_action(self) -> np.ndarray:
        """The scripted expert's action, float32, for any current state of the scene."""
        action: np.ndarray = self._task.expert_action().astype(np.float32)
        return action

    def render(self) -> np.ndarray:  # type: ignore[override]  # gymnasium leaves the frame type free
        """The view (256, 256, 3) of agentview, uint8, for videos."""
        return self._draw("agentview", VIDEO_PIXELS)

    def close(self) -> None:
        """Frees the memory of the renderers."""
        while self._renderers:
            self._renderers.popitem()[1].close()

    def _info(self, success: bool, num_useless: int) -> dict[str, Any]:
        penalty = {"grasp_penalty": GRASP_PENALTY * num_useless} if self._learns_gripper else {}
        return {"success": success, **penalty}

    def _vectors(self) -> dict[str, np.ndarray]:
        vectors = {"state": self._task.state(), "object_state": self._task.object_state()}
        return {key: value.astype(np.float32) for key, value in vectors.items()}

    def _observation(self) -> dict[str, np.ndarray]:
        images = {name: self._draw(self._task.cameras[name], self._image_size) for name in self._cameras}
        return self._vectors() | images

    def _draw(self, camera: str, size: int) -> np.ndarray:
        if size not in self._renderers:
            self._renderers[size] = OffscreenRenderer(self._model, size, size)
        return self._renderers[size].render(self._task.suite.sim.data._data, camera)


def _check(setup_mode: str, task: str, cameras: Sequence[str]) -> None:
    if task not in SUITE_TASKS:
        raise ValueError(f"The env robosuite has no task {task!r}; its tasks are {', '.join(SUITE_TASKS)}.")
    kind = SUITE_TASKS[task]
    if setup_mode != kind.setup_mode:
        raise ValueError(f"The task {task} of the env robosuite is {kind.setup_mode}, not {setup_mode}.")
    if unknown := [name for name in cameras if name not in kind.cameras]:
        raise ValueError(f"Unknown camera(s) {', '.join(unknown)}: the task {task} has {', '.join(kind.cameras)}.")
