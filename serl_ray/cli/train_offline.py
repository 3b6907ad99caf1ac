"""`serl train-offline`: a policy from demonstrations alone."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from typing import Any

from serl_ray.cli.parser import as_flags, parse_layers
from serl_ray.cli.training import judgement, print_folder, trained
from serl_ray.options.sets import HybridRun, OfflineRun
from serl_ray.utils.options import names_of


class TrainOffline(OfflineRun):
    """Train a policy on demonstrations alone."""


def main(argv: Sequence[str]) -> None:
    """Trains, and prints how good the policy is as far as can be told, and the next command."""
    options = parse_layers("serl train-offline", TrainOffline, argv)
    result = trained(options)
    if result is None:
        return
    print(f"After {int(result['learner/steps'])} learner steps:")
    print("\n".join(_judgements(options, result)))
    print_folder(options)
    print(f"Next: {hybrid_command(options)}")


def _judgements(options: TrainOffline, result: dict[str, Any]) -> list[str]:
    lines = []
    if played := judgement(result):
        lines.append(f"{played} in {options.env.env_name};")
    if not math.isnan(result["held_out/action_error"]):
        lines.append(
            f"on held-out demonstrations an action error of {result['held_out/action_error']:.3f} of full scale, "
            f"a value error of {result['held_out/value_error']:.3f}, and values of at most "
            f"{result['held_out/q_max']:.2f}."
        )
    return lines


def hybrid_command(options: TrainOffline) -> str:
    """A hybrid run from this policy, with the options of this run that a hybrid run has."""
    defaults = HybridRun.of(reward=options.reward.reward).flat()
    left_out = {
        "save_dir",
        "resume",
        "mirror",
        "max_steps",
        "steps_per_iteration",
        "evaluate_every",
        "cta_ratio",
        "objective",
    }
    kept = {
        name: value for name, value in options.flat().items() if name in names_of(HybridRun) and name not in left_out
    }
    changed = {name: value for name, value in kept.items() if value != defaults[name]}
    changed |= {"reward": "dense"} if options.reward.reward == "dense" else {}
    if options.env.env_name is None:
        changed["env_name"] = "your_package.module:Class"
    return shlex.join(["serl", "train", "--init_from", str(options.run.save_dir), *as_flags(HybridRun, changed)])
