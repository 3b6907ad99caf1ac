"""A run at a URI, such as s3://bucket/run: its checkpoints, and each shard of its experience once.

URI/checkpoints/step-.../   agent/ and run.json, which comes last
URI/replay/online/          what the checkpoints' run.json name, likewise replay/demos/
URI/tracks.json             what the run is called at its trackers, if it has any
URI/logs/results.jsonl      its results, by which the best checkpoint is known

A file is copied beside and then moved, so it is there whole or not at all.
"""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path, PurePosixPath
from typing import Any

from pyarrow.fs import FileSelector, FileType, LocalFileSystem, copy_files

from serl_ray.agents.checkpoint import AGENT_FILE, AGENT_TENSORS
from serl_ray.files.atomic import new_folder
from serl_ray.files.paths import is_uri
from serl_ray.files.uris import locate
from serl_ray.rllib.checkpoint import (
    AGENT_DIR,
    CHECKPOINTS,
    NAME,
    REPLAY_DIR,
    RUN_FILE,
    checkpoints_of,
    read_run,
    step_of,
)
from serl_ray.runs.log import LOGS, RESULTS, read_results, scores_by_step
from serl_ray.runs.tracking import TRACKS

logger = logging.getLogger(__name__)

AGENT_FILES = (AGENT_TENSORS, AGENT_FILE)
SMALL_FILES = (TRACKS, f"{LOGS}/{RESULTS}")


class Mirror:
    """A copy of a run in another place, from which another machine can resume it.

    Args:
        uri: a folder in any of pyarrow's file systems.
    """

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._files, root = locate(uri)
        self._root = PurePosixPath(root)
        self._kept_here: set[str] = set()

    def __str__(self) -> str:
        return self._uri

    def check(self, run: Path) -> None:
        """Checks that a run's folder, which has a checkpoint, has everything that the mirror has.

        Raises:
            FileExistsError: another machine has gone on with the run, or it is another run.
        """
        name, ours = self.newest(), checkpoints_of(run)[-1]
        if name is None:
            return
        theirs, parts = self._read_run(name)["replay"], read_run(ours)["replay"]
        goes_on = all(parts.get(part, [])[: len(shards)] == shards for part, shards in theirs.items())
        if step_of(name) > step_of(ours.name) or not goes_on:
            raise FileExistsError(
                f"{self} has {name}, of another run or from another machine, and {run} has {ours.name} without what "
                f"led there. Remove {run}, so that what is at the mirror is fetched, or name another --mirror."
            )

    def push(self, run: Path) -> None:
        """Copies what is new in a run's folder, and deletes the checkpoints that it had at an earlier push and has no
        more."""
        kept = checkpoints_of(run)
        names = {checkpoint.name for checkpoint in kept}
        self._kept_here |= names
        for name in SMALL_FILES:
            if (run / name).exists():
                self._push(run / name, self._root / name)
        there = self.checkpoints()
        for checkpoint in kept:
            if checkpoint.name not in there or not self._is_file(self._root / CHECKPOINTS / checkpoint.name / RUN_FILE):
                self._push_checkpoint(checkpoint)
        for name in (self._kept_here - names).intersection(there):
            self._files.delete_dir(str(self._root / CHECKPOINTS / name))
        self._kept_here = names

    def _push_checkpoint(self, checkpoint: Path) -> None:
        for name in read_run(checkpoint)["replay"]:
            folder = self._root / REPLAY_DIR / name
            there = self._names(folder)
            for shard in sorted((checkpoint / REPLAY_DIR / name).iterdir()):
                if shard.name not in there:
                    self._push(shard, folder / shard.name)
        target = self._root / CHECKPOINTS / checkpoint.name
        for file in AGENT_FILES:
            self._push(checkpoint / AGENT_DIR / file, target / AGENT_DIR / file)
        self._push(checkpoint / RUN_FILE, target / RUN_FILE)

    def checkpoints(self) -> list[str]:
        """The names of the checkpoints, whole or not, the oldest first."""
        return sorted(filter(NAME.fullmatch, self._names(self._root / CHECKPOINTS)), key=step_of)

    def newest(self) -> str | None:
        """The name of the newest whole checkpoint; None where there is none."""
        return next(filter(self._is_whole, reversed(self.checkpoints())), None)

    def _is_whole(self, name: str) -> bool:
        try:
            self._check_whole(name)
        except (ValueError, FileNotFoundError) as error:
            logger.warning("%s in %s is not whole and is left out: %s", name, self, error)
            return False
        return True

    def _fetch_small_files(self, run: Path) -> None:
        for name in SMALL_FILES:
            if self._is_file(self._root / name):
                (run / name).parent.mkdir(parents=True, exist_ok=True)
                self._fetch(self._root / name, run / name)

    def _check_whole(self, name: str) -> None:
        """Raises ValueError or FileNotFoundError for what is missing or damaged."""
        wanted = {self._root / CHECKPOINTS / name / AGENT_DIR: set(AGENT_FILES)}
        for part, shards in self._read_run(name)["replay"].items():
            wanted[self._root / REPLAY_DIR / part] = set(shards)
        for folder, files in wanted.items():
            if missing := sorted(files - self._names(folder)):
                raise FileNotFoundError(f"{', '.join(missing[:3])} is not in {folder}")

    def _read_run(self, name: str) -> dict[str, Any]:
        with tempfile.TemporaryDirectory() as folder:
            self._fetch(self._root / CHECKPOINTS / name / RUN_FILE, Path(folder) / RUN_FILE)
            return read_run(Path(folder))

    def best(self, run: Path) -> str | None:
        """The name of the whole checkpoint with the best evaluation; None where none was evaluated. Fetches the
        results."""
        self._fetch_small_files(run)
        scores = scores_by_step(read_results(run / LOGS))
        judged = [name for name in self.checkpoints() if step_of(name) in scores]
        for name in sorted(judged, key=lambda name: (scores[step_of(name)], step_of(name)), reverse=True):
            if self._is_whole(name):
                return name
        return None

    def fetch(self, run: Path, name: str | None = None, with_replay: bool = True) -> Path:
        """Copies a checkpoint, by default the newest, into a run's folder.

        Raises:
            FileNotFoundError: there is none.
        """
        name = name or self.newest()
        if name is None:
            raise FileNotFoundError(f"There is no checkpoint in {self}. Check the URI.")
        source, checkpoint = self._root / CHECKPOINTS / name, run / CHECKPOINTS / name
        self._fetch_small_files(run)
        with new_folder(checkpoint) as new:
            (new / AGENT_DIR).mkdir()
            for file in AGENT_FILES:
                self._fetch(source / AGENT_DIR / file, new / AGENT_DIR / file)
            self._fetch(source / RUN_FILE, new / RUN_FILE)
            for part, shards in read_run(new)["replay"].items() if with_replay else ():
                (new / REPLAY_DIR / part).mkdir(parents=True)
                for shard in shards:
                    self._fetch(self._root / REPLAY_DIR / part / shard, new / REPLAY_DIR / part / shard)
        return checkpoint

    def _names(self, folder: PurePosixPath) -> set[str]:
        found = self._files.get_file_info(FileSelector(str(folder), allow_not_found=True))
        return {PurePosixPath(info.path).name for info in found}

    def _is_file(self, path: PurePosixPath) -> bool:
        return self._files.get_file_info(str(path)).type == FileType.File

    def _push(self, source: Path, target: PurePosixPath) -> None:
        new = target.with_name(f".{target.name}.new")
        self._files.create_dir(str(target.parent), recursive=True)
        copy_files(str(source), str(new), LocalFileSystem(), self._files)
        self._files.move(str(new), str(target))

    def _fetch(self, source: PurePosixPath, target: Path) -> None:
        copy_files(str(source), str(target), self._files, LocalFileSystem())


def local_run(name: str, newest: bool = False) -> Path:
    """A run folder or a checkpoint on this machine.

    Args:
        name: the folder, or the URI of a mirror, from which one checkpoint is fetched without its experience.
        newest: fetch the newest checkpoint; by default the one with the best evaluation, where there was one.
    """
    if not is_uri(name):
        return Path(name)
    mirror, run = Mirror(name), Path(tempfile.mkdtemp(prefix="serl_ray-"))
    mirror.fetch(run, None if newest else mirror.best(run), with_replay=False)
    return run
