"""Time limit of an episode in seconds."""

from __future__ import annotations

import time
from typing import Any

import gymnasium
import numpy as np

from serl_ray.data.episodes import StepResult
from serl_ray.data.observations import Observation
from serl_ray.envs.wrappers import ControlRate


class SecondsLimit(gymnasium.Wrapper):
    """Wrapper that truncates an episode after some seconds; a limit of the env itself may end it before.

    Time counts from the start of the first step; time in which the robot waits for an operator does not count.

    Args:
        env: env that keeps its rate.
        max_seconds: seconds from which a step is the last one of its episode.
    """

    def __init__(self, env: gymnasium.Env, max_seconds: float) -> None:
        super().__init__(env)
        self._max_seconds = max_seconds
        self._began: float | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Starts an episode, whose time counts from its first step."""
        self._began = None
        return self.env.reset(seed=seed, options=options)

    def step(self, action: np.ndarray) -> StepResult:
        """Executes the action (A + G,); the step keeps its own observation, also where it is the last one."""
        if self._began is None:
            self._began = time.monotonic()
        observation, reward, terminated, truncated, info = self.env.step(action)
        is_late = time.monotonic() - self._began >= self._max_seconds
        return observation, float(reward), terminated, truncated or (is_late and not terminated), info

    def add_pause(self, seconds: float) -> None:
        """The robot has waited for an operator for some seconds, which do not count; called by its wrapper."""
        if self._began is not None:
            self._began += seconds


def keep_time(env: gymnasium.Env, control_hz: float | None, max_seconds: float | None) -> gymnasium.Env:
    """The env at a rate in steps per second, with a limit of its episodes in seconds; None for neither."""
    paced = ControlRate(env, control_hz) if control_hz else env
    return SecondsLimit(paced, max_seconds) if max_seconds else paced
