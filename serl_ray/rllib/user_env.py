"""Envs that are given in RLlib's way, as the options `env_name` and `env_kwargs`, which a checkpoint holds."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from serl_ray.cluster.ray_private import is_registered_env
from serl_ray.envs.make import BUNDLED_ENVS, ROBOT_ENVS, import_factory
from serl_ray.rllib.refusals import RefusedError

WHOLE = ("config", "env_config", "env_context", "context", "ctx", "cfg")
"""Names of a constructor's first argument that takes `env_config` as a whole, as RLlib passes it."""


def env_options(env: Any, env_config: Mapping[str, Any]) -> dict[str, Any]:
    """The options for `.environment(env, env_config=env_config)`.

    Args:
        env: a class, its path as package.module:Class or package.module.Class, a gym id, or the name of an env of
            serl_ray.
        env_config: arguments of the constructor, or of `gymnasium.make`.

    Raises:
        RefusedError: another process could not make this env from its name.
    """
    name, kwargs = _path_of(env), dict(env_config)
    if ":" in name:
        kwargs = _arguments(name, kwargs)
    return {"env_name": name, "env_kwargs": kwargs or None}


def _path_of(env: Any) -> str:
    """The name or gym id of an env, or `package.module:Class`."""
    if isinstance(env, str):
        return _path_in(env)
    if not isinstance(env, type):
        raise RefusedError(f"env is {env!r:.100}: give a class, or its path as package.module:Class.")
    if env.__module__ == "__main__" or env.__qualname__ != env.__name__:
        raise RefusedError(
            f"env is the class {env.__qualname__} of {env.__module__}, which workers and evaluate cannot import: move "
            "it to the top level of a module."
        )
    return f"{env.__module__}:{env.__name__}"


def _path_in(env: str) -> str:
    if is_registered_env(env):
        raise RefusedError(
            f"env is {env!r}, a name that is registered in this process alone, and a checkpoint could not be evaluated "
            "from it: give the class, or its path as package.module:Class."
        )
    module, colon, name = env.partition(":")
    if env in (*BUNDLED_ENVS, *ROBOT_ENVS) or (colon and name.isidentifier()):
        return env
    module, dot, name = env.rpartition(".")
    return f"{module}:{name}" if dot and name.isidentifier() else env


def _arguments(path: str, env_config: dict[str, Any]) -> dict[str, Any]:
    """The constructor's arguments: the keys of `env_config`, or `env_config` itself where the constructor takes it
    whole."""
    try:
        factory = import_factory(path)
    except ValueError:  # which make_env raises again
        return env_config
    first = next(iter(inspect.signature(factory).parameters), None)
    return {first: env_config} if first in WHOLE and first not in env_config else env_config
