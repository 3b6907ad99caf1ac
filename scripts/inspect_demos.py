"""Prints and draws what demonstrations hold."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from serl_ray.data.convert import Episodes
from serl_ray.data.demos import format_of
from serl_ray.data.formats.lerobot.reader import LeRobotOptions
from serl_ray.data.summary import Summary
from serl_ray.types import SETUP_MODES, ActionLayout


@dataclass
class InspectDemos:
    """Prints and draws what demonstrations hold."""

    paths: Annotated[tuple[str, ...], tyro.conf.arg(metavar="PATHS"), tyro.conf.Positional]
    """Pickles, folders of Parquet shards, LeRobot folders, patterns, URIs."""
    output: Path | None = None
    """A .png to draw: histograms of lengths and actions, and frames of the first episodes."""
    setup_mode: Literal[SETUP_MODES] | None = None
    """Says which numbers of the action are grippers; by default those that are always -1, 0 or 1."""
    episodes_succeed: bool = False
    """Every episode of a LeRobot data set without rewards ends in success."""
    rescale_actions: bool = False
    """Map the least and greatest value of each number of a LeRobot data set's actions to -1 and 1."""
    skip_bad: bool = False
    """Leave out episodes that do not fit, and say how many and why the first."""

    def __post_init__(self) -> None:
        if not self.paths:
            raise SystemExit("Give the path of at least one demonstration.")
        if self.output and self.output.suffix != ".png":
            raise SystemExit(f"--output is {self.output}; give a name that ends in .png.")


def main(args: InspectDemos) -> None:
    """Reads everything once."""
    try:
        episodes = Episodes(args.paths, LeRobotOptions(args.episodes_succeed, args.rescale_actions), args.skip_bad)
        summary = Summary()
        for segment in episodes:
            if args.setup_mode and summary.grippers is None:
                summary.grippers = ActionLayout.from_setup(args.setup_mode, segment.actions.shape[1]).gripper_indices
            summary.add(segment)
        formats = Counter(map(format_of, episodes.files))
    except (ValueError, OSError) as error:
        raise SystemExit(str(error)) from error
    print(", ".join(f"{count} file(s) of {name}" for name, count in formats.items()))
    print("\n".join(summary.lines()))
    if args.output:
        args.output.parent.mkdir(parents=True, exist_ok=True)
        summary.draw(args.output)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    main(tyro.cli(InspectDemos, use_underscores=True))
