"""Conversion of demonstrations between formats, one episode at a time."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow.parquet as pq
from tqdm import tqdm

from serl_ray.data.demo_scale import scale_of_demos
from serl_ray.data.demos import completed, find_files, is_pickle, note_bad, read_file
from serl_ray.data.errors import DemoError
from serl_ray.data.formats.hil_serl import write_pickle
from serl_ray.data.formats.lerobot.folder import LeRobotFolder, folder_of, is_lerobot
from serl_ray.data.formats.lerobot.reader import LeRobotOptions
from serl_ray.data.formats.lerobot.writer import EXACT, LeRobotFormat, write_lerobot
from serl_ray.data.formats.parquet import write_shards
from serl_ray.data.reading import warn_dropped
from serl_ray.data.schema import Segment
from serl_ray.files.uris import locate
from serl_ray.types import ActionScale

logger = logging.getLogger(__name__)

Format = Literal["pickle", "parquet", "lerobot"]


class Episodes:
    """The episodes of demonstrations, read one by one with a progress bar.

    Args:
        paths: paths of the demonstrations; see `find_files`.
        options: options of LeRobot data sets.
        skip_bad: whether to drop bad episodes, with a warning at the end, instead of raising.
        clip: whether to clip actions to -1 and 1.
    """

    def __init__(
        self, paths: str | Sequence[str], options: LeRobotOptions, skip_bad: bool = False, clip: bool = False
    ) -> None:
        self.files, self._paths, self._skip_bad = find_files(paths), paths, skip_bad
        self._options = _options_for(self.files, options, skip_bad)
        self._stored = scale_of_demos(self.files, skip_bad)
        self._total = _count(paths, self.files)
        self.num_episodes = self.num_transitions = self.num_judged = self.num_unended = self.num_with_actors = 0
        self.errors: list[DemoError] = []
        self._change = self._clipped if clip else None
        self._num_clipped, self._farthest = 0, 1.0

    @property
    def scale(self) -> ActionScale | None:
        """The scale by which the actions are mapped to [-1, 1]; None if they are as recorded."""
        return self._options.scale or self._stored

    def __iter__(self) -> Iterator[Segment]:
        on_bad = note_bad(self.errors, self._skip_bad)
        with tqdm(total=self._total, unit="episode") as bar:
            for file in self.files:
                for segment in read_file(file, on_bad=on_bad, lerobot=self._options, change=self._change):
                    self.num_episodes += 1
                    self.num_transitions += len(segment)
                    self.num_judged += segment.success is not None
                    self.num_unended += bool(segment.masks[-1])
                    self.num_with_actors += segment.actors is not None
                    yield segment
                    bar.update()
        warn_dropped(self.errors, self.num_episodes)
        if not self.num_episodes:
            raise DemoError(
                f"{self._paths}: no transition in it: an episode needs two rows, or a last one that terminates."
            )

    def clipping(self) -> Iterator[str]:
        """A line on the actions that were clipped, if that was asked for."""
        if self._change:
            farthest = f"; the farthest number was {self._farthest:.3g}" if self._num_clipped else ""
            yield f"{self._num_clipped} of {self.num_transitions} actions were clipped to [-1, 1]{farthest}."

    def _clipped(self, segment: Segment) -> Segment:
        """The segment with actions in [-1, 1], which are counted; NaN stays, for the checks."""
        actions = np.clip(segment.actions, -1.0, 1.0)
        self._num_clipped += int((actions != segment.actions).any(axis=1).sum())
        self._farthest = max(self._farthest, float(np.abs(segment.actions).max()))
        return replace(segment, actions=actions)


def convert(
    source: str,
    target: Path,
    to: Format,
    style: LeRobotFormat,
    options: LeRobotOptions,
    skip_bad: bool,
    clip: bool = False,
) -> Episodes:
    """Writes the demonstrations at `source`, of any format, to `target`, and returns the episodes read.

    Each segment becomes an episode. Only one of them is in memory at a time, except for a pickle, which is written as a
    whole.

    Raises:
        FileExistsError: `target` exists.
        FileNotFoundError: there are no demonstrations at `source`.
        DemoError: an episode does not fit.
    """
    episodes = Episodes(source, options, skip_bad, clip)
    with completed(target) as unfinished:
        if to == "pickle":
            write_pickle(unfinished, episodes)
        elif to == "parquet":
            unfinished.mkdir()
            write_shards(unfinished, episodes, episodes.scale)
        else:
            write_lerobot(unfinished, episodes, style)
    _warn_of_losses(source, target, to, episodes)
    return episodes


def _warn_of_losses(source: str, target: Path, to: Format, episodes: Episodes) -> None:
    """Warns of what the episodes hold and a format has no place for."""
    actors = "the record of who acted and what the policy wanted"
    for what, count in (("info['success']", episodes.num_judged), (actors, episodes.num_with_actors)):
        if count and to != "parquet":
            logger.warning(
                "%s: the format %s has no place for %s, which %d episode(s) have: it is left out. Keep %s, or convert "
                "to parquet, where it matters.", target, to, what, count, source,
            )  # fmt: skip
    if episodes.num_unended and to == "lerobot":
        logger.warning(
            "%s: LeRobot has no place for the observation after an episode's last step, so reading leaves out the last "
            "transition of the %d episode(s) that did not terminate. Keep %s, or convert to parquet, where it matters.",
            target, episodes.num_unended, source,
        )  # fmt: skip


def format_like(source: str, version: str, videos: bool, fps: int | None, task: str | None) -> LeRobotFormat:
    """The format of a LeRobot data set with the rate and the task of its source, where they are not given.

    Raises:
        ValueError: the source is a LeRobot data set with several tasks, or a rate that is not a whole number.
    """
    if not is_lerobot(source):
        return LeRobotFormat(version, videos, fps or EXACT.fps, task or EXACT.task)
    folder = LeRobotFolder.open(source)
    rate = fps or folder.info["fps"]
    if rate != int(rate):
        raise ValueError(
            f"{source}: it has {rate} steps per second; a whole number can be written, such as --fps {round(rate)}."
        )
    if not (task := task or folder.task):
        raise ValueError(
            f"{source}: its episodes have several tasks or none; one is written for all. Name it: --task 'words'."
        )
    return LeRobotFormat(version, videos, int(rate), task)


def _options_for(files: Sequence[str], options: LeRobotOptions, skip_bad: bool) -> LeRobotOptions:
    """The options with the scale of all actions, where actions are mapped.

    Raises:
        ValueError: an option is for LeRobot data sets, and a file is of another format.
    """
    if options.episodes_succeed and (others := [file for file in files if folder_of(file) is None]):
        raise ValueError(
            f"{others[0]}: --episodes_succeed is for LeRobot data sets, which this is not. Leave the option out."
        )
    return options.with_scale_of(files, skip_bad)


def _count(paths: str | Sequence[str], files: Sequence[str]) -> int | None:
    """The number of episodes, or None if it is not known without reading them."""
    if isinstance(paths, str) and is_lerobot(paths):
        return len(LeRobotFolder.open(paths).episodes)
    if len(files) > 100 or any(map(is_pickle, files)):
        return None
    total = 0
    for file in files:
        file_system, name = locate(file)
        try:
            total += pq.read_metadata(name, filesystem=file_system).num_row_groups
        except (ValueError, OSError):
            return None
    return total
