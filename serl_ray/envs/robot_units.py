"""Envs whose actions are in the units of a robot, for policies that act in [-1, 1]."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box

from serl_ray.data.schema import EXECUTED, SENT
from serl_ray.envs.peers import PEERS_ACTIONS
from serl_ray.types import ActionScale

LIMIT_TOLERANCE = 1e-4
"""Relative tolerance for limits of an env that are those of a scale."""


class RobotUnits(gymnasium.Wrapper):
    """Env with actions in [-1, 1], made of one that takes them in the units in which demonstrations were recorded.

    Args:
        env: env as its author has written it.
        scale: scale by which the actions of the demonstrations were mapped to [-1, 1].
    """

    def __init__(self, env: gymnasium.Env, scale: ActionScale) -> None:
        super().__init__(env)
        self._scale = scale
        self.action_space = Box(-1.0, 1.0, (len(scale.limits),), np.float32)

    def step(self, action: np.ndarray) -> Any:
        """Executes the action (A + G,) in the robot's units; actions that the env reports are mapped to [-1, 1]."""
        result: Any = self.env.step(self._scale.invert(action))
        if not (isinstance(result, tuple) and isinstance(result[-1], dict)):
            return result
        info = dict(result[-1])
        for name, value in info.items():
            if getattr(name, "value", name) in (EXECUTED, SENT, *PEERS_ACTIONS):
                with suppress(TypeError, ValueError):  # what is no action is named at the border
                    info[name] = self._scale.apply(np.asarray(value, np.float32))
        return (*result[:-1], info)

    def expert_action(self) -> np.ndarray:
        """The action (A + G,) in [-1, 1] of the env's scripted expert."""
        expert: Any = self.unwrapped
        return self._scale.apply(np.asarray(expert.expert_action(), np.float32))


def in_policy_units(env: gymnasium.Env, scale: ActionScale | None) -> gymnasium.Env:
    """The env for a policy that learned from demonstrations with this scale: its actions are in [-1, 1].

    An env whose action space is [-1, 1] is returned as it is: it multiplies by the limits itself. One whose action
    space has the limits of the scale is given actions in its own units.

    Raises:
        ValueError: the action space has other limits.
    """
    space = env.action_space
    if scale is None or not isinstance(space, Box) or (np.all(space.low == -1) and np.all(space.high == 1)):
        return env
    if space.shape != (len(scale.limits),):
        raise ValueError(
            f"The env takes actions of shape {space.shape}, the demonstrations have {len(scale.limits)} numbers."
        )
    ones = np.ones(space.shape, np.float32)
    low, high = np.sort([scale.invert(-ones), scale.invert(ones)], axis=0)
    if (wrong := np.flatnonzero(~(_is_close(space.low, low) & _is_close(space.high, high)))).size:
        first = wrong[0]
        raise ValueError(
            f"The env's action space ranges from {space.low[first]:g} to {space.high[first]:g} in dimension "
            f"{', '.join(map(str, wrong))}, and the demonstrations' actions from {low[first]:.6g} to {high[first]:.6g} "
            "before they were divided. Make it these limits in all dimensions, to be given actions in their units; or "
            "-1 to 1, and multiply by them inside the env."
        )
    return RobotUnits(env, scale)


def _is_close(found: np.ndarray, expected: np.ndarray) -> np.ndarray:
    return np.isclose(found, expected, rtol=LIMIT_TOLERANCE, atol=0.0)
