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

    Time counts from the start of the first step. A pause between two steps, in which a learner learns or an operator is
    waited for, counts as one control period at most.

    Args:
        env: env that keeps its rate.
        max_seconds: seconds from which a step is the last one of its episode.
        period: seconds of a control period; None for those of the step before the pause.
    """

    def __init__(self, env: gymnasium.Env, max_seconds: float, period: float | None = None) -> None:
        super().__init__(env)
        self._max_seconds, self._period = max_seconds, period
        self._seconds = self._last_step = 0.0
        self._ended: float | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Starts an episode, whose time counts from its first step."""
        self._seconds, self._ended = 0.0, None
        return self.env.reset(seed=seed, options=options)

    def step(self, action: np.ndarray) -> StepResult:
        """Executes the action (A + G,); the step keeps its own observation, also where it is the last one."""
        began = time.monotonic()
        if self._ended is not None:
            self._seconds += min(began - self._ended, self._period or self._last_step)
        observation, reward, terminated, truncated, info = self.env.step(action)
        self._ended = time.monotonic()
        self._last_step = self._ended - began
        self._seconds += self._last_step
        is_late = self._seconds >= self._max_seconds
        return observation, float(reward), terminated, truncated or (is_late and not terminated), info


def keep_time(env: gymnasium.Env, control_hz: float | None, max_seconds: float | None) -> gymnasium.Env:
    """The env at a rate in steps per second, with a limit of its episodes in seconds; None for neither."""
    paced = ControlRate(env, control_hz) if control_hz else env
    return SecondsLimit(paced, max_seconds, 1.0 / control_hz if control_hz else None) if max_seconds else paced
