"""The common part of `serl train` and `serl train-offline`."""

from __future__ import annotations

from typing import Any

from serl_ray.options.sets import HybridRun, OfflineRun


def trained(options: HybridRun | OfflineRun) -> dict[str, Any] | None:
    """The last result of a run, which a signal can end; None, and a line about how to resume it, for an interrupted run."""
    from serl_ray.cli.terminal import stop_on_signals
    from serl_ray.runs.train import train
    from serl_ray.utils.memory import keep_freed_memory

    keep_freed_memory()
    with stop_on_signals() as interrupted:
        result = train(options, interrupted)
    if result is None:
        print(f"Interrupted. The run is saved in {options.run.save_dir}; go on with the same command and --resume.")
    return result


def print_folder(options: HybridRun | OfflineRun) -> None:
    """Prints where the checkpoints and the learning curve of a run are."""
    from serl_ray.rllib.checkpoint import CHECKPOINTS
    from serl_ray.runs.train import CURVE

    print(f"Checkpoints {options.run.save_dir / CHECKPOINTS}, learning curve {options.run.save_dir / CURVE}")
