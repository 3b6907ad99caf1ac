"""Envs for whole runs: a point that has to come close to a goal in the plane."""

from __future__ import annotations

from collections.abc import Sequence

import gymnasium
import numpy as np


class LineEnv(gymnasium.Env):
    """The first two action dimensions move a point by 0.3 a step; success within 0.2 of the goal."""

    def __init__(self, action_dim: int = 7, cameras: Sequence[str] = (), horizon: int = 20) -> None:
        self.cameras, self.horizon = cameras, horizon
        images = {camera: gymnasium.spaces.Box(0, 255, (32, 32, 3), np.uint8) for camera in cameras}
        self.observation_space = gymnasium.spaces.Dict(
            {"state": gymnasium.spaces.Box(-20, 20, (4,), np.float32), **images}
        )
        self.action_space = gymnasium.spaces.Box(-1, 1, (action_dim,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.point, self.goal = self.np_random.uniform(-1, 1, (2, 2))
        self.steps = 0
        return self._observe(), {}

    def step(self, action):
        self.point = self.point + 0.3 * np.asarray(action[:2], np.float64)
        self.steps += 1
        success = bool(np.abs(self.goal - self.point).max() < 0.2)
        info = {"grasp_penalty": -0.02 * float(abs(action[-1]) > 0.5), "success": success}
        return self._observe(), float(success), success, not success and self.steps >= self.horizon, info

    def expert_action(self):
        action = np.zeros(self.action_space.shape, np.float32)
        action[:2] = np.clip((self.goal - self.point) / 0.3, -1, 1)
        return action

    def _observe(self):
        images = {camera: np.full((32, 32, 3), self.steps, np.uint8) for camera in self.cameras}
        return {"state": np.concatenate([self.point, self.goal - self.point]).astype(np.float32), **images}


class SplitEnv(LineEnv):
    """The state in two vectors, which a learner has to name."""

    def __init__(self, **kwargs) -> None:
        super().__init__(**kwargs)
        spaces = dict(self.observation_space.items())
        parts = {key: gymnasium.spaces.Box(-20, 20, (2,), np.float32) for key in ("point", "way")}
        self.observation_space = gymnasium.spaces.Dict({**spaces, **parts})

    def _observe(self):
        observation = super()._observe()
        return {**observation, "point": observation["state"][:2], "way": observation["state"][2:]}


class BurningEnv(LineEnv):
    """Fails after some steps."""

    def step(self, action):
        if self.steps == 3:
            raise RuntimeError("the gripper has caught fire")
        return super().step(action)


class ShownEnv(LineEnv):
    """Shows how many steps it has made, by how bright it is."""

    def render(self):
        return np.full((64, 48, 3), 10 * self.steps, np.uint8)


class SeenEnv(LineEnv):
    """Has a camera, `image`, which shows the step by its brightness."""

    def __init__(self) -> None:
        super().__init__(cameras=("image",))


class RobotEnv(LineEnv):
    """Takes its actions in metres, and commands of a gripper as 0, 1, 2; keeps what it was given in `executed`."""

    def __init__(self) -> None:
        super().__init__(action_dim=2)
        self.action_space = gymnasium.spaces.Box(np.float32([-0.05, 0]), np.float32([0.05, 2]))
        self.executed = []

    def step(self, action):
        self.executed.append(np.array(action))
        return super().step(np.array([action[0] / 0.05, action[1] - 1]))


class CountingLineEnv(LineEnv):
    """Counts its resets, and all of its steps."""

    resets = total = 0

    def reset(self, *, seed=None, options=None):
        self.resets += 1
        return super().reset(seed=seed, options=options)

    def step(self, action):
        self.total += 1
        return super().step(action)
