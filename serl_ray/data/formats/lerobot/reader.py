"""Segments from LeRobot data sets.

The observation after an action is in the next row. The last row of an episode has no next row. If its mask is 0 (the
episode terminated, so the value of the next observation does not count), its own observation is also the next one, as
in LeRobot's own HIL-SERL; otherwise its transition is left out. Defaults of missing columns, of which those that guess
are logged once for a data set:

    next.reward                            1 where an episode ends with `next.success`, or with `episodes_succeed` where
                                           it ends; otherwise an error
    next.done                              true in the last row of an episode
    next.truncated                         true where an episode is done, but not terminated
    next.mask                              0 where an episode terminates, else 1
    complementary_info.discrete_penalty    0
    complementary_info.is_intervention     false

An episode terminates where `next.mask` is 0 or `next.terminated` is true, which must agree. Without both, it terminates
where it is done and `next.truncated` is false, or `next.success` is true. Without these as well, a reward above 0 or
above all earlier ones of the episode counts as success, and a last row with success ends its episode.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa

from serl_ray.data.action_scale import measure_scale
from serl_ray.data.formats.lerobot.actions import read_actions, recorded_actions
from serl_ray.data.formats.lerobot.ends import is_rewarded, read_flags, read_scalars
from serl_ray.data.formats.lerobot.episodes import INDEXED, episode_of, episode_tables
from serl_ray.data.formats.lerobot.features import (
    ACTION,
    COLUMNS,
    IMAGE_DTYPES,
    REWARD,
    SUCCESS,
    TERMINATED,
    TIMESTAMP,
    image_shape,
    is_depth,
    observed,
)
from serl_ray.data.formats.lerobot.folder import LeRobotFolder
from serl_ray.data.formats.lerobot.rows import holds_images, holds_numbers, leave_out, read_images, read_numbers
from serl_ray.data.formats.lerobot.unused import unused_columns
from serl_ray.data.observations import Keep
from serl_ray.data.schema import ACTION_TOLERANCE, ArraySpec, Part, Segment
from serl_ray.files.paths import is_uri
from serl_ray.files.tables import open_parquet
from serl_ray.types import ActionScale

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LeRobotOptions:
    """Options for data sets that were not made for reinforcement learning.

    Attributes:
        episodes_succeed: whether every episode of a data set without rewards counts as a success.
        rescale_actions: whether actions are mapped to [-1, 1]; see `ActionScale`.
        grippers: indices of the actions that are grippers' commands; by default found by their values.
        gripper_values: values that close and open a gripper; see `measure_scale`.
        scale: scale of the actions in all data; by default that of the data set.
    """

    episodes_succeed: bool = False
    rescale_actions: bool = False
    grippers: tuple[int, ...] | None = None
    gripper_values: tuple[float, float] | None = None
    scale: ActionScale | None = None

    def with_scale_of(self, files: Sequence[str], skip_bad: bool = False) -> LeRobotOptions:
        """The options with the one scale of the actions in these data files, where actions are mapped.

        Args:
            files: data files.
            skip_bad: whether episodes whose actions cannot be read are left out.
        """
        if not self.rescale_actions or self.scale is not None:
            return self
        return replace(self, scale=measure_scale(recorded_actions(files, skip_bad), self.grippers, self.gripper_values))


AS_RECORDED = LeRobotOptions()
AGAIN = "Copy meta and data of the data set again."


def read_lerobot_parts(
    folder: LeRobotFolder,
    path: str,
    keep: Keep,
    observation_spec: Mapping[str, ArraySpec] | None,
    options: LeRobotOptions,
) -> Iterator[Part]:
    """The episodes in a data file with the observations to keep, to be read one by one; `observation_spec` gives the
    precision of their numbers, by default that of the file."""
    reader = _EpisodeReader(folder, path, keep, observation_spec, options)
    named = folder.files.get(path if is_uri(path) else os.path.abspath(path), [])
    missing, is_readable = set(named), True
    with open_parquet(path) as file:
        for first_row, table in episode_tables(file, reader.columns(file.schema_arrow), path):
            if isinstance(table, ValueError):
                is_readable = False
                yield partial(_raise, table)
            elif (episode := episode_of(table)) in missing:
                missing.remove(episode)
                yield partial(reader.read, first_row, table)
            else:
                yield partial(_raise, _misplaced(path, episode, episode in named, folder.root))
    for episode in sorted(missing) if is_readable else ():
        yield partial(
            _raise, ValueError(f"{path}: the metadata place episode {episode} here, but it has no rows. {AGAIN}")
        )


def _misplaced(path: str, episode: int, is_named: bool, root: str) -> ValueError:
    fault = "its rows are in two places" if is_named else f"the metadata of {root} do not place it here"
    return ValueError(f"{path}: episode {episode}: {fault}. {AGAIN}")


def _raise(error: ValueError) -> list[tuple[int, Segment]]:
    raise error


class _EpisodeReader:
    """Reader of the rows of an episode as segments."""

    def __init__(
        self,
        folder: LeRobotFolder,
        path: str,
        keep: Keep,
        observation_spec: Mapping[str, ArraySpec] | None,
        options: LeRobotOptions,
    ) -> None:
        self._folder, self._path, self._options = folder, path, options
        if options.rescale_actions:
            self._options = options.with_scale_of(folder.data_files())
        self._features: dict[str, dict[str, Any]] = folder.info["features"]
        self._observed = observed(self._features, path, keep)
        self._spec = observation_spec or {}

    def columns(self, schema: pa.Schema) -> list[str]:
        """The columns to read from a data file.

        Raises:
            ValueError: a column without a default is missing, or a column has a wrong type.
        """
        names = schema.names
        in_file = [column for column in self._observed.values() if self._features[column]["dtype"] != "video"]
        needed = [ACTION, *INDEXED, *in_file]
        if missing := [column for column in needed if column not in names]:
            raise ValueError(f"{self._path}: no column {', '.join(missing)}; it has {', '.join(names)}.")
        self._check_rewards(names)
        self._check_depth()
        self._name_unused(names)
        optional = [column for column in (*COLUMNS.values(), TERMINATED, SUCCESS, TIMESTAMP) if column in names]
        columns = list(dict.fromkeys([*needed, *optional]))
        for column in columns:
            is_image = column in in_file and self._features[column]["dtype"] in IMAGE_DTYPES
            found = schema.field(column).type if names.count(column) == 1 else None
            if not (holds_images(found) if is_image else holds_numbers(found, within=column not in INDEXED)):
                wanted = "images" if is_image else "numbers"
                raise ValueError(
                    f"{self._path}: column {column}: expected {wanted}, found {found}. Copy the data set again."
                )
        return columns

    def _check_rewards(self, names: list[str]) -> None:
        if REWARD in names and self._options.episodes_succeed:
            self._folder.warn_once(
                "episodes_succeed", f"{self._path}: it has rewards, so --episodes_succeed changes nothing."
            )
        if REWARD not in names and SUCCESS in names and self._options.episodes_succeed:
            self._folder.warn_once(
                "episodes_succeed", f"{self._path}: --episodes_succeed is taken in place of its {SUCCESS}."
            )
        if REWARD not in names and SUCCESS not in names and not self._options.episodes_succeed:
            raise ValueError(
                f"{self._path}: no rewards (column {REWARD}). If every episode ends in success, convert the data set "
                "with convert_demos.py --episodes_succeed."
            )

    def _name_unused(self, names: list[str]) -> None:
        episode = next(iter(self._folder.episodes.values()), {})
        if unused := unused_columns(self._folder.root, self._features, names, episode):
            self._folder.warn_once("unused", unused)

    def _check_depth(self) -> None:
        if depth := [column for column in self._observed.values() if is_depth(self._features[column])]:
            raise ValueError(
                f"{self._path}: {depth[0]} is a depth map, and cameras of 8 bits are read. {leave_out(depth[0])}"
            )

    def read(self, first_row: int, table: pa.Table) -> Iterator[tuple[int, Segment]]:
        """The segments of an episode, cut after each done, with the numbers of their first transitions."""
        self._check_rows(table)
        where = self._where(table)
        scalars = read_scalars(table, where, self._options.episodes_succeed, self._folder.warn_once)
        columns = {"actions": self._actions(table), **scalars}
        arrays = {key: self._observation(table, key) for key in self._observed}
        rewarded, success = is_rewarded(columns["rewards"], columns["dones"]), read_flags(table, SUCCESS, where)
        cuts = (np.flatnonzero(columns["dones"][:-1]) + 1).tolist()
        for start, stop in pairwise([0, *cuts, len(table)]):
            is_terminated = columns["masks"][stop - 1] == 0
            if not is_terminated:
                stop -= 1
                self._note_lost_row(stop, start, columns["rewards"][stop] if rewarded[stop] else None, where)
            if stop > start:
                rows = np.r_[start:stop, stop - 1 if is_terminated else stop]
                fields: dict[str, Any] = {name: column[start:stop] for name, column in columns.items()}
                yield (
                    first_row + start,
                    Segment(
                        observations={key: array[rows] for key, array in arrays.items()},
                        episode=f"{self._folder.root}#{episode_of(table)}" + (f"+{start}" if start else ""),
                        success=None if success is None else bool(success[stop - 1]),
                        **fields,
                    ),
                )

    def _note_lost_row(self, row: int, start: int, reward: float | None, where: str) -> None:
        if reward is not None:
            self._folder.warn_once(
                "reward",
                f"{where}: frame {row} with the reward {reward:g} is left out: a time-out, or a cut, without a next "
                "observation. The same holds for other episodes.",
            )

    def _where(self, table: pa.Table) -> str:
        return f"{self._path}: episode {episode_of(table)}"

    def _check_rows(self, table: pa.Table) -> None:
        rows, expected = len(table), self._folder.episodes[episode_of(table)]["length"]
        if rows != expected or (table.column("frame_index").to_numpy() != np.arange(rows)).any():
            raise ValueError(
                f"{self._where(table)} has {rows} rows, frames {table.column('frame_index')[0]} to "
                f"{table.column('frame_index')[rows - 1]}; the metadata have {expected}. "
                "Copy or record the data set again."
            )

    def _actions(self, table: pa.Table) -> np.ndarray:
        """Actions (n, A) in [-1, 1]."""
        actions = read_actions(table, self._folder, self._where(table))
        if self._options.scale is not None:
            actions = self._options.scale.apply(actions)
        is_outside = (np.abs(actions) > 1 + ACTION_TOLERANCE).any(axis=0)
        if is_outside.any():
            dim = int(np.argmax(is_outside))
            raise ValueError(
                f"{self._where(table)}: action[{dim}]: expected numbers in [-1, 1], found "
                f"{actions[:, dim].min():g} to {actions[:, dim].max():g}. Scale the actions as for the env, or "
                "convert the data set with convert_demos.py --rescale_actions, which divides each by its greatest "
                "value."
            )
        return actions

    def _observation(self, table: pa.Table, key: str) -> np.ndarray:
        """The rows (n, ...) of an observation key."""
        column = self._observed[key]
        feature, where = self._features[column], self._where(table)
        if feature["dtype"] == "video":
            return self._video(table, column)
        if feature["dtype"] in IMAGE_DTYPES:
            return read_images(table, column, image_shape(feature), f"{where}: {column}")
        dtype = np.dtype(feature["dtype"])
        wanted = self._spec[key].dtype if key in self._spec else dtype
        shape = feature["shape"] or [1]  # a number without an axis
        return read_numbers(table, column, shape, wanted if wanted.kind == dtype.kind == "f" else dtype, where)

    def _video(self, table: pa.Table, column: str) -> np.ndarray:
        """The images (n, H, W, C) of the part of a video that shows an episode."""
        from serl_ray.data.formats.lerobot.video import read_video_frames  # FFmpeg, for videos alone

        fps, where = float(self._folder.info["fps"]), self._where(table)
        if TIMESTAMP in table.column_names:
            times = read_numbers(table, TIMESTAMP, (), np.dtype(np.float64), where)
        else:
            times = np.arange(len(table)) / fps
        if not np.isfinite(times).all() or (np.diff(times) <= 0).any():
            raise ValueError(f"{where}: {TIMESTAMP} does not rise from frame to frame. Record the episode again.")
        clip = self._folder.clip(episode_of(table), column)
        return read_video_frames(clip.path, clip.start + times, fps, image_shape(self._features[column]))
