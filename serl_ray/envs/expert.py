"""Scripted experts that act in the operator's place, with noise."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np

from serl_ray.data.episodes import EnvFault
from serl_ray.types import ActionLayout


class ScriptedExpert:
    """Expert that takes the env's own `expert_action()` and adds Gaussian noise to the continuous dimensions.

    Args:
        env: env, wrapped or not, whose innermost env has `expert_action() -> (A + G,)`.
        layout: layout of the env's action.
        noise: standard deviation of the noise, in units of a full-scale action.
        seed: seed of the noise.
    """

    def __init__(self, env: gymnasium.Env[Any, Any], layout: ActionLayout, noise: float = 0.0, seed: int = 0) -> None:
        if not callable(getattr(env.unwrapped, "expert_action", None)):
            raise ValueError(
                f"{type(env.unwrapped).__name__} has no scripted expert: give it a method expert_action() -> action. "
                "An operator's actions, in info['intervene_action'], are recorded by serl record --driver person."
            )
        self._expert_action = env.get_wrapper_attr("expert_action")
        self._layout, self._continuous = layout, list(layout.continuous_indices)
        self._noise = noise
        self._rng = np.random.default_rng(seed)

    def act(self) -> np.ndarray:
        """The action (A + G,), float32 in [-1, 1], for the current state of the env.

        Raises:
            EnvFault: the env's expert gives something else than a whole action.
        """
        action = np.array(self._expert_action(), np.float32)
        if action.shape != (self._layout.action_dim,) or not np.isfinite(action).all():
            text = (
                f"expert_action() returns {action.tolist()}: return the whole action, {self._layout.action_dim} finite "
                "numbers."
            )
            raise EnvFault("wrong_action", text)
        action[self._continuous] += self._noise * self._rng.standard_normal(len(self._continuous))
        return action.clip(-1.0, 1.0)


class StrayingExpert(ScriptedExpert):
    """Expert that fails in a share of its episodes: from a random step on it takes a random walk.

    Args:
        env, layout, noise, seed: arguments of `ScriptedExpert`.
        share: share of failing episodes, in [0, 1].
        within: number of steps within which the random walk starts.
    """

    def __init__(
        self,
        env: gymnasium.Env[Any, Any],
        layout: ActionLayout,
        noise: float = 0.0,
        seed: int = 0,
        share: float = 0.5,
        within: int = 12,
    ) -> None:
        super().__init__(env, layout, noise, seed)
        self._share, self._within = share, within
        self.begin()

    def begin(self) -> None:
        """Starts a new episode."""
        strays = self._rng.random() < self._share
        self._steps_left = float(self._rng.integers(self._within)) if strays else np.inf
        self._heading = self._layout.random(self._rng, 1)[0]

    def act(self) -> np.ndarray:
        """The action (A + G,), float32 in [-1, 1]: the expert's, or a step of a random walk."""
        self._steps_left -= 1
        if self._steps_left >= 0:
            return super().act()
        new_heading = self._layout.random(self._rng, 1)[0]
        self._heading = np.where(self._rng.random(len(new_heading)) < 0.2, new_heading, self._heading)
        return self._heading
