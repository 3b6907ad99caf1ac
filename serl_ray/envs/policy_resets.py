"""Resets by a second policy, which puts the scene in order before each episode."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np

from serl_ray.data.episodes import EnvFault
from serl_ray.data.observations import Observation


class PolicyResets(gymnasium.Wrapper):
    """Wrapper in which a second policy acts before each episode: the env is reset, the policy takes its steps, and the
    env is reset once more for the episode.

    Nobody is told of these steps: they belong to no episode. They go on after a success, as which the scene may count
    until the policy has put it in order, and end before their number where the env truncates.

    Args:
        env: env to reset, which gives the policy's observations and takes its actions.
        act: function from an observation to the policy's action (A + G,).
        steps: number of steps that the policy takes.

    Attributes:
        is_stopped: tells whether an operator has stopped the robot, after which the policy takes no step.
    """

    def __init__(self, env: gymnasium.Env, act: Callable[[Observation], np.ndarray], steps: int) -> None:
        super().__init__(env)
        self._act, self._steps = act, steps
        self.is_stopped: Callable[[], bool] = lambda: False

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Starts an episode, in a scene that the policy has put in order; EnvFault at a stop."""
        observation, _ = self.env.reset(seed=seed, options=options)
        for _ in range(self._steps):
            if self.is_stopped():
                raise EnvFault("error", "The robot was stopped while the reset policy acted.")
            observation, _, _, truncated, _ = self.env.step(self._act(observation))
            if truncated:
                break
        return self.env.reset(seed=seed, options=options)
