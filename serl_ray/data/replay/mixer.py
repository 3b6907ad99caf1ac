"""Batches of online experience and demonstrations."""

from __future__ import annotations

from typing import Any

import numpy as np

from serl_ray.data.replay.ring import ReplayBuffer
from serl_ray.types import Batch


def sample_mixed(
    online: ReplayBuffer, demos: ReplayBuffer, batch_size: int, demo_fraction: float, rng: np.random.Generator
) -> Batch:
    """A batch of online transitions followed by `demo_count` demonstrations, as in RLPD.

    If one buffer is empty, the other fills the batch. `is_demo` (B,) bool marks the demonstrations.
    """
    num_demos = demo_count(batch_size, demo_fraction)
    if not len(online) and not len(demos):
        raise ValueError(
            "Neither the online nor the demonstration buffer holds a transition: there is nothing to train on."
        )
    if not len(demos):
        num_demos = 0
    elif not len(online):
        num_demos = batch_size
    batch = online.empty_batch(batch_size)
    num_online = batch_size - num_demos
    if num_online:
        online.sample_into(_part(batch, slice(num_online)), rng)
    if num_demos:
        demos.sample_into(_part(batch, slice(num_online, None)), rng)
    batch["is_demo"] = np.arange(batch_size) >= num_online
    return batch


def demo_count(batch_size: int, demo_fraction: float) -> int:
    """Number of demonstrations in a batch: `batch_size * demo_fraction`, rounded half to even."""
    if not 0.0 <= demo_fraction <= 1.0:
        raise ValueError(
            f"demo_fraction is {demo_fraction}; choose a number from 0 (no demonstrations) to 1 (nothing else)."
        )
    return round(batch_size * demo_fraction)


def _part(batch: Any, rows: slice) -> Any:
    """The given rows of every array of a batch, as views."""
    return {key: _part(value, rows) for key, value in batch.items()} if isinstance(batch, dict) else batch[rows]
