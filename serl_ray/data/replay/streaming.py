"""Demonstrations that are larger than memory: they stream through a replay buffer, which is the window they are shuffled in."""

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
"""How often a transition is drawn, on average, each time that it passes through the window."""


class DemoStream:
    """Batches from a window that moves over the data, pass after pass: for every batch it moves on by a fraction of a batch.

    Args:
        dataset: of segments, materialised: what does not fit into Ray's object store lies on disk.
        window: an empty buffer; what it holds at a time is what a batch is drawn from.
        held_out: episodes that are left out.
        seed: of the order of the blocks, another one in each pass.
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
        """Ends the reading that is under way; Ray must still be there."""
        self._segments.close()

    def _endless(self) -> Generator[Segment, None, None]:
        for number in itertools.count():
            shuffled = self._dataset.randomize_block_order(seed=self._seed + number)
            for segment in segments(shuffled):
                if segment.episode not in self._held_out:
                    yield segment
