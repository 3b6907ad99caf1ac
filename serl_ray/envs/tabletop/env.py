"""The default simulator: four small manipulation tasks on a table, one for each set-up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium
import mujoco
import numpy as np

from serl_ray.data.observations import Observation
from serl_ray.envs.rendering import OffscreenRenderer
from serl_ray.envs.tabletop.arm import Arm
from serl_ray.envs.tabletop.insert import Insert
from serl_ray.envs.tabletop.lift import Lift
from serl_ray.envs.tabletop.scene import build_model
from serl_ray.types import GRASP_PENALTY, SETUP_MODES, ActionLayout

_RAMP = (1 / 3, 2 / 3, 1.0, 1.0, 1.0)
"""Share of the way of a control step that targets have covered in each fifth of it; then the hand catches up."""
_SUBSTEPS = 5
"""Number of physics steps in a fifth of a control step: 25 steps of 4 ms are 0.1 s."""
_VIDEO_SIZE = 256


class TabletopEnv(gymnasium.Env[Observation, np.ndarray]):
    """One task for each set-up, with a sparse reward: 1.0 on the successful step, which ends the episode, else 0.0.

    | setup_mode | task | success |
    |---|---|---|
    | single-arm-fixed-gripper | put the held peg into the socket on the table | the peg touches the socket's bottom |
    | single-arm-learned-gripper | pick the cube up | both pads touch it, 5 cm above the table |
    | dual-arm-fixed-gripper | bring the held peg and the held socket together | the peg touches the socket's bottom |
    | dual-arm-learned-gripper | lift the tray by its two handles | all four pads touch their handle, 5 cm up, level |

    Control is at 10 Hz. An action is, for each arm (left first), 3 translations (1 = 0.02 m a step) and 3 rotations
    about the world's axes (1 = 0.08 rad a step), relative to the pose the hand has; then, of a learned gripper, 1
    number: close at <= -0.5, open at >= 0.5, else the last command stays. Commanded poses are clipped to a box around
    the task and to 0.25 rad an axis; hands with a learned gripper do not tilt.

    Observations are float32 `state` (proprioception: `Arm.proprio` of each arm) and `object_state` (privileged: see
    `Insert` and `Lift`), and the requested cameras, uint8 (H, W, 3). Lengths are in units of 0.05 m and rotations of
    0.25 rad, but the way that is left to go in steps of 0.02 m: finer, because the last centimetre decides. `info` has
    `success` and `grasp_penalty` (-0.02 a useless gripper command, summed over arms).

    Args:
        setup_mode: one of `serl_ray.types.SETUP_MODES`.
        cameras: keys of the images to observe: `front` or `image` (the same view), and `wrist` (one arm) or
            `left_wrist` and `right_wrist` (two). Without cameras nothing is rendered and no OpenGL is needed.
        image_size: side of an observed image, pixels.
        max_steps: number of steps after which an episode is truncated.
        rewards: whether the env detects success, unlike most robots; otherwise the reward is always 0, success does not
            end an episode, and only `info` reports it.

    Raises:
        ValueError: the set-up or a camera is unknown.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10, "seen_from": "front"}
    render_mode = "rgb_array"

    def __init__(
        self,
        setup_mode: str,
        cameras: Sequence[str] = (),
        image_size: int = 128,
        max_steps: int = 100,
        rewards: bool = True,
    ) -> None:
        if setup_mode not in SETUP_MODES:
            raise ValueError(f"setup_mode is {setup_mode!r}; choose one of {', '.join(SETUP_MODES)}.")
        num_arms = 2 if setup_mode.startswith("dual") else 1
        task = Lift if setup_mode.endswith("learned-gripper") else Insert
        specs, objects = task.scene(num_arms)
        self._model = build_model(specs, objects, render_size=max(image_size, _VIDEO_SIZE))
        self._data = mujoco.MjData(self._model)
        self._arms = [Arm(self._model, self._data, i, spec) for i, spec in enumerate(specs)]
        self._task = task(self._model, self._data, self._arms)
        self._layout = ActionLayout.from_setup(setup_mode, sum(7 if spec.has_gripper else 6 for spec in specs))
        self._views = _choose_views(cameras, num_arms)
        self._image_size, self._max_steps, self._num_steps, self._rewards = image_size, max_steps, 0, rewards
        self._renderers: dict[int, OffscreenRenderer] = {}
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (self._layout.action_dim,), np.float32)
        self.observation_space = self._make_observation_space()

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Starts an episode; all its randomness is drawn here from `self.np_random`."""
        super().reset(seed=seed)
        mujoco.mj_resetData(self._model, self._data)
        self._task.reset(self.np_random)
        mujoco.mj_forward(self._model, self._data)
        self._num_steps = 0
        return self._observe(), {"success": False, "grasp_penalty": 0.0}

    def step(self, action: np.ndarray) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Executes the action (A + G,) for 0.1 s."""
        num_useless = self._command(np.asarray(action, np.float64))
        for fraction in _RAMP:
            for arm in self._arms:
                arm.advance(fraction)
            mujoco.mj_step(self._model, self._data, nstep=_SUBSTEPS)
        # Poses and contacts are of the state that is observed, not of a substep before it.
        mujoco.mj_forward(self._model, self._data)
        self._num_steps += 1
        success = self._task.is_success()
        info = {"success": success, "grasp_penalty": GRASP_PENALTY * num_useless}
        terminated = success and self._rewards
        return (
            self._observe(),
            float(terminated),
            terminated,
            not terminated and self._num_steps >= self._max_steps,
            info,
        )

    def expert_action(self) -> np.ndarray:
        """The scripted expert's action (A + G,), float32, for any current state of the scene."""
        return self._task.expert_action().astype(np.float32)

    def render(self) -> np.ndarray:  # type: ignore[override]  # gymnasium leaves the frame type free
        """The front view (256, 256, 3), uint8, for videos."""
        return self._render("front", _VIDEO_SIZE)

    def close(self) -> None:
        """Frees the memory of the renderers."""
        while self._renderers:
            self._renderers.popitem()[1].close()

    def _command(self, action: np.ndarray) -> int:
        """Sets the goals of the arms, and returns the number of useless gripper commands."""
        if action.shape != (self._layout.action_dim,) or not np.isfinite(action).all():
            raise ValueError(f"The action must be {self._layout.action_dim} finite numbers in [-1, 1], not {action!r}.")
        num_useless = 0
        for arm, own in zip(self._arms, action.clip(-1.0, 1.0).reshape(len(self._arms), -1), strict=True):
            arm.command(own[:6])
            num_useless += arm.command_gripper(own[6]) if arm.spec.has_gripper else 0
        return num_useless

    def _observe(self) -> Observation:
        images = {key: self._render(view, self._image_size) for key, view in self._views.items()}
        return {**self._vectors(), **images}

    def _vectors(self) -> Observation:
        state = np.concatenate([arm.proprio() for arm in self._arms])
        return {"state": state.astype(np.float32), "object_state": self._task.object_state().astype(np.float32)}

    def _make_observation_space(self) -> gymnasium.spaces.Dict:
        mujoco.mj_forward(self._model, self._data)
        boxes = {
            key: gymnasium.spaces.Box(-np.inf, np.inf, value.shape, np.float32)
            for key, value in self._vectors().items()
        }
        image = gymnasium.spaces.Box(0, 255, (self._image_size, self._image_size, 3), np.uint8)
        return gymnasium.spaces.Dict({**boxes, **dict.fromkeys(self._views, image)})

    def _render(self, view: str, size: int) -> np.ndarray:
        if size not in self._renderers:
            self._renderers[size] = OffscreenRenderer(self._model, size, size)
        return self._renderers[size].render(self._data, view)


def _choose_views(cameras: Sequence[str], num_arms: int) -> dict[str, str]:
    """The model's camera for each requested observation key."""
    wrists = {"wrist": "wrist0"} if num_arms == 1 else {"left_wrist": "wrist0", "right_wrist": "wrist1"}
    valid = {"front": "front", "image": "front"} | wrists
    unknown = [name for name in cameras if name not in valid]
    if unknown:
        names = ", ".join(map(repr, unknown))
        raise ValueError(f"Unknown camera(s) {names}; with {num_arms} arm(s) choose from {', '.join(valid)}.")
    return {name: valid[name] for name in cameras}
