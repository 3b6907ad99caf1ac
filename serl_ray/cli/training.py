"""The common part of `serl train` and `serl train-offline`."""

from __future__ import annotations

import math
from typing import Any

from serl_ray.options.sets import HybridRun, OfflineRun


def trained(options: HybridRun | OfflineRun) -> dict[str, Any] | None:
    """The last result of a run, which a signal can end; None, and a line about how to resume it, for an interrupted
    run."""
    from serl_ray.cli.terminal import stop_on_signals
    from serl_ray.runs.train import train
    from serl_ray.utils.memory import keep_freed_memory

    print(f"The run begins in {options.run.save_dir}: demonstrations are read, Ray starts.", flush=True)
    keep_freed_memory()
    with stop_on_signals() as interrupted:
        result = train(options, interrupted)
    if result is None:
        print(f"Interrupted. The run is saved in {options.run.save_dir}; go on with the same command and --resume.")
    return result


def judgement(result: dict[str, Any]) -> str:
    """The last evaluation in words: its success, and its return where success is unknown or something else; empty
    without one."""
    rate, earned = result["evaluation/success_rate"], result["evaluation/mean_return"]
    low, high = result["evaluation/success_low"], result["evaluation/success_high"]
    parts = [] if math.isnan(rate) else [f"success {rate:.2f} [{low:.2f}, {high:.2f}]"]
    parts += [f"return {earned:.4g}"] if earned != rate and not math.isnan(earned) else []
    return ", ".join(parts)


def print_folder(options: HybridRun | OfflineRun) -> None:
    """Prints where the checkpoints and the learning curve of a run are."""
    from serl_ray.rllib.checkpoint import CHECKPOINTS
    from serl_ray.runs.train import CURVE

    print(f"Checkpoints {options.run.save_dir / CHECKPOINTS}, learning curve {options.run.save_dir / CURVE}")
