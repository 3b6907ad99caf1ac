"""Everything that a replay buffer has ever been given, on disk: append-only Parquet shards, in the order in which it came."""

from __future__ import annotations

import logging
import os
import shutil
import time
import uuid
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from serl_ray.data.formats.parquet import read_segments, write_file
from serl_ray.data.observations import STATE
from serl_ray.data.schema import Segment
from serl_ray.files.atomic import sync
from serl_ray.files.tables import open_parquet

logger = logging.getLogger(__name__)

WRITE_SECONDS = 5.0
"""For which experience may wait in memory: what a run loses that is killed."""
MAX_PENDING = 64 * 2**20
"""Likewise the bytes of observations."""
FULL_DISK_SECONDS = 30.0
"""Until what could not be written is tried again."""


class ReplayLog:
    """The shards of one buffer, in a folder of a run. A shard is written once and never changed.

    A checkpoint has links to the shards of its time, so it costs what is new, is whole in itself, and can be moved or deleted
    alone. A buffer that is given the segments of a log again, `read_shards`, gives the same samples as the one that was logged.

    Args:
        folder: for the shards.
        trunk: fingerprint of the trunk whose maps stand for the frames, where that is so.
        state_name: what the state vector is called in the shards, by which another run knows what it was joined of.

    Attributes:
        shards: in the order in which they were written.
        pending: bytes of observations that wait in memory to be written.
    """

    def __init__(self, folder: Path, trunk: str | None = None, state_name: str = STATE) -> None:
        self.folder, self._trunk, self.state_name = folder, trunk, state_name
        self.shards: list[Path] = []
        self._runs: list[list[Segment]] = []  # each of segments that continue one another
        self._grows = False  # whether the last run may have another segment
        self._last: Segment | None = None
        self.pending = 0

    def append(self, segment: Segment) -> None:
        """Keeps a segment, in memory at first."""
        follows = self._last is not None and segment.continues(self._last)
        if follows and self._runs and self._grows:
            self._runs[-1].append(segment)
        else:
            self._runs.append([segment])
            # What takes up an older episode does so in one piece: whether its last frame is still there depends on the piece.
            self._grows = follows or segment.first_step == 0
        self._last = segment
        self.pending += sum(rows.nbytes for rows in segment.observations.values())

    def flush(self) -> None:
        """Writes what is in memory as the next shard; where that fails (OSError) it stays in memory."""
        if not self._runs:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        name = f"{len(self.shards):06d}-{uuid.uuid4().hex[:8]}.parquet"
        new = self.folder / f".{name}"
        try:
            write_file(new, [_renamed(Segment.join(run), STATE, self.state_name) for run in self._runs], self._trunk)
            sync(new)
            new.rename(self.folder / name)
            sync(self.folder)
        except OSError:
            new.unlink(missing_ok=True)
            raise
        self.shards.append(self.folder / name)
        self._runs, self.pending = [], 0

    def link_into(self, folder: Path) -> list[str]:
        """Puts every shard into a folder; returns their names in order. Nothing is in memory any more."""
        self.flush()
        folder.mkdir(parents=True)
        for shard in self.shards:
            _link(shard, folder / shard.name)
        sync(folder)
        return [shard.name for shard in self.shards]

    def take_over(self, shards: Sequence[Path]) -> None:
        """Goes on from these shards, in place of what was logged so far."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for shard in shards:
            if not (self.folder / shard.name).exists():
                _link(shard, self.folder / shard.name)
        self.shards = [self.folder / shard.name for shard in shards]
        self._runs, self.pending, self._last = [], 0, None

    def leftovers(self) -> list[Path]:
        """Shards in the folder that are not part of the log: what was stored after a checkpoint, by a run that was then lost."""
        return sorted(set(self.folder.glob("*.parquet")) - set(self.shards))


class LogWriter:
    """Writes the logs of a run every few seconds; where the disk is full, experience stays in memory until there is room."""

    def __init__(self, logs: Collection[ReplayLog]) -> None:
        self._logs = logs
        self._due, self._disk_is_full = time.monotonic() + WRITE_SECONDS, False

    def write_if_due(self) -> None:
        """Writes what has waited for long, or is much."""
        if time.monotonic() > self._due or any(log.pending > MAX_PENDING for log in self._logs):
            self.write()

    def write(self) -> None:
        """Writes everything, or says that it could not and leaves it at that for a while."""
        if not self._disk_is_full or time.monotonic() > self._due:
            self.close()

    def close(self) -> None:
        """Writes everything, or says that it could not."""
        self._disk_is_full = False
        for log in self._logs:
            try:
                log.flush()
            except OSError as error:
                self._disk_is_full = True
                text = "Experience could not be written, and %.1f GB stay in memory: %s. Make room; the run goes on."
                logger.warning(text, log.pending / 1e9, error)
        self._due = time.monotonic() + (FULL_DISK_SECONDS if self._disk_is_full else WRITE_SECONDS)


def read_shards(shards: Sequence[Path], state_name: str = STATE) -> Iterator[Segment]:
    """The segments of shards, whose state vector is called so.

    Raises:
        ValueError: one is damaged.
        FileNotFoundError: one is missing.
    """
    for shard in shards:
        for segment in read_segments(shard):
            yield _renamed(segment, state_name, STATE)


def _renamed(segment: Segment, name: str, new_name: str) -> Segment:
    observations = {new_name if key == name else key: rows for key, rows in segment.observations.items()}
    return replace(segment, observations=observations)


def num_transitions(shards: Sequence[Path]) -> int:
    """Of these shards, by what their footers say."""
    total = 0
    for shard in shards:
        with open_parquet(str(shard)) as file:
            total += file.metadata.num_rows
    return total


def _link(source: Path, target: Path) -> None:
    """A second name for a file, or a copy where the two folders are not of one file system."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
        sync(target)
