"""An env whose images are what a test says."""

from __future__ import annotations

import gymnasium
import numpy as np


class Film(gymnasium.Env):
    """Shows frames of given brightness, one a step; the state tells the step. It may end by itself, with a reward."""

    observation_space = gymnasium.spaces.Dict(
        {
            "image": gymnasium.spaces.Box(0, 255, (8, 8, 3), np.uint8),
            "state": gymnasium.spaces.Box(-1, 99, (2,), np.float32),
        }
    )
    action_space = gymnasium.spaces.Box(-1, 1, (6,), np.float32)

    def __init__(self, brightness=(0,), reward_at=None, failure_at=None):
        self.brightness, self.reward_at, self.failure_at = brightness, reward_at, failure_at

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return self._observe(), {}

    def step(self, action):
        self.steps += 1
        rewarded, failed = self.steps == self.reward_at, self.steps == self.failure_at
        is_last = self.steps == len(self.brightness) - 1
        return self._observe(), float(rewarded), rewarded or failed, is_last, {"success": rewarded}

    def _observe(self):
        level = self.brightness[min(self.steps, len(self.brightness) - 1)]
        return {"image": np.full((8, 8, 3), level, np.uint8), "state": np.array([0, self.steps], np.float32)}
