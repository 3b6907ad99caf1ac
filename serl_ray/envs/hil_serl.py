"""Envs that were written for the original HIL-SERL, by the rules of our contract."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box

from serl_ray.data.episodes import StepResult
from serl_ray.data.observations import STATE, Observation
from serl_ray.data.schema import EXECUTED

NESTED_IMAGES = "images"


class HilSerlEnv(gymnasium.Wrapper):
    """An env as `config.get_environment(...)` of HIL-SERL returns it, with all of its wrappers, by our contract.

    The axis of `ChunkingWrapper` is left out, and `images` and `state` are flattened where `SERLObsWrapper` has not
    done so. There `done` also ends an episode whose time is up: here it is `terminated` with a success, and else
    `truncated`. The action of a person is clipped to [-1, 1], as the robot has executed it.

    Args:
        env: env whose observations are a dict; its info reports `succeed`, or its reward is above 0 at success.

    Raises:
        ValueError: the observations are no dict, or the axis of `ChunkingWrapper` is longer than 1.
    """

    def __init__(self, env: gymnasium.Env) -> None:
        super().__init__(env)
        space = env.observation_space
        if not isinstance(space, gymnasium.spaces.Dict):
            raise ValueError(f"The observation space is {type(space).__name__}; an env of HIL-SERL has a Dict.")
        self.observation_space = gymnasium.spaces.Dict({key: _box(key, parts) for key, parts in _parts(space.spaces)})

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Starts an episode."""
        observation, info = self.env.reset(seed=seed, options=options)
        return _flat(observation), info

    def step(self, action: np.ndarray) -> StepResult:
        """Executes the action (A + G,)."""
        observation, reward, done, truncated, info = self.env.step(action)
        is_over, has_succeeded = bool(done), bool(info.get("succeed", float(reward) > 0.0))
        if EXECUTED in info:
            info = info | {EXECUTED: np.clip(np.asarray(info[EXECUTED], np.float32), -1.0, 1.0)}
        is_cut_off = bool(truncated) or (is_over and not has_succeeded)
        return _flat(observation), float(reward), is_over and has_succeeded, is_cut_off, info


def _parts(tree: Mapping[str, Any]) -> Iterator[tuple[str, list[Any]]]:
    """The observations by key, flat; those of a nested state are a list in alphabetical order, as in the original."""
    for key, value in tree.items():
        inner = value.spaces if isinstance(value, gymnasium.spaces.Dict) else value
        if isinstance(inner, Mapping) and key == NESTED_IMAGES:
            yield from ((camera, [image]) for camera, image in inner.items())
        else:
            yield key, [inner[name] for name in sorted(inner)] if isinstance(inner, Mapping) else [inner]


def _box(key: str, parts: list[Any]) -> Box:
    """The space of an observation; of several, that of one vector."""
    low, high = (_joined(key, [getattr(part, end) for part in parts]) for end in ("low", "high"))
    return Box(low, high, dtype=low.dtype.type)


def _flat(observation: Mapping[str, Any]) -> dict[str, np.ndarray]:
    return {key: _joined(key, parts) for key, parts in _parts(observation)}


def _joined(key: str, parts: list[Any]) -> np.ndarray:
    """An array without the axis of `ChunkingWrapper`; several as one vector (D,). Vectors are float32."""
    if len(parts) > 1 or key == STATE:
        arrays = [np.asarray(part, np.float32) for part in parts]
        return np.concatenate([_unchunked(key, array, 2).ravel() for array in arrays])
    [array] = map(np.asarray, parts)
    return _unchunked(key, array, 4)


def _unchunked(key: str, array: np.ndarray, chunked_ndim: int) -> np.ndarray:
    if array.ndim != chunked_ndim:
        return array
    if len(array) != 1:
        raise ValueError(
            f"Observation `{key}` has shape {array.shape}: {len(array)} steps of ChunkingWrapper. Make it with "
            f"obs_horizon=1, and stack images by --frame_stack {len(array)}."
        )
    unchunked: np.ndarray = array[0]
    return unchunked
