"""Runs that are there to be measured, and leave nothing behind."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from serl_ray.options.sets import HybridRun, OfflineRun
from serl_ray.rllib.base import TrainingAlgorithm
from serl_ray.runs.train import build


@contextmanager
def measured(options: HybridRun | OfflineRun, folder: Path) -> Iterator[TrainingAlgorithm]:
    """An algorithm to measure; its experience lies in a temporary folder inside `folder`, on the disk that counts."""
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix="run-", dir=folder) as temporary:
        algorithm = build(options.replace(save_dir=temporary))
        try:
            yield algorithm
        finally:
            algorithm.stop()


def wait_until_idle(algorithm: TrainingAlgorithm) -> None:
    """Waits until the rollout workers have no request in flight."""
    algorithm.env_runner_group.foreach_env_runner(lambda worker: None, local_env_runner=False)
