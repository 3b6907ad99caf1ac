"""`serl train`: a policy from demonstrations and online experience."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from serl_ray.cli.parser import parse_layers
from serl_ray.cli.training import judgement, print_folder, trained
from serl_ray.options.sets import HybridRun

VIDEO = "policy.mp4"


class Train(HybridRun):
    """Train a policy on demonstrations and online experience."""


def main(argv: Sequence[str]) -> None:
    """Trains, plays the policy for a video, and prints the result and the next command."""
    options = parse_layers("serl train", Train, argv)
    result = trained(options)
    if result is None:
        return
    played = judgement(result) or "trained without an evaluation"
    print(f"{played[0].upper()}{played[1:]} after {int(result['env/steps'])} env steps.")
    print_folder(options)
    _write_video(options)
    print(f"Next: {evaluation_command(options)}")


def _write_video(options: Train) -> None:
    """Three episodes of the policy, where opening the env a second time does no harm: in a simulator."""
    from serl_ray.envs.make import BUNDLED_ENVS
    from serl_ray.evaluation.rollouts import deterministic, record_video
    from serl_ray.runs.folder import choose_checkpoint
    from serl_ray.runs.policy import load_policy

    if options.env.env_name not in BUNDLED_ENVS:
        return
    path, sentence = choose_checkpoint(options.run.save_dir)
    print(sentence)
    agent, env = load_policy(path)
    success_return = options.reward.success_return
    record_video(deterministic(agent), env, options.run.save_dir / VIDEO, episodes=3, success_return=success_return)
    env.close()
    print(f"Video {options.run.save_dir / VIDEO}")


def evaluation_command(options: Train) -> str:
    """The command that evaluates the run, ready to be pasted."""
    from serl_ray.envs.make import BUNDLED_ENVS
    from serl_ray.runs.log import VIDEOS

    save_dir = str(options.run.save_dir)
    own = options.env.env_name if options.env.env_name not in BUNDLED_ENVS else None
    words = ["serl", "evaluate", "--checkpoint", save_dir, "--episodes", "50"]
    if own is None or any((options.run.save_dir / VIDEOS).glob("*.mp4")):
        words += ["--video", f"{save_dir}/evaluation.mp4"]
    if own:
        words += ["--env_name", own]
    return shlex.join(words)
