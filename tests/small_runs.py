"""Options of runs that are over soon, and a loop with an end."""

from __future__ import annotations

import time
from collections.abc import Callable

from serl_ray.rllib import SERL

SMALL = {
    "training_starts": 20,
    "random_steps": 20,
    "max_steps": 5000,
    "batch_size": 16,
    "hidden_dims": (16, 16),
    "utd_ratio": 1.0,
}

SWEPT = {
    "env_name": "line_envs:LineEnv",
    "training_starts": 20,
    "random_steps": 30,
    "batch_size": 16,
    "hidden_dims": [16, 16],
    "max_steps": 200,
    "steps_per_iteration": 50,
    "evaluate_every": 50,
    "evaluation_episodes": 2,
}
"""For the trials of a sweep."""


def train_until(algorithm: SERL, condition: Callable[[], bool], seconds: float = 120) -> None:
    """Trains until it is so, and fails after some seconds in which it has not come to be so.

    It makes steps, not iterations: those would not end while no worker brings anything.
    """
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends, "it has not come to pass"
        algorithm.training_step()
