"""The metadata of a LeRobot folder, versions 2.1 and 3.0, by local path or URI."""

from __future__ import annotations

import json
import logging
import math
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from serl_ray.data.formats.lerobot.totals import check_totals
from serl_ray.data.formats.lerobot.unused import several_splits, several_tasks
from serl_ray.files.lfs import check_not_lfs_pointer
from serl_ray.files.paths import is_uri
from serl_ray.files.tables import open_parquet, read_group
from serl_ray.files.uris import expand, is_file, join, open_input, parents, suffix

logger = logging.getLogger(__name__)

INFO = "meta/info.json"
V2, V3 = "v2.1", "v3.0"
TESTED_VERSIONS = ("v2.0", V2, V3)
"""Versions that are known to be read rightly; other ones of the same kind are read alike."""
CHUNK_FILES = 1000
"""Number of files in a folder `chunk-...`."""
DATA_PATH = {
    V2: "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
    V3: "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
}
VIDEO_PATH = {
    V2: "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4",
    V3: "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4",
}
PLACEHOLDER = re.compile(r"\{(\w+)(?::0?(\d{1,2})d)?\}")
SEARCH_DEPTH = 4
"""Number of folders above a data file in which the metadata are searched."""


@dataclass(frozen=True)
class Clip:
    """The part of a video that shows an episode.

    Attributes:
        path: path of the video.
        start: time of the episode's first frame in the video, seconds.
    """

    path: str
    start: float


@dataclass(frozen=True)
class LeRobotFolder:
    """A LeRobot data set.

    Attributes:
        root: local path or URI of the folder.
        info: contents of `meta/info.json`.
    """

    root: str
    info: dict[str, Any] = field(repr=False)
    _said: set[str] = field(default_factory=set, repr=False, compare=False)

    @classmethod
    def open(cls, root: str) -> LeRobotFolder:
        """The data set in a folder; a ValueError for damaged metadata or an unsupported version."""
        root = root if is_uri(root) else os.path.abspath(root)
        path = join(root, INFO)
        return _parsed(root, path, _read(path))

    @property
    def version(self) -> str:
        return str(self.info["codebase_version"])

    @property
    def is_v3(self) -> bool:
        return self.version.startswith("v3")

    @cached_property
    def episodes(self) -> dict[int, dict[str, Any]]:
        """The metadata of the episodes without their statistics, by index and in its order.

        Raises:
            ValueError: an episode has no index or two entries, or `info.json` counts other episodes.
        """
        episodes: dict[int, dict[str, Any]] = {}
        for row in self._episode_tables() if self.is_v3 else self._json_lines("meta/episodes.jsonl"):
            index = row.get("episode_index")
            if type(index) is not int or index < 0:
                found = "no 'episode_index'" if index is None else f"the episode_index {index!r:.60}"
                raise ValueError(f"{self.root}: an episode in its metadata has {found}. Copy the folder meta again.")
            if index in episodes:
                raise ValueError(f"{self.root}: its metadata have episode {index} twice. Copy the folder meta again.")
            episodes[index] = row
        episodes = dict(sorted(episodes.items()))
        if gap := check_totals(self.root, self.info, episodes):
            self.warn_once("gap", gap)
        return episodes

    @cached_property
    def files(self) -> dict[str, list[int]]:
        """The data files, each with the indices of its episodes, in the order of the episodes."""
        files: dict[str, list[int]] = {}
        for index in self.episodes:
            files.setdefault(self._file("data_path", index, "data"), []).append(index)
        return files

    def data_files(self) -> list[str]:
        """The files with the rows of the episodes, each once, in the order of the episodes.

        Raises:
            ValueError: the metadata lack episodes, and a file beside these may hold them.
        """
        if unnamed := sorted(self._stored_files() - self.files.keys()):
            message = f"{unnamed[0]}: the metadata place no episode in this file"
            if len(self.episodes) < self.info.get("total_episodes", 0):
                raise ValueError(f"{message}, and list fewer than info.json counts. Copy the folder meta again.")
            self.warn_once("unnamed", f"{message}, so it is not read.")
        for kind, found in (
            ("tasks", several_tasks(self.root, self._tasks)),
            ("splits", several_splits(self.root, self.info.get("splits"))),
        ):
            if found:
                self.warn_once(kind, found)
        return list(self.files)

    def _stored_files(self) -> set[str]:
        """The Parquet files two levels below the folder of the data, where every version has them."""
        folder = str(self.info["data_path"]).partition("/")[0]
        if "{" in folder or not folder:
            return set()
        chunks = expand(join(self.root, folder))
        return {file for chunk in chunks if not suffix(chunk) for file in expand(chunk) if suffix(file) == ".parquet"}

    def warn_once(self, kind: str, message: str) -> None:
        """Logs the first warning of a kind about this data set."""
        if kind not in self._said:
            self._said.add(kind)
            logger.warning(message)

    def clip(self, episode: int, key: str) -> Clip:
        """The clip of an episode in the video of a feature."""
        start = self.episodes[episode].get(f"videos/{key}/from_timestamp") if self.is_v3 else 0.0
        if not isinstance(start, int | float) or not math.isfinite(start):
            raise ValueError(
                f"{self.root}: its metadata do not say where episode {episode} begins in the video of {key}."
            )
        return Clip(self._file("video_path", episode, f"videos/{key}", key), start)

    @cached_property
    def task(self) -> str | None:
        """The task of all episodes, in words; None if they have several, or none."""
        return next(iter(self._tasks)) if len(self._tasks) == 1 else None

    @cached_property
    def _tasks(self) -> set[str]:
        return {str(task) for row in self.episodes.values() for task in row.get("tasks") or ()}

    @cached_property
    def action_limits(self) -> tuple[np.ndarray, np.ndarray]:
        """The minimum and maximum (A,) of the actions, from the statistics."""
        of_all = join(self.root, "meta/stats.json")
        try:
            if is_file(of_all):
                stats = [_json(_read(of_all), of_all)["action"]]
            else:
                stats = [row["stats"]["action"] for row in self._json_lines("meta/episodes_stats.jsonl")]
            least, greatest = (np.array([row[name] for row in stats], np.float64) for name in ("min", "max"))
            return least.min(axis=0).ravel(), greatest.max(axis=0).ravel()
        except (KeyError, TypeError, ValueError, OSError) as error:
            raise ValueError(
                f"{self.root}: its metadata have no limits of the actions ({type(error).__name__}: {error}). "
                "Let LeRobot compute the statistics of the data set again."
            ) from error

    def _file(self, template: str, episode: int, prefix: str, video_key: str = "") -> str:
        row, chunk_size = self.episodes[episode], int(self.info.get("chunks_size", CHUNK_FILES))
        values = {
            "episode_index": episode,
            "episode_chunk": episode // chunk_size,
            "chunk_index": row.get(f"{prefix}/chunk_index", 0),
            "file_index": row.get(f"{prefix}/file_index", 0),
            "video_key": video_key,
        }
        path = join(self.root, INFO)
        if not isinstance(self.info.get(template), str):
            raise ValueError(f"{path}: no {template}, which locates the files. Copy the file again.")
        return join(self.root, fill(self.info[template], values, path))

    def _episode_tables(self) -> Iterator[dict[str, Any]]:
        chunks = expand(join(self.root, "meta/episodes"))
        for path in (file for chunk in chunks for file in expand(chunk)):
            with open_parquet(path) as file:
                columns = [name for name in file.schema_arrow.names if not name.startswith("stats/")]
                for group in range(file.num_row_groups):
                    yield from read_group(file, group, columns, path).to_pylist()

    def _json_lines(self, relative: str) -> Iterator[dict[str, Any]]:
        path = join(self.root, relative)
        for number, line in enumerate(_read(path).splitlines(), 1):
            if line.strip():
                yield _json(line, f"{path}, line {number}")


@lru_cache(maxsize=8)
def _parsed(root: str, path: str, text: bytes) -> LeRobotFolder:
    """The data set of an `info.json`; while that does not change, other metadata are read once for all data files."""
    info = _json(text, path)
    folder = LeRobotFolder(root, info)
    if missing := [key for key in ("codebase_version", "fps", "features", "data_path") if key not in info]:
        raise ValueError(f"{path}: {', '.join(missing)} missing; LeRobot {V2} and {V3} have it. Copy the file again.")
    if not re.fullmatch(r"v(2\.[01]|3\.\d+)(\.\d+)*", folder.version):
        raise ValueError(
            f"{path}: codebase_version {folder.version}; this release reads {V2} and {V3}. Convert it with LeRobot."
        )
    if folder.version not in TESTED_VERSIONS:
        folder.warn_once(
            "version",
            f"{path}: codebase_version {folder.version} is read as {V3 if folder.is_v3 else V2}; tested are "
            f"{', '.join(TESTED_VERSIONS)}. Compare what serl inspect shows with what was recorded.",
        )
    for key, value, kind in (
        ("fps", info["fps"], int | float),
        ("chunks_size", info.get("chunks_size", CHUNK_FILES), int),
    ):
        if not isinstance(value, kind) or not 0 < value < 1e9:
            raise ValueError(f"{path}: {key} is {value!r}, expected a number above 0. Copy the file again.")
    _check_features(info["features"], path)
    return folder


def _check_features(features: Any, path: str) -> None:
    if not isinstance(features, dict):
        raise ValueError(
            f"{path}: features: expected a description by column, found {features!r:.60}. Copy the file again."
        )
    for column, feature in features.items():
        dtype, shape = (feature.get("dtype"), feature.get("shape")) if isinstance(feature, dict) else (None, None)
        is_shape = isinstance(shape, list) and all(type(size) is int and size >= 0 for size in shape)
        if not isinstance(dtype, str) or not dtype.isalnum() or not is_shape:
            raise ValueError(
                f"{path}: features[{column!r}]: expected dtype and shape, found {feature!r:.60}. Copy the file again."
            )


def _read(path: str) -> bytes:
    with open_input(path) as file:
        text = file.read()
    check_not_lfs_pointer(path, text)
    return text


def _json(text: bytes, where: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{where}: not JSON ({error}). Copy the file again.") from error
    if not isinstance(value, dict):
        raise ValueError(f"{where}: expected a JSON object, found {value!r:.60}. Copy the file again.")
    return value


def fill(template: str, values: dict[str, Any], path: str) -> str:
    """A relative path from a template in the untrusted file `path`.

    Raises:
        ValueError: the template has an unknown placeholder, or leads out of the folder.
    """
    wanted = PLACEHOLDER.sub("", template)
    if "{" in wanted or "}" in wanted or not {name for name, _ in PLACEHOLDER.findall(template)} <= values.keys():
        raise ValueError(f"{path}: the path {template!r} asks for something other than {', '.join(values)}.")
    filled = PLACEHOLDER.sub(lambda found: str(values[found[1]]).zfill(int(found[2] or 0)), template)
    if PurePosixPath(filled).is_absolute() or ".." in PurePosixPath(filled).parts:
        raise ValueError(f"{path}: the path {filled!r} leads out of the data set, so nothing was read.")
    return filled


def is_lerobot(path: str) -> bool:
    """True if a path is a LeRobot folder."""
    return is_file(join(str(path), INFO))


def folder_of(data_file: str) -> LeRobotFolder | None:
    """The LeRobot folder of a data file; None for another file."""
    return next(
        (LeRobotFolder.open(folder) for folder in parents(data_file)[:SEARCH_DEPTH] if is_lerobot(folder)), None
    )
