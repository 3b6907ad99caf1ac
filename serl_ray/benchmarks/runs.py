"""Runs that are there to be measured, and leave nothing behind."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from serl_ray.rllib import SERL
from serl_ray.runs.train import RunOptions, build
from serl_ray.settings import TrainingSettings


@contextmanager
def measured(settings: TrainingSettings, run: RunOptions, output: Path) -> Iterator[SERL]:
    """An algorithm whose experience goes to a folder of its own in `output`, on the disk that counts, as long as it is measured.

    Args:
        settings: of the algorithm.
        run: its seed and workers; the folder that it names is left alone.
        output: the section's folder.
    """
    output.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix="run-", dir=output) as folder:
        algorithm = build(settings, replace(run, save_dir=Path(folder)))
        try:
            yield algorithm
        finally:
            algorithm.stop()


def wait_until_idle(algorithm: SERL) -> None:
    """Until the rollout workers have done what they were asked for."""
    algorithm.env_runner_group.foreach_env_runner(lambda worker: None, local_env_runner=False)
