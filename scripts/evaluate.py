"""Plays a trained policy and says how often it succeeds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tyro
from tqdm import tqdm

from serl_ray.evaluation.rollouts import Evaluation, deterministic, record_video, run_episodes
from serl_ray.runs.mirror import local_run
from serl_ray.runs.train import load_policy


@dataclass
class Evaluate:
    """Plays a trained policy and says how often it succeeds."""

    checkpoint: str
    """The save_dir of a run, or the checkpoint in it, or the URI where a run is mirrored."""
    episodes: int = 50
    """Episodes to play."""
    sampled: bool = False
    """Sample actions, as in training; by default the policy's mode acts."""
    video: Path | None = None
    """Where to write a video of the episodes, such as out.mp4."""
    classifier: Path | None = None
    """A reward classifier to judge the episodes by; by default what the policy was trained with."""
    env_name: str | None = None
    """The env to play in: tabletop, gym-hil, package.module:Class; by default the one it was trained in, if it is one of the
    first two. Your own is named here, because to make it runs its code."""
    seed: int = 20_000
    """Of the episodes."""


def main(args: Evaluate) -> Evaluation:
    """Plays, and prints the success rate with its 95 % interval."""
    overrides = {"classifier": str(args.classifier)} if args.classifier else {}
    overrides |= {"env_name": args.env_name} if args.env_name else {}
    agent, env = load_policy(local_run(args.checkpoint), **overrides)
    act = agent.sample_actions if args.sampled else deterministic(agent)
    if args.video:
        outcome = record_video(act, env, args.video, args.episodes, args.seed)
    else:
        episodes = run_episodes(act, env, args.episodes, args.seed)
        outcome = Evaluation(list(tqdm(episodes, total=args.episodes, unit="episode")))
    print(outcome)
    return outcome


if __name__ == "__main__":
    main(tyro.cli(Evaluate, use_underscores=True))
