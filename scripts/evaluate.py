"""Plays a trained policy and says how often it succeeds."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

import tyro
from tqdm import tqdm

from serl_ray.agents.checkpoint import load_any_agent
from serl_ray.envs.make import make_env
from serl_ray.evaluate import Evaluation, deterministic, record_video, run_episodes
from serl_ray.rllib.checkpoint import AGENT_DIR, read_run
from serl_ray.settings import HybridSettings
from serl_ray.training import CHECKPOINT


@dataclass
class Evaluate:
    """Plays a trained policy and says how often it succeeds."""

    checkpoint: Path
    """The save_dir of a run, or the checkpoint in it."""
    episodes: int = 50
    """Episodes to play."""
    sampled: bool = False
    """Sample actions, as in training; by default the policy's mode acts."""
    video: Path | None = None
    """Where to write a video of the episodes, such as out.mp4."""
    seed: int = 20_000
    """Of the episodes."""


def main(args: Evaluate) -> Evaluation:
    """Plays, and prints the success rate with its 95 % interval."""
    path = args.checkpoint / CHECKPOINT if (args.checkpoint / CHECKPOINT).is_dir() else args.checkpoint
    saved = read_run(path)["settings"]
    settings = HybridSettings(**{field.name: saved[field.name] for field in fields(HybridSettings)})
    agent = load_any_agent(path / AGENT_DIR, "cpu")
    env = make_env(**settings.env_config())
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
