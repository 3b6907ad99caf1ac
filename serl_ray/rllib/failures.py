"""What goes wrong on a worker is said in the driver, at once and with its traceback.

RLlib writes a remote worker's exception into that worker's log and ends the process; so it is carried over as a value instead.
"""

from __future__ import annotations

import functools
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from ray.rllib.evaluation.rollout_worker import RolloutWorker

T = TypeVar("T")


class WorkerError(RuntimeError):
    """A rollout worker has failed; the message ends with the traceback of what happened there."""


@dataclass
class _Failure:
    worker: int
    text: str


def reporting(task: Callable[..., T]) -> Callable[..., T | _Failure]:
    """A task for a remote worker that hands its exception over in place of a result; see `raise_failure`."""

    @functools.wraps(task)
    def run(worker: RolloutWorker, *args: Any, **kwargs: Any) -> T | _Failure:
        try:
            return task(worker, *args, **kwargs)
        except Exception:
            return _Failure(worker.worker_index, traceback.format_exc())

    return run


def raise_failure(result: T | _Failure) -> T:
    """The result of a `reporting` task.

    Raises:
        WorkerError: the task has failed.
    """
    if isinstance(result, _Failure):
        raise WorkerError(f"Rollout worker {result.worker} has failed:\n{result.text}")
    return result
