"""Values of a config that RLlib takes as they are: numbers below their limits, and search spaces."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from numbers import Integral, Real
from typing import Any

from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.tune.search.sample import Domain

from serl_ray.rllib.refusals import RefusedError

LEAST = {
    "num_env_runners": 0,
    "num_envs_per_env_runner": 1,
    "evaluation_num_env_runners": 0,
    "metrics_num_episodes_for_smoothing": 1,
    "seed": 0,
}
"""Least values of the settings that are whole numbers."""
AMOUNTS = ("num_gpus", "num_cpus_per_env_runner", "num_cpus_for_main_process")
"""Settings that are amounts of a resource."""
RESOURCES = ("custom_resources_per_env_runner", "custom_resources_for_main_process")
"""Settings that are amounts of resources by name."""


def is_search_space(value: Any) -> bool:
    """True for what Tune draws a value from, also inside a dict: `tune.grid_search([...])`, `tune.loguniform(...)`."""
    if isinstance(value, dict):
        return value.keys() == {"grid_search"} or any(map(is_search_space, value.values()))
    return isinstance(value, Domain)


def check_drawn(config: AlgorithmConfig, names: Iterable[str]) -> None:
    """Raises RefusedError for a setting that is a search space, where an algorithm is built from the config."""
    for name in names:
        if is_search_space(getattr(config, name)):
            raise RefusedError(
                f"{name} is a search space of Tune's, which draws a value from it for each trial: give the config to "
                "Tuner(param_space=config), or set one value."
            )


def check_numbers(config: AlgorithmConfig) -> None:
    """Raises RefusedError for the first number that is below its limit, or is none."""
    for name, least in LEAST.items():
        value = getattr(config, name)
        if not (_is_number(value, Integral) and value >= least) and not (name == "seed" and value is None):
            raise RefusedError(f"{name} is {value!r:.100}, and is refused. Set a whole number, at least {least}.")
    for name, value in _amounts(config):
        if not (_is_number(value, Real) and math.isfinite(value) and value >= 0):
            raise RefusedError(f"{name} is {value!r:.100}, and is refused. Set a finite number, at least 0.")
    if config.num_gpus > 1:
        raise RefusedError(
            f"num_gpus is {config.num_gpus}, and is refused. The learner is on one device: set at most 1."
        )


def _amounts(config: AlgorithmConfig) -> Iterator[tuple[str, Any]]:
    yield from ((name, getattr(config, name)) for name in AMOUNTS)
    for name in RESOURCES:
        for resource, amount in (getattr(config, name) or {}).items():
            yield f"{name}[{resource!r}]", amount


def _is_number(value: Any, kind: type) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)
