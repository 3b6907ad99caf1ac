"""Writing of LeRobot data sets: n transitions become n rows, without the last observation of a segment."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from serl_ray.data.formats.lerobot import stats
from serl_ray.data.formats.lerobot.features import ACTION, COLUMNS, IMAGE_DTYPES, column_of, dataset_features, metadata
from serl_ray.data.formats.lerobot.folder import CHUNK_FILES, DATA_PATH, INFO, V2, V3, VIDEO_PATH
from serl_ray.data.formats.lerobot.video import CODEC, PIXELS, VideoWriter
from serl_ray.data.schema import ArraySpec, Segment
from serl_ray.files.images import encode

FILE_MB = 100
"""Size of a v3.0 data file after which a new file and new videos are started."""
VIDEO_MB = 200
EPISODES_PATH = "meta/episodes/chunk-000/file-000.parquet"
IMAGE = pa.struct({"bytes": pa.binary(), "path": pa.string()})


@dataclass(frozen=True)
class LeRobotFormat:
    """Format of a data set to write.

    Attributes:
        version: v2.1 or v3.0.
        videos: whether images are stored as H.264 videos, which are small and lossy, instead of PNGs in the data files.
        fps: control steps per second.
        task: the robot's task, in words.
    """

    version: str = V3
    videos: bool = False
    fps: int = 10
    task: str = "demonstration"


EXACT = LeRobotFormat()


def write_lerobot(root: Path, segments: Iterable[Segment], style: LeRobotFormat = EXACT) -> None:
    """Writes each segment as an episode of a data set in the folder `root`, which must not exist.

    Raises:
        ValueError: there is no segment, the segments differ in shape, or LeRobot cannot hold them.
    """
    writer: _Writer | None = None
    try:
        for segment in segments:
            if writer is None:
                writer = _Writer(root, style, segment)
            writer.add(segment)
    finally:
        if writer is not None:
            writer.close()
    if writer is None:
        raise ValueError(f"{root.name}: there is no segment to write.")
    writer.write_meta()


class _Writer:
    def __init__(self, root: Path, style: LeRobotFormat, first: Segment) -> None:
        self._root, self._style = root, style
        self._specs, self._action_dim = first.observation_spec, first.actions.shape[1]
        self.features = dataset_features(self._specs, self._action_dim, style.videos)
        self._images = {name for name, feature in self.features.items() if feature["dtype"] in IMAGE_DTYPES}
        self._num_episodes = self._num_frames = 0
        self._num_files = 0
        self._data: pq.ParquetWriter | None = None
        self._videos: dict[str, VideoWriter] = {}
        self._episodes: pq.ParquetWriter | None = None
        self._stats: stats.Stats | None = None
        (root / "meta").mkdir(parents=True)

    def add(self, segment: Segment) -> None:
        """Writes an episode."""
        self._check(segment)
        columns = self._columns(segment)
        table = self._table(columns)
        data = self._data or self._open(table.schema)
        place = self._place()
        for key, video in self._videos.items():
            start = video.num_frames / self._style.fps
            video.add(columns[key])
            place |= {
                f"videos/{key}/from_timestamp": start,
                f"videos/{key}/to_timestamp": video.num_frames / self._style.fps,
            }
        data.write_table(table, row_group_size=len(table))
        measured = stats.measure(columns, self._images)
        self._stats = stats.merge(self._stats, measured)
        self._write_episode(len(segment), place, measured)
        self._num_episodes, self._num_frames = self._num_episodes + 1, self._num_frames + len(segment)
        if self._style.version == V2 or self._path(DATA_PATH).stat().st_size > FILE_MB * 2**20:
            self._close_files()

    def close(self) -> None:
        """Completes the data files."""
        self._close_files()
        if self._episodes is not None:
            self._episodes.close()

    def write_meta(self) -> None:
        """Writes the metadata of the data set."""
        task = self._style.task
        if self._style.version == V2:
            self._append("tasks", {"task_index": 0, "task": task})
        else:
            tasks = pd.DataFrame({"task_index": [0]}, index=pd.Index([task], name="task"))
            tasks.to_parquet(self._root / "meta" / "tasks.parquet")
            (self._root / "meta" / "stats.json").write_text(json.dumps(stats.to_json(self._stats or {}), indent=4))
        (self._root / INFO).write_text(json.dumps(self._info(), indent=4))

    def _info(self) -> dict[str, Any]:
        version, fps = self._style.version, self._style.fps
        videos = [feature for feature in self.features.values() if feature["dtype"] == "video"]
        for feature in videos:
            height, width, channels = feature["shape"]
            feature["info"] = {
                "video.fps": fps,
                "video.height": height,
                "video.width": width,
                "video.channels": channels,
                "video.codec": CODEC.replace("libx264", "h264"),
                "video.pix_fmt": PIXELS,
                "video.is_depth_map": False,
                "has_audio": False,
            }
        sizes = {"data_files_size_in_mb": FILE_MB, "video_files_size_in_mb": VIDEO_MB}
        num_chunks = -(-self._num_episodes // CHUNK_FILES)
        totals = {"total_videos": len(videos) * self._num_episodes, "total_chunks": num_chunks}
        return {
            "codebase_version": version,
            "robot_type": None,
            "total_episodes": self._num_episodes,
            "total_frames": self._num_frames,
            "total_tasks": 1,
            **(totals if version == V2 else sizes),
            "chunks_size": CHUNK_FILES,
            "fps": fps,
            "splits": {"train": f"0:{self._num_episodes}"},
            "data_path": DATA_PATH[version],
            "video_path": VIDEO_PATH[version] if videos else None,
            "features": self.features,
        }

    def _check(self, segment: Segment) -> None:
        specs, action_dim = segment.observation_spec, segment.actions.shape[1]
        if specs != self._specs or action_dim != self._action_dim:
            raise ValueError(
                f"Episode {segment.episode!r} has {_describe(specs, action_dim)}; "
                f"those before it have {_describe(self._specs, self._action_dim)}."
            )

    def _columns(self, segment: Segment) -> dict[str, np.ndarray]:
        """The rows (n, ...) of every feature."""
        n = len(segment)
        steps = np.arange(n)
        columns = {column_of(key, spec): segment.observations[key][:n] for key, spec in self._specs.items()}
        columns[ACTION] = segment.actions
        columns |= {column: getattr(segment, field) for field, column in COLUMNS.items()}
        columns |= {"timestamp": (steps / self._style.fps).astype(np.float32), "frame_index": steps}
        columns |= {
            "episode_index": np.full(n, self._num_episodes),
            "index": self._num_frames + steps,
            "task_index": 0 * steps,
        }
        return columns

    def _table(self, columns: dict[str, np.ndarray]) -> pa.Table:
        arrays = {}
        for name, feature in self.features.items():
            if feature["dtype"] == "image":
                arrays[name] = pa.array([_stored_image(t, image) for t, image in enumerate(columns[name])], IMAGE)
            elif feature["dtype"] != "video":
                arrays[name] = _to_arrow(columns[name])
        return pa.table(arrays, metadata=metadata(self.features))

    def _path(self, templates: dict[str, str], key: str = "") -> Path:
        chunk, index = divmod(self._num_files, CHUNK_FILES)
        episode = {"episode_chunk": chunk, "episode_index": self._num_files}
        return self._root / templates[self._style.version].format(
            chunk_index=chunk, file_index=index, video_key=key, **episode
        )

    def _open(self, schema: pa.Schema) -> pq.ParquetWriter:
        path = self._path(DATA_PATH)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._data = pq.ParquetWriter(path, schema, compression="snappy", write_page_checksum=True)
        for name, feature in self.features.items():
            if feature["dtype"] == "video":
                self._videos[name] = VideoWriter(self._path(VIDEO_PATH, name), self._style.fps, tuple(feature["shape"]))
        return self._data

    def _close_files(self) -> None:
        if self._data is None:
            return
        self._data.close()
        for video in self._videos.values():
            video.close()
        self._data, self._videos, self._num_files = None, {}, self._num_files + 1

    def _place(self) -> dict[str, Any]:
        """The location of the next episode in the metadata of v3.0."""
        chunk, index = divmod(self._num_files, CHUNK_FILES)
        prefixes = ["data", *(f"videos/{key}" for key in self._videos)]
        return {
            f"{prefix}/{name}": number
            for prefix in prefixes
            for name, number in (("chunk_index", chunk), ("file_index", index))
        }

    def _write_episode(self, length: int, place: dict[str, Any], measured: stats.Stats) -> None:
        episode = {"episode_index": self._num_episodes, "tasks": [self._style.task], "length": length}
        listed = stats.to_json(measured)
        if self._style.version == V2:
            self._append("episodes", episode)
            self._append("episodes_stats", {"episode_index": self._num_episodes, "stats": listed})
            return
        rows = {"dataset_from_index": self._num_frames, "dataset_to_index": self._num_frames + length}
        flat = {f"stats/{name}/{kind}": value for name, values in listed.items() for kind, value in values.items()}
        own = {"meta/episodes/chunk_index": 0, "meta/episodes/file_index": 0}
        row = {**episode, **place, **rows, **flat, **own}
        if self._episodes is None:
            path = self._root / EPISODES_PATH
            path.parent.mkdir(parents=True)
            self._episodes = pq.ParquetWriter(
                path, pa.Table.from_pylist([row]).schema, compression="snappy", write_page_checksum=True
            )
        self._episodes.write_table(pa.Table.from_pylist([row], schema=self._episodes.schema))

    def _append(self, name: str, line: dict[str, Any]) -> None:
        with open(self._root / "meta" / f"{name}.jsonl", "a") as file:
            file.write(json.dumps(line) + "\n")


def _describe(specs: dict[str, ArraySpec], action_dim: int) -> str:
    return ", ".join([*(f"{key} {spec}" for key, spec in specs.items()), f"actions of {action_dim} numbers"])


def _stored_image(step: int, image: np.ndarray) -> dict[str, Any]:
    pixels = image[..., 0] if image.shape[-1] == 1 else image
    return {"bytes": encode(pixels), "path": f"frame-{step:06d}.png"}


def _to_arrow(rows: np.ndarray) -> pa.Array:
    """Rows (n, ...) as numbers, as lists of a fixed size for vectors, or as nested lists for more axes."""
    if rows.ndim == 1 or rows.shape[1:] == (1,):
        return pa.array(rows.ravel())
    if rows.ndim == 2:
        return pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), rows.shape[1])
    array = pa.array(rows.ravel())
    for size in reversed(rows.shape[1:]):
        offsets = np.arange(0, len(array) + 1, size, dtype=np.int32)
        array = pa.ListArray.from_arrays(pa.array(offsets), array)
    return array
