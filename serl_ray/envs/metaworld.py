"""MetaWorld's tasks of a Sawyer arm, with this project's env contract (optional extra `serl-ray[metaworld]`).

Scenes, robot, success and scripted policies are MetaWorld's; the defaults are IBRL's set-up (arXiv 2311.02198, its
published code): random goals, the camera corner2 moved closer, images of 96 pixels, each action executed twice, 100
steps, reward 1 at the first success. Different here:

- `reset(seed=...)` seeds the goals; MetaWorld draws them from NumPy's global generator;
- success ends the episode;
- images have neither shadows, reflections nor multisampling, which take 15 times as long by software rendering;
- -1 closes and +1 opens, and a learned gripper keeps its last command; MetaWorld's numbers are the reverse, and 0 is no
  force.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np

from serl_ray.types import GRASP_PENALTY
from serl_ray.utils.errors import SetupError

try:
    from metaworld.env_dict import ENV_CLS_MAP
    from metaworld.policies import ENV_POLICY_MAP
except ImportError as error:
    raise SetupError(f"The env metaworld needs its package ({error}): pip install 'serl-ray[metaworld]'.") from error

from serl_ray.envs.rendering import OffscreenRenderer

# The scripted policies' actions are clipped here, which they warn of.
warnings.filterwarnings("ignore", "Constant.s. may be too high", module=r"metaworld\.policies")

SAWYER_TASKS = tuple(name.removesuffix("-v3") for name in ENV_CLS_MAP)
SAWYER_CAMERAS = {"corner2": "corner2", "image": "corner2", "wrist": "gripperPOV"}
"""Cameras of MetaWorld's scenes by observation key."""
CORNER2_POSITION = (0.75, 0.075, 0.7)
"""Position of the camera corner2 in metres, which is IBRL's."""
SETUP_MODES_HERE = ("single-arm-fixed-gripper", "single-arm-learned-gripper")
SAWYER_CENTRE = np.array([0.0, 0.6, 0.2])  # metres, of the space in which tasks take place
TARGET_STEP = 0.01  # metres that a full-scale action moves the hand's target each time it is executed
INNER_SECONDS = 0.0125  # duration of each time
RENDER_SIZE = 256  # pixels


class MetaWorldEnv(gymnasium.Env):
    """A task of MetaWorld: the arm's hand, which points down, moves things by its gripper.

    Action (4,): translation of the hand's target along x, y, z, then the gripper: a force in [-1, 1] where the gripper
    is fixed, as MetaWorld has it, and a command where it is learned (<= -0.5 close, >= 0.5 open, else as before).

    Observations: `state` (8,) is the hand's position (3, decimetres from the centre), its last motion (3, in
    full-scale actions), the gripper's opening (-1 to 1) and its last command (-1 to 1). `object_state` (17,) is, for
    two things, the position relative to the hand (3, decimetres) and the quaternion, zeros where there is no second
    one, and the goal relative to the hand (3, decimetres). Each of `cameras` is an image (image_size square).

    Args:
        setup_mode: single-arm-fixed-gripper or single-arm-learned-gripper.
        task: MetaWorld's name without its version, such as assembly, box-close, coffee-push or stick-pull.
        cameras: cameras to render, from corner2 (or image, the same view) and wrist.
        image_size: height and width of an image in pixels.
        max_steps: steps of an episode.
        action_repeat: times that each action is executed, for 0.0125 s each.
    """

    def __init__(
        self,
        setup_mode: str,
        task: str = "assembly",
        cameras: Sequence[str] = (),
        image_size: int = 96,
        max_steps: int = 100,
        action_repeat: int = 2,
    ) -> None:
        _check(setup_mode, task, cameras)
        self._sawyer = ENV_CLS_MAP[f"{task}-v3"]()
        self._sawyer._partially_observable = False
        vars(self._sawyer).pop("sawyer_observation_space", None)  # has bounds of zero for goals that are not observed
        self._sawyer._freeze_rand_vec = False
        self._sawyer.seeded_rand_vec = True
        self._sawyer._set_task_called = True
        policy: Any = ENV_POLICY_MAP[f"{task}-v3"]
        self._policy = policy()
        self._learns_gripper = setup_mode.endswith("learned-gripper")
        self._cameras, self._image_size = tuple(cameras), image_size
        self._max_steps, self._action_repeat = max_steps, action_repeat
        self._model = self._sawyer.model
        self._model.cam_pos[self._model.camera("corner2").id] = CORNER2_POSITION
        self._model.vis.quality.offsamples = 0
        self._model.vis.global_.offwidth = self._model.vis.global_.offheight = max(image_size, RENDER_SIZE)
        self._renderers: dict[int, OffscreenRenderer] = {}  # by image size, made at first use
        self._seen = np.zeros(39)
        self._command, self._num_steps = 1.0, 0
        self.render_mode = "rgb_array"
        fps = round(1.0 / (action_repeat * INNER_SECONDS))
        self.metadata = {"render_modes": ["rgb_array"], "render_fps": fps, "seen_from": "front"}
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (4,), np.float32)
        image = gymnasium.spaces.Box(0, 255, (image_size, image_size, 3), np.uint8)
        vectors: dict[str, gymnasium.Space[Any]] = {
            key: gymnasium.spaces.Box(-np.inf, np.inf, (size,), np.float32)
            for key, size in {"state": 8, "object_state": 17}.items()
        }
        self.observation_space = gymnasium.spaces.Dict(vectors | {name: image for name in cameras})

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Starts an episode with things at random places and the gripper open."""
        super().reset(seed=seed)
        self._sawyer.np_random = self.np_random
        self._seen = self._sawyer.reset()[0]
        self._command, self._num_steps = 1.0, 0
        return self._observation(), self._info(success=False, useless=False)

    def step(self, action: np.ndarray) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        """Executes an action (4,) `action_repeat` times, or until success, which terminates."""
        useless = self._take_command(float(action[3]))
        given = np.array([*np.clip(action[:3], -1.0, 1.0), -self._command], np.float32)  # MetaWorld closes at +1
        success = False
        for _ in range(self._action_repeat):
            self._seen, _, _, _, info = self._sawyer.step(given)
            success = bool(info["success"])
            if success:
                break
        self._num_steps += 1
        truncated = self._num_steps >= self._max_steps and not success
        return self._observation(), float(success), success, truncated, self._info(success, useless)

    def expert_action(self) -> np.ndarray:
        """The action (4,) of MetaWorld's scripted policy, clipped as IBRL does."""
        action = np.clip(self._policy.get_action(self._seen), -1.0, 1.0)
        action[3] = -np.sign(action[3]) if self._learns_gripper else -action[3]
        return np.asarray(action, np.float32)

    def render(self) -> np.ndarray:  # type: ignore[override]  # gymnasium leaves the frame type free
        """The view (256, 256, 3) of corner2, uint8, for videos."""
        return self._draw("corner2", RENDER_SIZE)

    def close(self) -> None:
        """Frees the memory of the renderers."""
        for renderer in self._renderers.values():
            renderer.close()
        self._renderers.clear()

    def _take_command(self, number: float) -> bool:
        """Takes the gripper's number of an action; True for a learned gripper's command that changes nothing."""
        if not self._learns_gripper:
            self._command = float(np.clip(number, -1.0, 1.0))
            return False
        command = float(np.sign(number) * (abs(number) >= 0.5))
        useless = command == self._command
        self._command = command or self._command
        return useless

    def _info(self, success: bool, useless: bool) -> dict[str, Any]:
        penalty = {"grasp_penalty": GRASP_PENALTY * useless} if self._learns_gripper else {}
        return {"success": success, **penalty}

    def _observation(self) -> dict[str, np.ndarray]:
        seen = self._seen
        hand, opening, before = seen[:3], seen[3], seen[18:21]
        things = [(seen[start : start + 3], seen[start + 3 : start + 7]) for start in (4, 11)]
        relative = [[*((place - hand) / 0.1 if turn.any() else np.zeros(3)), *turn] for place, turn in things]
        state = [*(hand - SAWYER_CENTRE) / 0.1, *(hand - before) / TARGET_STEP, 2.0 * opening - 1.0, self._command]
        return {
            "state": np.array(state, np.float32),
            "object_state": np.array([*relative[0], *relative[1], *(seen[-3:] - hand) / 0.1], np.float32),
            **{name: self._draw(SAWYER_CAMERAS[name], self._image_size) for name in self._cameras},
        }

    def _draw(self, camera: str, size: int) -> np.ndarray:
        if size not in self._renderers:
            self._renderers[size] = OffscreenRenderer(self._model, size, size)
        return self._renderers[size].render(self._sawyer.data, camera)


def _check(setup_mode: str, task: str, cameras: Sequence[str]) -> None:
    if setup_mode not in SETUP_MODES_HERE:
        raise ValueError(f"The env metaworld is {' or '.join(SETUP_MODES_HERE)}, not {setup_mode}.")
    if task not in SAWYER_TASKS:
        raise ValueError(f"The env metaworld has no task {task!r}; its tasks are {', '.join(SAWYER_TASKS)}.")
    if unknown := [name for name in cameras if name not in SAWYER_CAMERAS]:
        raise ValueError(f"Unknown camera(s) {', '.join(unknown)}: the env metaworld has {', '.join(SAWYER_CAMERAS)}.")
