"""The thread that stores what arrives in the replay buffers, and samples batches ahead of the learner where that takes
long."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

import torch

from serl_ray.types import Batch

T = TypeVar("T")

AHEAD_FROM = 2**20
"""Bytes of a batch in memory that is prepared ahead of a learner on the CPU: a smaller one is made sooner than a
thread is woken for it."""


class BatchFeed:
    """Does one thing after the other, in the order in which they are asked for: what is sampled never depends on
    timing. A small batch is made in the thread that asks for it, while no other work is under way.

    Args:
        sample: makes a batch.
        device: the learner's device; batches are copied to a GPU from pinned memory, while it works.
        reads: whether batches come from a disk, so that even a small one may take long.

    Attributes:
        seconds_waited: for batches that were not ready when they were wanted.
    """

    def __init__(self, sample: Callable[[], Batch], device: torch.device, reads: bool = False) -> None:
        self._sample, self._device = sample, device
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="batches")
        self._next: Future[Batch] | None = None
        self._always_ahead, self._is_small = reads or device.type == "cuda", False
        self.seconds_waited = 0.0

    def next(self, prepare_another: bool) -> Batch:
        """A batch. With `prepare_another` the one after it is sampled at once, from the buffers as they are now, where
        that takes long."""
        started = time.monotonic()
        made = self._make() if self._is_small else (self._next or self._thread.submit(self._make)).result()
        self.seconds_waited += time.monotonic() - started
        self._is_small = not self._always_ahead and _nbytes(made) < AHEAD_FROM
        self._next = self._thread.submit(self._make) if prepare_another and not self._is_small else None
        return made

    def run(self, task: Callable[..., T], *args: Any) -> T:
        """Runs something that reads or writes the buffers, after what was asked for before."""
        return self._thread.submit(task, *args).result()

    def close(self) -> None:
        """Ends the thread."""
        self._thread.shutdown()

    def _make(self) -> Batch:
        batch = self._sample()
        return _pinned_copy(batch, self._device) if self._device.type == "cuda" else batch


def _nbytes(batch: Any) -> int:
    return sum(map(_nbytes, batch.values())) if isinstance(batch, dict) else batch.nbytes


def _pinned_copy(batch: Any, device: torch.device) -> Any:
    if isinstance(batch, dict):
        return {key: _pinned_copy(value, device) for key, value in batch.items()}
    return torch.as_tensor(batch).pin_memory().to(device, non_blocking=True)
