"""Envs with a reward at every step, which a run learns with --reward dense."""

from __future__ import annotations

import gymnasium
import numpy as np
from line_envs import LineEnv


class Pendulum(gymnasium.Wrapper):
    """Gymnasium's pendulum under the env contract: a `state`, actions in [-1, 1], no word about success."""

    def __init__(self) -> None:
        super().__init__(gymnasium.make("Pendulum-v1"))
        self.observation_space = gymnasium.spaces.Dict({"state": self.env.observation_space})
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        state, info = self.env.reset(seed=seed, options=options)
        return {"state": state}, info

    def step(self, action):
        state, reward, terminated, truncated, info = self.env.step(2.0 * action)
        return {"state": state}, float(reward), terminated, truncated, info


class Reach(LineEnv):
    """A reward of minus the distance to the goal; it succeeds if that is below 0.25 at the end."""

    def __init__(self) -> None:
        super().__init__(action_dim=2, horizon=25)

    def step(self, action):
        super().step(action)
        self.point = np.clip(self.point, -2, 2)
        distance = float(np.linalg.norm(self.goal - self.point))
        return self._observe(), -distance, False, self.steps == self.horizon, {"success": distance < 0.25}


class Stages(Reach):
    """Three rewards of 0.5 on the way, in steps 1, 3 and 5, at which an episode ends."""

    def step(self, action):
        observation, _, _, _, info = super().step(action)
        return observation, 0.5 * (self.steps % 2), False, self.steps == 5, info
