"""Trains a policy on demonstrations and its own experience."""

from __future__ import annotations

import logging
import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from serl_ray.command_line import parse_on_top
from serl_ray.evaluation.rollouts import deterministic, record_video
from serl_ray.rllib.checkpoint import CHECKPOINTS
from serl_ray.runs.train import CURVE, HybridRunOptions, load_policy, options_of, train
from serl_ray.settings import HybridSettings

VIDEO = "policy.mp4"


@dataclass
class Preset:
    """Which defaults the other flags depart from."""

    preset: Literal["none", "hil-serl", "tabletop"] = "none"
    """hil-serl: the hyper-parameters of the original. tabletop: those for the simulator."""
    config: Path | None = None
    """A YAML file of options, such as the best.yaml of a sweep; flags count before it, and it before the preset."""


@dataclass
class TrainHybrid(HybridSettings, HybridRunOptions, Preset):
    """Trains a policy on demonstrations and its own experience."""


def parse(argv: list[str]) -> TrainHybrid:
    """The flags, on top of the file and the preset that are among them."""
    return parse_on_top(argv, TrainHybrid, Preset)


def main(args: TrainHybrid) -> None:
    """Trains, then plays the policy for a video, and says what there is and what to do next."""
    settings = options_of(args, HybridSettings)
    result = train(settings, options_of(args, HybridRunOptions))
    if result is None:
        print(f"Interrupted. The run is saved in {args.save_dir}; go on with the same command and --resume.")
        return
    low, high = result["evaluation/success_low"], result["evaluation/success_high"]
    success = "" if math.isnan(low) else f"Success {result['evaluation/success_rate']:.2f} [{low:.2f}, {high:.2f}] "
    print(f"{success or 'Trained, and not evaluated, '}after {int(result['env/steps'])} env steps.")
    print(f"Checkpoints {args.save_dir / CHECKPOINTS}, learning curve {args.save_dir / CURVE}")
    write_video(settings, args)
    print(f"Next: python scripts/evaluate.py --checkpoint {args.save_dir} --episodes 50 --video {args.save_dir}/evaluation.mp4")


def write_video(settings: HybridSettings, args: TrainHybrid) -> None:
    """Three episodes of the policy, where the env shows pictures and opening it a second time is no harm (a simulator)."""
    if ":" in settings.env_name:
        return
    agent, env = load_policy(args.save_dir)
    record_video(deterministic(agent), env, args.save_dir / VIDEO, episodes=3)
    print(f"Video {args.save_dir / VIDEO}")


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    main(parse(sys.argv[1:]))
