"""Spaces of an env, in gymnasium's form, and what a trainer is told of them."""

from __future__ import annotations

import math
from typing import Any, Mapping

import numpy as np

from serl_robot.wire import DTYPES, MAX_BYTES, MAX_HEADER

SETUP_MODES = (
    "single-arm-fixed-gripper",
    "single-arm-learned-gripper",
    "dual-arm-fixed-gripper",
    "dual-arm-learned-gripper",
)
SIDES = ("behind", "left", "front", "right")
"""Sides from which cameras may look at a robot."""
NUMBERS = [name for name in DTYPES if name != "bool"]
"""Dtypes of observations."""
MAX_KEYS = 8
"""Greatest number of arrays in an observation; a message has room for 16, of which bounds or `info` take the rest."""


class UnservableEnv(ValueError):
    """An env that cannot be served, with what to change."""


class Box:
    """Space of arrays, for an env without gymnasium.

    Args:
        low: least value, a number or an array of the shape.
        high: greatest value.
        shape: shape of the arrays; None for that of `low`.
        dtype: dtype of the arrays.
    """

    def __init__(self, low: Any, high: Any, shape: tuple[int, ...] | None = None, dtype: Any = np.float32) -> None:
        self.shape = tuple(np.shape(low) if shape is None else shape)
        self.dtype = np.dtype(dtype)
        self.low = np.broadcast_to(np.asarray(low, self.dtype), self.shape)
        self.high = np.broadcast_to(np.asarray(high, self.dtype), self.shape)


class Dict:
    """Space of dicts of arrays, for an env without gymnasium.

    Args:
        spaces: space of each key.
    """

    def __init__(self, spaces: Mapping[str, Any]) -> None:
        self.spaces = dict(spaces)


def observation_spaces(env: Any) -> dict[str, Any]:
    """The spaces of an env's observation by key.

    Raises:
        UnservableEnv: a key's space is not that of one array of numbers, or an observation is too large.
    """
    spaces = getattr(getattr(env, "observation_space", None), "spaces", None)
    if not isinstance(spaces, Mapping) or not spaces:
        raise UnservableEnv("The env's observation_space is no Dict with a Box for each camera and vector.")
    if len(spaces) > MAX_KEYS:
        text = f"An observation has {len(spaces)} arrays ({', '.join(spaces)}); at most {MAX_KEYS} can be sent."
        raise UnservableEnv(f"{text} Join vectors into one `state` with np.concatenate.")
    for key, space in spaces.items():
        _check_space(key, space)
    size = sum(math.prod(space.shape) * np.dtype(space.dtype).itemsize for space in spaces.values())
    if size > MAX_BYTES - MAX_HEADER:
        limit = (MAX_BYTES - MAX_HEADER) / 2**20
        raise UnservableEnv(f"An observation has {size / 2**20:.1f} MiB of at most {limit:.1f}. Shrink the images.")
    return dict(spaces)


def action_dim(env: Any) -> int:
    """The number of an action's numbers.

    Raises:
        UnservableEnv: the action is no vector in [-1, 1].
    """
    space: Any = getattr(env, "action_space", None)
    shape = getattr(space, "shape", None)
    if not isinstance(shape, tuple) or len(shape) != 1 or not shape[0]:
        raise UnservableEnv(f"The env's action_space has the shape {shape}; it must be a Box of one dimension.")
    if not (np.all(np.asarray(space.low) == -1) and np.all(np.asarray(space.high) == 1)):
        least, greatest = np.min(space.low), np.max(space.high)
        text = f"The env's action_space is from {least:g} to {greatest:g}; it must be Box(-1, 1, {shape}, np.float32)."
        raise UnservableEnv(f"{text} Scale to metres and radians in step().")
    return int(shape[0])


def description(env: Any) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The spaces in the form of a `hello`: its fields, and as arrays the finite bounds of vectors."""
    spaces = observation_spaces(env)
    observations = {
        key: {"dtype": np.dtype(space.dtype).name, "shape": list(space.shape)} for key, space in spaces.items()
    }
    bounds = {
        f"{name}/{key}": np.asarray(getattr(space, name), space.dtype)
        for key, space in spaces.items()
        for name in ("low", "high")
        if len(space.shape) == 1 and np.isfinite(space.low).all() and np.isfinite(space.high).all()
    }
    return {"observations": observations, "action_shape": [action_dim(env)]}, bounds


def _check_space(key: Any, space: Any) -> None:
    if not isinstance(key, str):
        raise UnservableEnv(f"The observation_space has the key {key!r}; keys must be strings.")
    if isinstance(getattr(space, "spaces", None), Mapping):
        text = f"Observation {key!r} is a dict of {', '.join(map(str, space.spaces))}: flatten it."
        raise UnservableEnv(f"{text} Each camera gets a key of its own, and the vectors are joined into one `state`.")
    if not all(hasattr(space, name) for name in ("shape", "dtype", "low", "high")) or space.shape is None:
        raise UnservableEnv(f"The space of observation {key!r} is a {type(space).__name__}; it must be a Box.")
    shape, dtype = space.shape, np.dtype(space.dtype)
    if len(shape) not in (1, 3):
        text = f"Observation {key!r} has the shape {shape}, not (H, W, 3) or (D,)."
        stacked = " Leave out wrappers that stack observations, such as HIL-SERL's ChunkingWrapper."
        raise UnservableEnv(text + (stacked if shape[:1] == (1,) else ""))
    if dtype.name not in NUMBERS:
        raise UnservableEnv(f"Observation {key!r} is {dtype}; it must be one of {', '.join(NUMBERS)}.")
