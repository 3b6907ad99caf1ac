"""Records successful episodes of a scripted expert as demonstrations."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Literal

import tyro
from tqdm import tqdm

from serl_ray.data.demos import write_demos
from serl_ray.envs.expert import ScriptedExpert
from serl_ray.envs.make import build_env
from serl_ray.record import record_successes
from serl_ray.types import SETUP_MODES, ActionLayout

DEFAULT_CAMERAS = {"single": ("image", "wrist"), "dual": ("image", "left_wrist", "right_wrist")}


@dataclass
class RecordDemos:
    """Records successful episodes of a scripted expert as demonstrations."""

    output: str
    """A .pkl file (the format of HIL-SERL), or a folder for Parquet shards."""
    env: str = "tabletop"
    """tabletop, gym-hil, or package.module:Class for an env of your own with an expert_action()."""
    setup_mode: Literal[SETUP_MODES] = "single-arm-learned-gripper"
    """How many arms there are, and whether their grippers are learned."""
    image_keys: tuple[str, ...] | None = None
    """Cameras to record; by default the front one, as `image`, and each wrist's. Give none to record the state alone."""
    env_kwargs: dict[str, bool | int | float | str] | None = None
    """Arguments of the env's constructor."""
    episodes: int = 20
    """Successful episodes."""
    noise: float = 0.2
    """Standard deviation of the expert's noise, as a share of full scale: it shows what to do off the straight path."""
    seed: int = 0
    """Of the env and the noise."""


def main(args: RecordDemos) -> None:
    """Records and writes."""
    image_keys = DEFAULT_CAMERAS[args.setup_mode.split("-")[0]] if args.image_keys is None else args.image_keys
    env = build_env(args.env, setup_mode=args.setup_mode, image_keys=image_keys, env_kwargs=args.env_kwargs)
    layout = ActionLayout.from_setup(args.setup_mode, env.action_space.shape[0])
    expert = ScriptedExpert(env, layout, noise=args.noise, seed=args.seed)
    episodes = record_successes(env, expert, args.episodes, args.seed)
    segments = list(tqdm(episodes, total=args.episodes, unit="episode"))
    write_demos(args.output, segments)
    steps = sum(len(segment) for segment in segments)
    print(f"{args.output}: {len(segments)} episodes, {steps} transitions, cameras {', '.join(image_keys) or 'none'}.")


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    main(tyro.cli(RecordDemos, use_underscores=True))
