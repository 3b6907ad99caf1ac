"""A scripted person: the expert of an env, with the hand-shake of a person's."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np

from serl_ray.types import ActionLayout


class ScriptedExpert:
    """Acts by the env's own `expert_action()`, plus Gaussian noise on the continuous dimensions.

    Args:
        env: any env, wrapped or not, whose innermost env has `expert_action() -> (A + G,)`.
        layout: tells the continuous dimensions from the grippers.
        noise: standard deviation of the noise, in units of a full-scale action.
        seed: of the noise.
    """

    def __init__(self, env: gymnasium.Env[Any, Any], layout: ActionLayout, noise: float = 0.0, seed: int = 0) -> None:
        expert_action = getattr(env.unwrapped, "expert_action", None)
        if not callable(expert_action):
            raise TypeError(f"{type(env.unwrapped).__name__} has no scripted expert: give it a method expert_action() -> action.")
        self._expert_action = expert_action
        self._continuous = list(layout.continuous_indices)
        self._noise = noise
        self._rng = np.random.default_rng(seed)

    def act(self) -> np.ndarray:
        """The action (A + G,), float32 in [-1, 1], for the env's present state."""
        action = np.array(self._expert_action(), np.float32)
        action[self._continuous] += self._noise * self._rng.standard_normal(len(self._continuous))
        return action.clip(-1.0, 1.0)


class StrayingExpert(ScriptedExpert):
    """An expert that may lose its way: in a share of its episodes it wanders from a random step on, and so shows how a task looks
    that fails.

    Args:
        env, layout, noise, seed: as of `ScriptedExpert`.
        share: of the episodes that go astray, in [0, 1].
        within: steps at the start of an episode among which the last good one is drawn.
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
        self._layout, self._share, self._within = layout, share, within
        self.begin()

    def begin(self) -> None:
        """A new episode."""
        strays = self._rng.random() < self._share
        self._steps_left = self._rng.integers(self._within) if strays else np.inf
        self._heading = self._layout.random(self._rng, 1)[0]

    def act(self) -> np.ndarray:
        """The action (A + G,), float32 in [-1, 1]: the expert's, or a step of a random walk."""
        self._steps_left -= 1
        if self._steps_left >= 0:
            return super().act()
        new_heading = self._layout.random(self._rng, 1)[0]
        self._heading = np.where(self._rng.random(len(new_heading)) < 0.2, new_heading, self._heading)
        return self._heading
