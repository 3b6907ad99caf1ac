"""Storage of demonstrations during recording: every episode is written when it ends."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from serl_ray.data.demos import read_file, write_demos
from serl_ray.data.errors import DemoError
from serl_ray.data.formats.hil_serl import write_pickle
from serl_ray.data.formats.parquet import write_episode
from serl_ray.data.schema import ArraySpec, Segment
from serl_ray.files.paths import PICKLES

PARTS_SUFFIX = ".recording"
"""Suffix of the folder next to a pickle that holds its episodes until the recording is complete."""


class DemoStore:
    """A pickle or a folder of Parquet files to which episodes are added one by one.

    A pickle is one list, so its episodes are first Parquet files in a folder next to it; `publish` writes the pickle.

    Args:
        target: path of the pickle (.pkl or .pickle) or of the folder.
        resume: whether to continue a recording, which must exist; otherwise it must not exist.

    Raises:
        FileExistsError: the target exists, and `resume` is not given.
        FileNotFoundError: there is nothing to resume.
        ValueError: the target has another suffix, or its folder is not writable.
    """

    def __init__(self, target: Path, resume: bool = False) -> None:
        if target.suffix not in ("", *PICKLES):
            raise ValueError(f"{target} ends in {target.suffix!r}: name a .pkl file, or a folder for Parquet files.")
        self.target, self.is_pickle = target, target.suffix in PICKLES
        self._folder = target.with_name(target.name + PARTS_SUFFIX) if self.is_pickle else target
        there = [path for path in {target, self._folder} if path.exists()]
        if there and not resume:
            raise FileExistsError(f"{there[0]} exists already. Choose another --output, or continue it with --resume.")
        if resume and not there:
            raise FileNotFoundError(
                f"There is no recording at {target} to resume. Check --output, or leave --resume out."
            )
        _check_writable(target)
        if self.is_pickle and target.exists() and not self._folder.exists():
            write_demos(self._folder, read_file(str(target)))

    def __len__(self) -> int:
        """Number of complete episodes."""
        return len({segment.episode for segment in self.segments()})

    def segments(self) -> Iterator[Segment]:
        """The episodes so far, in the order of recording."""
        for path in sorted(self._folder.glob("*.parquet"), key=lambda path: path.stat().st_mtime_ns):
            yield from read_file(str(path))

    def check(self, observations: dict[str, ArraySpec], action_dim: int) -> None:
        """Raises DemoError if the stored episodes have other observations or actions than these."""
        first = next(self.segments(), None)
        if first is None:
            return
        if first.observation_spec != observations or first.actions.shape[1] != action_dim:
            raise DemoError(
                f"{self.target} holds {_describe(first.observation_spec, first.actions.shape[1])}, and this env has "
                f"{_describe(observations, action_dim)}: record into another --output."
            )

    def add(self, segment: Segment) -> None:
        """Writes an episode to disk."""
        write_episode(self._folder, segment)

    def publish(self, complete: bool) -> None:
        """Writes the episodes so far into the pickle; if complete, the folder next to it is deleted.

        Raises:
            OSError: the disk is full; the episodes stay in the folder.
        """
        if not self.is_pickle or next(self.segments(), None) is None:
            return
        new = self.target.with_name(f".{self.target.name}.new")
        write_pickle(new, self.segments())
        new.replace(self.target)
        if complete:
            shutil.rmtree(self._folder)


def _check_writable(target: Path) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=target.parent):
            pass
    except OSError as error:
        raise ValueError(f"{target} cannot be written: {error}. Choose another --output.") from error


def _describe(observations: dict[str, ArraySpec], action_dim: int) -> str:
    return (
        ", ".join(f"{key} {spec}" for key, spec in sorted(observations.items())) + f", actions of {action_dim} numbers"
    )
