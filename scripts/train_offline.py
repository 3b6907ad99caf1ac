"""Trains a policy on demonstrations alone."""

from __future__ import annotations

import logging
import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from serl_ray.command_line import parse_on_top
from serl_ray.rllib.checkpoint import CHECKPOINTS
from serl_ray.runs.train import CURVE, RunOptions, options_of, train
from serl_ray.settings import OfflineSettings


@dataclass
class Preset:
    """Which defaults the other flags depart from."""

    preset: Literal["none", "tabletop"] = "none"
    """tabletop: networks and batches for the simulator."""
    config: Path | None = None
    """A YAML file of options, such as the best.yaml of a sweep; flags count before it, and it before the preset."""


@dataclass
class TrainOffline(OfflineSettings, RunOptions, Preset):
    """Trains a policy on demonstrations alone."""

    save_dir: Path = Path("offline_ckpt")


def parse(argv: list[str]) -> TrainOffline:
    """The flags, on top of the file and the preset that are among them."""
    return parse_on_top(argv, TrainOffline, Preset)


def main(args: TrainOffline) -> None:
    """Trains, and says how good the policy is as far as can be told, and what to do next."""
    result = train(options_of(args, OfflineSettings), options_of(args, RunOptions))
    if result is None:
        print(f"Interrupted. The run is saved in {args.save_dir}; go on with the same command and --resume.")
        return
    print(f"After {int(result['learner/steps'])} learner steps:")
    if not math.isnan(result["evaluation/success_rate"]):
        low, high = result["evaluation/success_low"], result["evaluation/success_high"]
        print(f"success {result['evaluation/success_rate']:.2f} [{low:.2f}, {high:.2f}] in {args.env_name};")
    if not math.isnan(result["held_out/action_error"]):
        print(
            f"on held-out demonstrations an action error of {result['held_out/action_error']:.3f} of full scale, "
            f"values wrong by {result['held_out/value_error']:.3f}, at most {result['held_out/q_max']:.2f}."
        )
    print(f"Checkpoints {args.save_dir / CHECKPOINTS}, learning curve {args.save_dir / CURVE}")
    print(f"Next, with the flags of this run: python scripts/train_hybrid.py --init_from {args.save_dir}")


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    main(parse(sys.argv[1:]))
