"""A run at a URI, such as s3://bucket/run: its checkpoints, and each shard of its experience once.

URI/checkpoints/step-.../   agent/ and run.json, which comes last
URI/replay/online/          what the checkpoints' run.json name, likewise replay/demos/
URI/tracks.json             what the run is called at its trackers, if it has any
"""

from __future__ import annotations

import tempfile
from pathlib import Path, PurePosixPath

from pyarrow.fs import FileSelector, FileType, LocalFileSystem, copy_files

from serl_ray.data.files import is_uri, locate
from serl_ray.disk import new_folder
from serl_ray.rllib.checkpoint import AGENT_DIR, CHECKPOINTS, REPLAY_DIR, RUN_FILE, checkpoints_of, read_run
from serl_ray.tracking import TRACKS


class Mirror:
    """What a lost machine had, for another.

    Args:
        uri: a folder in any of pyarrow's file systems.
    """

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._files, root = locate(uri)
        self._root = PurePosixPath(root)

    def __str__(self) -> str:
        return self._uri

    def push(self, run: Path) -> None:
        """Copies what is new in a run's folder, and deletes the checkpoints that it has no more."""
        kept = checkpoints_of(run)
        if (run / TRACKS).exists():
            self._push(run / TRACKS, self._root / TRACKS)
        for checkpoint in kept:
            if not self._is_file(self._root / CHECKPOINTS / checkpoint.name / RUN_FILE):
                self._push_checkpoint(checkpoint)
        for name in self._names(self._root / CHECKPOINTS) - {checkpoint.name for checkpoint in kept}:
            self._files.delete_dir(str(self._root / CHECKPOINTS / name))

    def _push_checkpoint(self, checkpoint: Path) -> None:
        for name in read_run(checkpoint)["replay"]:
            folder = self._root / REPLAY_DIR / name
            there = self._names(folder)
            for shard in sorted((checkpoint / REPLAY_DIR / name).iterdir()):
                if shard.name not in there:
                    self._push(shard, folder / shard.name)
        target = self._root / CHECKPOINTS / checkpoint.name
        for file in sorted((checkpoint / AGENT_DIR).iterdir()):
            self._push(file, target / AGENT_DIR / file.name)
        self._push(checkpoint / RUN_FILE, target / RUN_FILE)

    def newest(self) -> str | None:
        """The name of the newest whole checkpoint; None where there is none."""
        names = sorted(self._names(self._root / CHECKPOINTS), reverse=True)
        return next((name for name in names if self._is_file(self._root / CHECKPOINTS / name / RUN_FILE)), None)

    def fetch(self, run: Path, with_replay: bool = True) -> Path:
        """Copies the newest checkpoint into a run's folder.

        Raises:
            FileNotFoundError: there is none.
        """
        name = self.newest()
        if name is None:
            raise FileNotFoundError(f"There is no checkpoint in {self}. Check the URI.")
        checkpoint = run / CHECKPOINTS / name
        with new_folder(checkpoint) as new:
            self._fetch(self._root / CHECKPOINTS / name, new)
            for part, shards in read_run(new)["replay"].items() if with_replay else ():
                (new / REPLAY_DIR / part).mkdir(parents=True)
                for shard in shards:
                    self._fetch(self._root / REPLAY_DIR / part / shard, new / REPLAY_DIR / part / shard)
        if self._is_file(self._root / TRACKS):
            self._fetch(self._root / TRACKS, run / TRACKS)
        return checkpoint

    def _names(self, folder: PurePosixPath) -> set[str]:
        found = self._files.get_file_info(FileSelector(str(folder), allow_not_found=True))
        return {PurePosixPath(info.path).name for info in found}

    def _is_file(self, path: PurePosixPath) -> bool:
        return self._files.get_file_info(str(path)).type == FileType.File

    def _push(self, source: Path, target: PurePosixPath) -> None:
        self._files.create_dir(str(target.parent), recursive=True)
        copy_files(str(source), str(target), LocalFileSystem(), self._files)

    def _fetch(self, source: PurePosixPath, target: Path) -> None:
        copy_files(str(source), str(target), self._files, LocalFileSystem())


def local_run(name: str) -> Path:
    """A run's folder, or its checkpoint; where it is named by a URI, the newest checkpoint without the experience, in a folder
    for the time being."""
    return Mirror(name).fetch(Path(tempfile.mkdtemp(prefix="serl_ray-")), with_replay=False) if is_uri(name) else Path(name)
