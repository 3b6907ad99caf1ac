"""Converts demonstrations between HIL-SERL pickles, Parquet shards and LeRobot data sets."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from serl_ray.data.convert import convert
from serl_ray.data.demos import PICKLES
from serl_ray.data.formats.lerobot.folder import V2, V3
from serl_ray.data.formats.lerobot.reader import LeRobotOptions
from serl_ray.data.formats.lerobot.writer import LeRobotFormat


@dataclass
class ConvertDemos:
    """Converts demonstrations between HIL-SERL pickles, Parquet shards and LeRobot data sets.

    The format of what is read is found out. LeRobot has no observation after the last action of an episode: read from it, an
    episode that was terminated ends in its last frame twice, and any other is one transition shorter.
    """

    input: Annotated[str, tyro.conf.arg(metavar="IN"), tyro.conf.Positional]
    """A pickle, a folder of Parquet shards or of pickles, a LeRobot folder, a pattern, or a URI of these."""
    output: Annotated[Path, tyro.conf.arg(metavar="OUT"), tyro.conf.Positional]
    """A name that is not taken: .pkl for a pickle, else a folder."""
    to: Literal["pickle", "parquet", "lerobot-v3", "lerobot-v2.1"] | None = None
    """The format to write; by default a pickle where OUT ends in .pkl, else Parquet."""
    videos: bool = False
    """LeRobot: cameras as H.264 videos, which are small and lose detail, in place of exact PNG pictures."""
    fps: int = 10
    """LeRobot: control steps a second."""
    task: str = "demonstration"
    """LeRobot: what the robot does, in words."""
    episodes_succeed: bool = False
    """Every episode of a LeRobot data set without rewards ends in success: reward 1 there, and 0 before."""
    rescale_actions: bool = False
    """Map the least and greatest value of each number of a LeRobot data set's actions to -1 and 1."""
    skip_bad: bool = False
    """Leave out episodes that do not fit, and say how many and why the first."""

    def __post_init__(self) -> None:
        is_pickle = self.output.suffix in PICKLES
        self.to = self.to or ("pickle" if is_pickle else "parquet")
        if is_pickle != (self.to == "pickle"):
            raise SystemExit(f"{self.output}: a pickle ends in .pkl and nothing else does, but --to is {self.to}. Rename OUT.")
        if self.videos and not self.to.startswith("lerobot"):
            raise SystemExit(f"--videos is for LeRobot data sets, not for {self.to}. Add --to lerobot-v3, or leave it out.")
        if self.fps < 1:
            raise SystemExit(f"--fps is {self.fps}; give a whole number from 1 on.")


def main(args: ConvertDemos) -> None:
    """Converts, and says what."""
    style = LeRobotFormat(V2 if args.to == "lerobot-v2.1" else V3, args.videos, args.fps, args.task)
    options = LeRobotOptions(args.episodes_succeed, args.rescale_actions)
    try:
        done = convert(args.input, args.output, args.to.split("-")[0], style, options, args.skip_bad)
    except (ValueError, OSError) as error:
        raise SystemExit(str(error)) from error
    print(f"{args.output}: {done.num_episodes} episodes, {done.num_transitions} transitions, {args.to}.")


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    main(tyro.cli(ConvertDemos, use_underscores=True))
