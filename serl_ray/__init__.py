"""serl_ray: sample-efficient robot reinforcement learning from pixels, with demonstrations and a person in the loop, on
Ray.

The public names are imported when they are first used, so that `import serl_ray` takes no time.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from serl_ray.agents.sac import SACAgent, SACHybridAgent
    from serl_ray.envs import check_env, make_env
    from serl_ray.networks.classifier import RewardClassifier
    from serl_ray.rllib import SERL, OfflineConfig, OfflineSERL, SERLConfig

__version__ = "0.1.0"
__all__ = [
    "SERL",
    "OfflineConfig",
    "OfflineSERL",
    "RewardClassifier",
    "SACAgent",
    "SACHybridAgent",
    "SERLConfig",
    "check_env",
    "make_env",
]

HOMES = {
    "SERLConfig": "serl_ray.rllib",
    "SERL": "serl_ray.rllib",
    "OfflineConfig": "serl_ray.rllib",
    "OfflineSERL": "serl_ray.rllib",
    "SACAgent": "serl_ray.agents.sac",
    "SACHybridAgent": "serl_ray.agents.sac",
    "RewardClassifier": "serl_ray.networks.classifier",
    "make_env": "serl_ray.envs",
    "check_env": "serl_ray.envs",
}
"""The public names, and the modules in which they are."""


def __getattr__(name: str) -> Any:
    if name not in HOMES:
        raise AttributeError(f"module 'serl_ray' has no attribute {name!r}")
    value = getattr(importlib.import_module(HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *HOMES])
