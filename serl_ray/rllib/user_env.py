"""Envs that are given in RLlib's way, as the options `env_name` and `env_kwargs`, which a checkpoint holds."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from serl_ray.cluster.ray_private import is_registered_env
from serl_ray.envs.make import BUNDLED_ENVS
from serl_ray.rllib.refusals import RefusedError

WHOLE = ("config", "env_config", "env_context", "context", "ctx", "cfg")
"""Names of a constructor's first argument that takes `env_config` as a whole, as RLlib passes it."""
GYM_MAKE = "gymnasium:make"


def env_options(env: Any, env_config: Mapping[str, Any]) -> dict[str, Any]:
    """The options for `.environment(env, env_config=env_config)`.

    Args:
        env: a class, its path as package.module:Class or package.module.Class, a gym id, or the name of an env of serl_ray.
        env_config: arguments of the constructor, or of `gymnasium.make`.

    Raises:
        RefusedError: another process could not make this env from its name.
    """
    name, kwargs = _path_of(env), dict(env_config)
    if name is None:
        return {"env_name": GYM_MAKE, "env_kwargs": {"id": env, **kwargs}}
    if name not in BUNDLED_ENVS:
        kwargs = _arguments(name, kwargs)
    return {"env_name": name, "env_kwargs": kwargs or None}


def _path_of(env: Any) -> str | None:
    """The name of an env, or `package.module:Class`; None for a gym id."""
    if isinstance(env, str):
        return _path_in(env)
    if not isinstance(env, type):
        raise RefusedError(f"env is {env!r:.100}: give a class, or its path as package.module:Class.")
    if env.__module__ == "__main__" or env.__qualname__ != env.__name__:
        raise RefusedError(
            f"env is the class {env.__qualname__} of {env.__module__}, which workers and evaluate cannot import: move it to the "
            "top level of a module."
        )
    return f"{env.__module__}:{env.__name__}"


def _path_in(env: str) -> str | None:
    if is_registered_env(env):
        raise RefusedError(
            f"env is {env!r}, a name that is registered in this process alone, and a checkpoint could not be evaluated from it: "
            "give the class, or its path as package.module:Class."
        )
    module, colon, name = env.partition(":")
    if env in BUNDLED_ENVS or (colon and name.isidentifier()):
        return env
    module, dot, name = env.rpartition(".")
    return f"{module}:{name}" if dot and name.isidentifier() else None


def _arguments(path: str, env_config: dict[str, Any]) -> dict[str, Any]:
    """The constructor's arguments: the keys of `env_config`, or `env_config` itself where the constructor takes it whole."""
    factory = _imported(path)
    first = next(iter(inspect.signature(factory).parameters), None) if factory else None
    return {first: env_config} if first in WHOLE and first not in env_config else env_config


def _imported(path: str) -> Callable[..., Any] | None:
    """The class; None where there is none, which `make_env` explains."""
    module, _, name = path.partition(":")
    try:
        return getattr(importlib.import_module(module), name, None)
    except ImportError:
        return None
