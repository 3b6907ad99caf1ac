"""A log on disk of all segments added to a replay buffer, as append-only Parquet shards in their order."""

from __future__ import annotations

import logging
import os
import shutil
import time
import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from serl_ray.data.formats.parquet import read_segments, write_segments
from serl_ray.data.observations import STATE
from serl_ray.data.schema import Segment
from serl_ray.files.atomic import sync
from serl_ray.files.digests import sha256_of
from serl_ray.files.tables import open_parquet
from serl_ray.types import ActionScale

logger = logging.getLogger(__name__)

WRITE_SECONDS = 5.0
"""Seconds that experience may wait in memory; a killed run loses as much."""
MAX_PENDING = 64 * 2**20
"""Bytes of observations that may wait in memory."""
FULL_DISK_SECONDS = 30.0
"""Seconds between attempts to write to a full disk."""


class ReplayLog:
    """The shards of one buffer, in a folder of a run. A shard is written once and never changed.

    A checkpoint has links to its shards, so it is complete, takes space only for new shards, and can be moved or
    deleted alone. A buffer filled with the segments of a log (`read_shards`) gives the same samples as the logged
    buffer.

    Args:
        folder: folder for the shards.
        trunk: fingerprint of the trunk that made stored maps; None for images.
        state_name: name of the state vector in the shards, which tells other runs the vectors it was joined from.
        scale: scale by which the actions were mapped to [-1, 1], to be stored; None if they were not.

    Attributes:
        shards: paths of the shards in the order of writing.
        pending: bytes of observations that wait in memory.
    """

    def __init__(
        self, folder: Path, trunk: str | None = None, state_name: str = STATE, scale: ActionScale | None = None
    ) -> None:
        self.folder, self._trunk, self.state_name, self.scale = folder, trunk, state_name, scale
        self.shards: list[Path] = []
        self._digests: dict[str, str] = {}
        self._runs: list[list[Segment]] = []  # segments in one list continue each other
        self._grows = False  # whether another segment may join the last list
        self._last: Segment | None = None
        self.pending = 0

    def append(self, segment: Segment) -> None:
        """Adds a segment, at first in memory."""
        follows = self._last is not None and segment.continues(self._last)
        if follows and self._runs and self._grows:
            self._runs[-1].append(segment)
        else:
            self._runs.append([segment])
            # A segment that continues an older episode stays alone: its length decides if the buffer still has that
            # episode's end.
            self._grows = follows or segment.first_step == 0
        self._last = segment
        self.pending += sum(rows.nbytes for rows in segment.observations.values())

    def flush(self) -> None:
        """Writes the segments in memory as the next shard; after an OSError they stay in memory."""
        if not self._runs:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        name = f"{len(self.shards):06d}-{uuid.uuid4().hex[:8]}.parquet"
        new = self.folder / f".{name}"
        try:
            segments = [_renamed(Segment.join(run), STATE, self.state_name) for run in self._runs]
            write_segments(new, segments, self._trunk, self.scale)
            sync(new)
            digest = sha256_of(new)
            new.rename(self.folder / name)
            sync(self.folder)
        except OSError:
            new.unlink(missing_ok=True)
            raise
        self.shards.append(self.folder / name)
        self._digests[name] = digest
        self._runs, self.pending = [], 0

    def link_into(self, folder: Path) -> list[str]:
        """Writes pending segments, links every shard into a new folder, and returns their names in order."""
        self.flush()
        folder.mkdir(parents=True)
        for shard in self.shards:
            _link(shard, folder / shard.name)
        sync(folder)
        return [shard.name for shard in self.shards]

    def digests(self) -> dict[str, str]:
        """The SHA-256 of every shard by its name, computed once: a shard never changes."""
        self._digests |= {shard.name: sha256_of(shard) for shard in self.shards if shard.name not in self._digests}
        return {shard.name: self._digests[shard.name] for shard in self.shards}

    def take_over(self, shards: Sequence[Path], digests: Mapping[str, str] | None = None) -> None:
        """Continues from these shards, with the digests that are known of them, instead of the current ones."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for shard in shards:
            if not (self.folder / shard.name).exists():
                _link(shard, self.folder / shard.name)
        self.shards, self._digests = [self.folder / shard.name for shard in shards], dict(digests or {})
        self._runs, self.pending, self._last = [], 0, None

    def leftovers(self) -> list[Path]:
        """Shards in the folder but not in the log, written by a killed run after its last checkpoint."""
        return sorted(set(self.folder.glob("*.parquet")) - set(self.shards))


class LogWriter:
    """Writer of a run's logs every few seconds; while the disk is full, experience stays in memory."""

    def __init__(self, logs: Collection[ReplayLog]) -> None:
        self._logs = logs
        self._due, self._disk_is_full = time.monotonic() + WRITE_SECONDS, False

    def write_if_due(self) -> None:
        """Writes everything if enough time has passed or enough bytes wait."""
        if time.monotonic() > self._due or any(log.pending > MAX_PENDING for log in self._logs):
            self.write()

    def write(self) -> None:
        """Writes everything, unless the disk was full within the last `FULL_DISK_SECONDS`."""
        if not self._disk_is_full or time.monotonic() > self._due:
            self.close()

    def close(self) -> None:
        """Writes everything, or warns that it failed."""
        self._disk_is_full = False
        for log in self._logs:
            try:
                log.flush()
            except OSError as error:
                self._disk_is_full = True
                text = (
                    "Experience could not be written; %.1f GB stay in memory: %s. Free some space; the run continues."
                )
                logger.warning(text, log.pending / 1e9, error)
        self._due = time.monotonic() + (FULL_DISK_SECONDS if self._disk_is_full else WRITE_SECONDS)


def read_shards(shards: Sequence[Path], state_name: str = STATE) -> Iterator[Segment]:
    """The segments of shards, with `state` in place of their state vector's name.

    Raises:
        ValueError: a shard is damaged.
        FileNotFoundError: a shard is missing.
    """
    for shard in shards:
        for segment in read_segments(shard):
            yield _renamed(segment, state_name, STATE)


def _renamed(segment: Segment, name: str, new_name: str) -> Segment:
    observations = {new_name if key == name else key: rows for key, rows in segment.observations.items()}
    return replace(segment, observations=observations)


def num_transitions(shards: Sequence[Path]) -> int:
    """Number of transitions in shards, from their footers."""
    total = 0
    for shard in shards:
        with open_parquet(str(shard)) as file:
            total += file.metadata.num_rows
    return total


def _link(source: Path, target: Path) -> None:
    """Makes a hard link, or a copy if the folders are on different file systems."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
        sync(target)
