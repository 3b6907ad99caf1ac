"""Segments from LeRobot data sets.

The observation after an action is in the next row. The last row of an episode has no next row. If its mask is 0 (the
episode terminated, so the value of the next observation does not count), its own observation is also the next one, as
in LeRobot's own HIL-SERL; otherwise its transition is left out. Defaults of missing columns:

    next.reward                            an error; with `episodes_succeed` 1 in the last row and 0 before it
    next.done                              true in the last row of an episode
    next.truncated                         true where an episode is done without a reward above 0: it ran out of time
    next.mask                              0 where an episode is done and not truncated, else 1
    complementary_info.discrete_penalty    0
    complementary_info.is_intervention     false
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from math import prod
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from serl_ray.data.formats.lerobot.features import ACTION, COLUMNS, IMAGE_DTYPES, REWARD, observed
from serl_ray.data.formats.lerobot.folder import LeRobotFolder
from serl_ray.data.formats.lerobot.video import read_frames
from serl_ray.data.schema import ACTION_TOLERANCE, SCALAR_FIELDS, ArraySpec, Part, Segment
from serl_ray.files.images import decode
from serl_ray.files.tables import check_memory, open_parquet, read_group


@dataclass(frozen=True)
class LeRobotOptions:
    """Options for data sets that were not made for reinforcement learning.

    Attributes:
        episodes_succeed: whether every episode of a data set without rewards counts as a success.
        rescale_actions: whether the range of each action dimension in the data set is mapped to [-1, 1].
    """

    episodes_succeed: bool = False
    rescale_actions: bool = False


AS_RECORDED = LeRobotOptions()
INDEXED = ("episode_index", "frame_index")


def read_lerobot_parts(
    folder: LeRobotFolder, path: str, observation_spec: Mapping[str, ArraySpec] | None, options: LeRobotOptions
) -> Iterator[Part]:
    """The episodes in a data file, to be read one by one; `observation_spec` gives the keys to keep, by default all."""
    reader = _EpisodeReader(folder, path, observation_spec, options)
    with open_parquet(path) as file:
        for first_row, table in _episode_tables(file, reader.columns(file.schema_arrow), path):
            yield partial(reader.read, first_row, table)


def _episode_tables(file: pq.ParquetFile, columns: list[str], path: str) -> Iterator[tuple[int, pa.Table | ValueError]]:
    """The number of the first row and the rows of each episode; an error in place of unreadable rows."""
    first = row = 0
    pending: list[pa.Table] = []
    for group in range(file.num_row_groups):
        try:
            table = read_group(file, group, columns, f"{path}: row {row}")
            if empty := [name for name in INDEXED if table.column(name).null_count]:
                raise ValueError(f"{path}: row {row}: column {empty[0]} has empty places. Copy the file again.")
        except ValueError as error:
            if pending:
                yield first, pa.concat_tables(pending)
            yield row, error
            pending, row = [], row + file.metadata.row_group(group).num_rows
            continue
        for piece in _by_episode(table):
            if pending and _episode_of(pending[0]) != _episode_of(piece):
                yield first, pa.concat_tables(pending)
                pending = []
            first = first if pending else row
            pending.append(piece)
            row += len(piece)
    if pending:
        yield first, pa.concat_tables(pending)


def _by_episode(table: pa.Table) -> Iterator[pa.Table]:
    changes = np.flatnonzero(np.diff(table.column("episode_index").to_numpy())) + 1
    for start, stop in pairwise([0, *changes.tolist(), len(table)]):
        if stop > start:
            yield table.slice(start, stop - start)


def _episode_of(table: pa.Table) -> int:
    return int(table.column("episode_index")[0].as_py())


class _EpisodeReader:
    """Reader of the rows of an episode as segments."""

    def __init__(
        self,
        folder: LeRobotFolder,
        path: str,
        observation_spec: Mapping[str, ArraySpec] | None,
        options: LeRobotOptions,
    ) -> None:
        self._folder, self._path, self._options = folder, path, options
        self._features: dict[str, dict[str, Any]] = folder.info["features"]
        found = observed(self._features, path)
        self._observed = {key: column for key, column in found.items() if observation_spec is None or key in observation_spec}
        self._spec = observation_spec or {}
        self._limits = folder.action_limits if options.rescale_actions else None

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
        if REWARD not in names and not self._options.episodes_succeed:
            raise ValueError(
                f"{self._path}: no rewards (column {REWARD}). If every episode ends in success, convert the data set "
                "with convert_demos.py --episodes_succeed."
            )
        columns = list(dict.fromkeys([*needed, *(column for column in COLUMNS.values() if column in names)]))
        for column in columns:
            is_image = column in in_file and self._features[column]["dtype"] in IMAGE_DTYPES
            found = schema.field(column).type if names.count(column) == 1 else None
            if not (_is_image(found) if is_image else _is_numbers(found, within=column not in INDEXED)):
                wanted = "images" if is_image else "numbers"
                raise ValueError(f"{self._path}: column {column}: expected {wanted}, found {found}. Copy the data set again.")
        return columns

    def read(self, first_row: int, table: pa.Table | ValueError) -> Iterator[tuple[int, Segment]]:
        """The segments of an episode, cut after each done, with the numbers of their first transitions."""
        if isinstance(table, ValueError):
            raise table
        self._check_rows(table)
        columns = {"actions": self._actions(table), **_scalars(table)}
        arrays = {key: self._observation(table, key) for key in self._observed}
        cuts = (np.flatnonzero(columns["dones"][:-1]) + 1).tolist()
        for start, stop in pairwise([0, *cuts, len(table)]):
            is_terminated = columns["masks"][stop - 1] == 0
            if not is_terminated:
                stop -= 1
            if stop > start:
                rows = np.r_[start:stop, stop - 1 if is_terminated else stop]
                fields: dict[str, Any] = {name: column[start:stop] for name, column in columns.items()}
                yield (
                    first_row + start,
                    Segment(
                        observations={key: array[rows] for key, array in arrays.items()},
                        episode=f"{self._folder.root}#{_episode_of(table)}" + (f"+{start}" if start else ""),
                        **fields,
                    ),
                )

    def _check_rows(self, table: pa.Table) -> None:
        episode, rows = _episode_of(table), len(table)
        expected = self._folder.episodes.get(episode, {}).get("length")
        if rows != expected or (table.column("frame_index").to_numpy() != np.arange(rows)).any():
            raise ValueError(
                f"{self._path}: episode {episode} has {rows} rows, frames {table.column('frame_index')[0]} to "
                f"{table.column('frame_index')[rows - 1]}; the metadata have {expected}. "
                "Copy or record the data set again."
            )

    def _actions(self, table: pa.Table) -> np.ndarray:
        """Actions (n, A) in [-1, 1]."""
        actions = _numbers(table, ACTION, np.dtype(np.float32)).reshape(len(table), -1)
        if self._limits is not None:
            low, high = self._limits
            span = np.where(high > low, high - low, 1)
            actions = np.where(high > low, np.clip(2 * (actions - low) / span - 1, -1, 1), 0).astype(np.float32)
        is_outside = (np.abs(actions) > 1 + ACTION_TOLERANCE).any(axis=0)
        if is_outside.any():
            dim = int(np.argmax(is_outside))
            raise ValueError(
                f"{self._path}: episode {_episode_of(table)}: action[{dim}]: expected numbers in [-1, 1], found "
                f"{actions[:, dim].min():g} to {actions[:, dim].max():g}. Scale the actions as for the env, or "
                "convert the data set with convert_demos.py --rescale_actions, which maps the range of each to [-1, 1]."
            )
        return actions

    def _observation(self, table: pa.Table, key: str) -> np.ndarray:
        """The rows (n, ...) of an observation key."""
        column = self._observed[key]
        feature, episode = self._features[column], _episode_of(table)
        if feature["dtype"] == "video":
            clip = self._folder.clip(episode, column)
            return read_frames(clip.path, clip.start, len(table), float(self._folder.info["fps"]))
        if feature["dtype"] in IMAGE_DTYPES:
            return _images(table, column, f"{self._path}: episode {episode}: {column}")
        dtype = np.dtype(feature["dtype"])
        wanted = self._spec[key].dtype if key in self._spec else dtype
        rows = _numbers(table, column, wanted if wanted.kind == dtype.kind == "f" else dtype)
        if rows.size != len(table) * prod(feature["shape"]):
            raise ValueError(
                f"{self._path}: episode {episode}: {column}: expected an array of shape {feature['shape']} in each "
                f"row, found {rows.size} numbers in {len(table)} rows. Copy meta and data of one data set."
            )
        return rows.reshape(len(table), *feature["shape"])


def _scalars(table: pa.Table) -> dict[str, np.ndarray]:
    """The fields (n,) with one number each; for missing columns see the docstring of this module."""
    n = len(table)
    is_last = np.arange(n) == n - 1
    found = {
        field: _numbers(table, column, SCALAR_FIELDS[field]).reshape(n)
        for field, column in COLUMNS.items()
        if column in table.column_names
    }
    rewards = found.get("rewards", is_last.astype(np.float32))
    dones = found.get("dones", is_last)
    truncateds = found.get("truncateds", dones & (rewards <= 0))
    dones = dones | truncateds
    zeros = np.zeros(n, np.float32)
    defaults = {"masks": 1.0 - (dones & ~truncateds), "grasp_penalty": zeros, "intervened": zeros > 0}
    return {**defaults, **found, "rewards": rewards, "dones": dones, "truncateds": truncateds}


def _numbers(table: pa.Table, column: str, dtype: np.dtype) -> np.ndarray:
    """All numbers of a column, flat, also from nested lists."""
    array = table.column(column).combine_chunks()
    while pa.types.is_nested(array.type):
        array = array.flatten()
    if array.null_count:
        raise ValueError(f"Column {column} has {array.null_count} empty places. Record the episode again, or leave it out.")
    numbers: np.ndarray = array.to_numpy(zero_copy_only=False)
    return (numbers != 0) if dtype.kind == "b" else numbers.astype(dtype)


def _is_numbers(found: pa.DataType | None, within: bool) -> bool:
    """True if a column holds numbers or, with `within`, nested lists of numbers."""
    while found is not None and within and pa.types.is_nested(found) and found.num_fields == 1:
        found = found.field(0).type
    return found is not None and (pa.types.is_boolean(found) or pa.types.is_integer(found) or pa.types.is_floating(found))


def _is_image(found: pa.DataType | None) -> bool:
    return found is not None and pa.types.is_struct(found) and found.get_field_index("bytes") >= 0


def _images(table: pa.Table, column: str, where: str) -> np.ndarray:
    """Images (n, H, W, C) uint8 from PNG or JPEG bytes."""
    encoded = table.column(column).to_pylist()
    if any(image is None or image["bytes"] is None for image in encoded):
        raise ValueError(f"{where}: an image is in a separate file. Embed the images with LeRobot.")
    try:
        first = decode(encoded[0]["bytes"])
        check_memory(first.nbytes * len(encoded), where)
        images = np.stack([first, *(decode(image["bytes"]) for image in encoded[1:])])
    except ValueError as error:
        raise ValueError(f"{where}: {error} Record the episode again, or leave it out.") from error
    if images.dtype != np.uint8:
        raise ValueError(f"{where}: expected images of uint8, found {images.dtype}. Leave this camera out of the data set.")
    return images[..., None] if images.ndim == 3 else images
