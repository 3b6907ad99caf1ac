"""Streaming of demonstrations that are larger than memory through a replay buffer, in which they are shuffled."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Generator

import numpy as np
import ray.data

from serl_ray.data.demos import segments
from serl_ray.data.replay.ring import ReplayBuffer
from serl_ray.data.schema import Segment
from serl_ray.types import Batch

USES = 4
"""Mean number of draws of a transition while it is in the window."""


class DemoStream:
    """Batches from a window that moves over the data in endless passes, by a fraction of a batch for each batch.

    Args:
        dataset: materialised dataset of segments; Ray keeps on disk what its object store cannot hold.
        window: empty buffer that becomes the window.
        held_out: episodes to leave out.
        seed: seed of the order of the blocks, which differs between passes.
    """

    def __init__(self, dataset: ray.data.Dataset, window: ReplayBuffer, held_out: Collection[str], seed: int) -> None:
        self._dataset, self._window, self._held_out, self._seed = dataset, window, held_out, seed
        self._segments = self._endless()
        self._room = float(window.capacity)

    def sample(self, batch_size: int, rng: np.random.Generator) -> Batch:
        """`batch_size` transitions, as `ReplayBuffer.sample` returns them; the first call fills the window."""
        self._room += batch_size / USES
        while self._room > 0.0:
            segment = next(self._segments)
            self._window.add(segment)
            self._room -= len(segment) + 1
        return self._window.sample(batch_size, rng)

    def close(self) -> None:
        """Stops reading; Ray must still be running."""
        self._segments.close()

    def _endless(self) -> Generator[Segment, None, None]:
        for number in itertools.count():
            shuffled = self._dataset.randomize_block_order(seed=self._seed + number)
            for segment in segments(shuffled):
                if segment.episode not in self._held_out:
                    yield segment
