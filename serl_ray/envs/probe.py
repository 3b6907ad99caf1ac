"""Recording of everything that an env returns in some steps."""

from __future__ import annotations

import copy
import inspect
import time
from dataclasses import dataclass, field
from typing import Any

import gymnasium
import numpy as np


class BrokenAPI(Exception):
    """An env whose reset or step do not follow gymnasium's API."""


@dataclass
class Recording:
    """Results of an env: observations with those of resets, and one entry per step in the other lists."""

    observations: list[Any] = field(default_factory=list)  # the env's own objects
    copies: list[Any] = field(default_factory=list)  # copies of the observations, made at once
    rewards: list[Any] = field(default_factory=list)
    terminations: list[Any] = field(default_factory=list)
    truncations: list[Any] = field(default_factory=list)
    infos: list[Any] = field(default_factory=list)
    seconds: float = 0.0

    def record(self, env: gymnasium.Env, actions: np.ndarray, seed: int) -> None:
        """Resets the env with `seed`, executes the actions (steps, A + G), and resets it at the end of an episode.

        Raises:
            BrokenAPI: reset or step do not follow gymnasium's API; earlier results stay recorded.
        """
        self._keep(_reset(env, seed))
        for action in actions:
            begin = time.perf_counter()
            result = env.step(action)
            self.seconds += time.perf_counter() - begin
            if not isinstance(result, tuple) or len(result) != 5:
                what = f"a tuple of {len(result)} (4 is the old gym API)" if isinstance(result, tuple) else type(result).__name__
                raise BrokenAPI(f"step() returns {what}: return observation, reward, terminated, truncated, info.")
            observation, reward, terminated, truncated, info = result
            self._keep(observation)
            self.rewards.append(reward)
            self.terminations.append(terminated)
            self.truncations.append(truncated)
            self.infos.append(info)
            if terminated or truncated:
                self._keep(_reset(env, None))

    def dicts(self) -> list[dict[str, Any]]:
        """The copied observations that are dicts."""
        return [observation for observation in self.copies if isinstance(observation, dict)]

    def by_key(self) -> dict[str, list[Any]]:
        """The copied observations, by key."""
        dicts = self.dicts()
        keys = sorted({key for observation in dicts for key in observation})
        return {key: [observation[key] for observation in dicts if key in observation] for key in keys}

    def episode_lengths(self) -> list[int]:
        """The lengths in steps of the finished episodes."""
        ends = np.flatnonzero([bool(a or b) for a, b in zip(self.terminations, self.truncations, strict=True)])
        return np.diff(ends, prepend=-1).tolist()

    def _keep(self, observation: Any) -> None:
        self.observations.append(observation)
        self.copies.append(copy.deepcopy(observation))


def _reset(env: gymnasium.Env, seed: int | None) -> Any:
    try:
        inspect.signature(env.reset).bind(seed=seed)
    except TypeError as error:
        raise BrokenAPI("reset() takes no seed: declare reset(self, *, seed=None, options=None).") from error
    result = env.reset(seed=seed)
    if not (isinstance(result, tuple) and len(result) == 2 and isinstance(result[1], dict)):
        raise BrokenAPI(f"reset() returns a {type(result).__name__}, not (observation, info) with info a dict: return these two.")
    return result[0]
