"""Records successful episodes as demonstrations, or success and failure frames for a reward classifier."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import gymnasium
import numpy as np
import tyro
from tqdm import tqdm

from serl_ray.data.demos import write_demos
from serl_ray.envs.expert import ScriptedExpert, StrayingExpert
from serl_ray.envs.learned_reward import LearnedReward
from serl_ray.envs.make import all_cameras, build_env
from serl_ray.envs.recording import Drive, record_frames, record_successes
from serl_ray.types import SETUP_MODES, ActionLayout

DEFAULT_CAMERAS = {"single": ("image", "wrist"), "dual": ("image", "left_wrist", "right_wrist")}


@dataclass
class RecordDemos:
    """Records successful episodes as demonstrations, or success and failure frames for a reward classifier."""

    output: str | None = None
    """Demonstrations: a .pkl file (the format of HIL-SERL), or a folder for Parquet shards."""
    classifier_data: Path | None = None
    """In place of demonstrations, a folder for frames, in its folders success and failure."""
    env: str = "tabletop"
    """tabletop, gym-hil, or package.module:Class for an env of your own."""
    driver: Literal["expert", "person"] = "expert"
    """expert: the env's expert_action(). person: whoever acts through the env, which reports it in info["intervene_action"]."""
    setup_mode: Literal[SETUP_MODES] = "single-arm-learned-gripper"
    """How many arms there are, and whether their grippers are learned."""
    image_keys: tuple[str, ...] | None = None
    """Cameras to record; by default the front one, as `image`, and each wrist's. Give none to record the state alone."""
    env_kwargs: dict[str, bool | int | float | str] | None = None
    """Arguments of the env's constructor."""
    classifier: str | None = None
    """Folder of a reward classifier, whose verdict is the reward; by default the env's own counts."""
    success_frames: int = 1
    """Frames in a row that the classifier must call a success."""
    success_gate: str | None = None
    """What proprioception must say of a success, too: "state[6] > 0.04"."""
    episodes: int = 20
    """Episodes: of demonstrations the successful ones, of frames all."""
    failing_share: float = 0.5
    """Share of the episodes of frames in which the expert loses its way."""
    noise: float = 0.2
    """Standard deviation of the expert's noise, as a share of full scale: it shows what to do off the straight path."""
    seed: int = 0
    """Of the env and the noise."""

    def __post_init__(self) -> None:
        if (self.output is None) == (self.classifier_data is None):
            raise SystemExit("Give either --output, for demonstrations, or --classifier_data, for frames.")
        if self.image_keys is None:
            self.image_keys = DEFAULT_CAMERAS[self.setup_mode.split("-")[0]]


def main(args: RecordDemos) -> None:
    """Records and writes."""
    env = make(args)
    if args.classifier_data:
        record_classifier_data(env, args)
    else:
        record_demonstrations(env, args)


def make(args: RecordDemos) -> gymnasium.Env:
    """The env with all of its observations, and the reward that counts."""
    learned = {"classifier": args.classifier, "success_frames": args.success_frames, "gate": args.success_gate}
    cameras = all_cameras(args.image_keys, learned if args.classifier else None)
    env = build_env(args.env, setup_mode=args.setup_mode, image_keys=cameras, env_kwargs=args.env_kwargs)
    return LearnedReward(env, **learned) if args.classifier else env


def record_demonstrations(env: gymnasium.Env, args: RecordDemos) -> None:
    """Writes the episodes that have succeeded."""
    layout = ActionLayout.from_setup(args.setup_mode, env.action_space.shape[0])
    drive = stand_still(env) if args.driver == "person" else ScriptedExpert(env, layout, args.noise, args.seed).act
    episodes = record_successes(env, drive, args.episodes, args.seed)
    segments = list(tqdm(episodes, total=args.episodes, unit="episode"))
    write_demos(args.output, segments)
    steps = sum(len(segment) for segment in segments)
    print(f"{args.output}: {len(segments)} episodes, {steps} transitions, cameras {', '.join(args.image_keys) or 'none'}.")


def record_classifier_data(env: gymnasium.Env, args: RecordDemos) -> None:
    """Writes the frames of every episode as it ends."""
    layout = ActionLayout.from_setup(args.setup_mode, env.action_space.shape[0])
    expert = None
    if args.driver == "expert":
        expert = StrayingExpert(env, layout, args.noise, args.seed, share=args.failing_share)
    drive = expert.act if expert else stand_still(env)
    counts: Counter[str] = Counter()
    for episode in tqdm(range(args.episodes), unit="episode"):
        if expert:
            expert.begin()
        name, seed = f"episode-{args.seed}-{episode:04d}", args.seed + episode
        counts.update(record_frames(env, drive, args.image_keys, args.classifier_data, name, seed))
    print(
        f"{args.classifier_data}: {counts['success']} success and {counts['failure']} failure frames of {args.episodes} episodes."
    )


def stand_still(env: gymnasium.Env) -> Drive:
    """What is handed to an env that a person drives."""
    action = np.zeros(env.action_space.shape, np.float32)
    return lambda: action


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    main(tyro.cli(RecordDemos, use_underscores=True))
