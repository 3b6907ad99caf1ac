"""The scale of the state: from demonstrations, or from the run that another one starts from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np

from serl_ray.agents.agent import Agent
from serl_ray.options.sets import HybridOptions, TrainingOptions
from serl_ray.types import Batch

BATCHES = 16
"""Batches of 256 demonstrated states from which mean and deviation of the state are taken."""

T = TypeVar("T", bound=TrainingOptions)


def fit_normaliser(agent: Agent, sample: Callable[[int, np.random.Generator], Batch], seed: int | None) -> None:
    """Takes the scale of the state from demonstrations, where `normalise_state` asks for it.

    Args:
        agent: agent whose encoder has the normaliser, if any.
        sample: source of demonstrated batches, by their size and a random generator.
        seed: seed of the generator.
    """
    if agent.networks.encoder.normaliser is not None:
        rng = np.random.default_rng(seed)
        agent.fit_normaliser(np.concatenate([sample(256, rng)["observations"]["state"] for _ in range(BATCHES)]))


def with_scale_of(saved: Mapping[str, Any], options: T) -> T:
    """The options of a run that starts from another, whose scale of the state it takes over."""
    return options.replace(normalise_state=True) if saved.get("normalise_state") else options


def check_has_scale(options: HybridOptions) -> None:
    """Raises ValueError where states are to be normalised and nothing gives their scale."""
    if options.agent.networks.encoder.normalise_state and not (options.demos.demo_paths or options.schedule.init_from):
        raise ValueError(
            "normalise_state takes the scale of the state from demonstrations, and there are none: name them in "
            "demo_paths, or leave normalise_state off."
        )
