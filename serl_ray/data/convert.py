"""Conversion of demonstrations between formats, one episode at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import pyarrow.parquet as pq
from tqdm import tqdm

from serl_ray.data.demos import completed, find_files, is_pickle, note_bad, read_file
from serl_ray.data.errors import DemoError
from serl_ray.data.formats.hil_serl import write_pickle
from serl_ray.data.formats.lerobot.folder import LeRobotFolder, is_lerobot
from serl_ray.data.formats.lerobot.reader import LeRobotOptions
from serl_ray.data.formats.lerobot.writer import LeRobotFormat, write_lerobot
from serl_ray.data.formats.parquet import write_shards
from serl_ray.data.reading import warn_dropped
from serl_ray.data.schema import Segment
from serl_ray.files.uris import locate

Format = Literal["pickle", "parquet", "lerobot"]


class Episodes:
    """The episodes of demonstrations, read one by one with a progress bar.

    Args:
        paths: paths of the demonstrations; see `find_files`.
        options: options of LeRobot data sets.
        skip_bad: whether to drop bad episodes, with a warning at the end, instead of raising.
    """

    def __init__(self, paths: str | Sequence[str], options: LeRobotOptions, skip_bad: bool = False) -> None:
        self.files, self._options, self._skip_bad = find_files(paths), options, skip_bad
        self._total = _count(paths, self.files)
        self.num_episodes = self.num_transitions = 0
        self.errors: list[DemoError] = []

    def __iter__(self) -> Iterator[Segment]:
        on_bad = note_bad(self.errors, self._skip_bad)
        with tqdm(total=self._total, unit="episode") as bar:
            for file in self.files:
                for segment in read_file(file, on_bad=on_bad, lerobot=self._options):
                    self.num_episodes += 1
                    self.num_transitions += len(segment)
                    yield segment
                    bar.update()
        warn_dropped(self.errors, self.num_episodes)


def convert(source: str, target: Path, to: Format, style: LeRobotFormat, options: LeRobotOptions, skip_bad: bool) -> Episodes:
    """Writes the demonstrations at `source`, of any format, to `target`, and returns the episodes read.

    Each segment becomes an episode. Only one of them is in memory at a time, except for a pickle, which is written as a
    whole.

    Raises:
        FileExistsError: `target` exists.
        FileNotFoundError: there are no demonstrations at `source`.
        DemoError: an episode does not fit.
    """
    episodes = Episodes(source, options, skip_bad)
    with completed(target) as unfinished:
        if to == "pickle":
            write_pickle(unfinished, episodes)
        elif to == "parquet":
            unfinished.mkdir()
            write_shards(unfinished, episodes)
        else:
            write_lerobot(unfinished, episodes, style)
    return episodes


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
