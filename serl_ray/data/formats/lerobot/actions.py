"""The actions of LeRobot data sets, in their recorded units."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress

import numpy as np
import pyarrow as pa

from serl_ray.data.formats.lerobot.episodes import INDEXED, episode_of, episode_tables
from serl_ray.data.formats.lerobot.features import ACTION
from serl_ray.data.formats.lerobot.folder import LeRobotFolder, folder_of
from serl_ray.data.formats.lerobot.rows import read_numbers
from serl_ray.files.tables import open_parquet

STATS_TOLERANCE = 1e-4
"""Tolerance for actions beyond the statistics, relative to their greatest value."""


def read_actions(table: pa.Table, folder: LeRobotFolder, where: str) -> np.ndarray:
    """The actions (n, A) of some rows, float32; `where` names the rows in errors.

    Raises:
        ValueError: an action is not finite, or has another shape than in `info.json`.
    """
    shape = folder.info["features"].get(ACTION, {}).get("shape", ())
    if len(shape) != 1 or not shape[0]:
        raise ValueError(
            f"{folder.root}: features[{ACTION!r}] in info.json: expected a shape [A], found {list(shape)}."
        )
    actions = read_numbers(table, ACTION, shape, np.dtype(np.float32), where)
    if (broken := np.argwhere(~np.isfinite(actions))).size:
        row, dim = broken[0]
        raise ValueError(
            f"{where}: {ACTION}[{dim}]: expected finite numbers, found {actions[row, dim]} in frame {row}. "
            "Record the episode again, or leave it out."
        )
    _compare_with_statistics(actions, folder, where)
    return actions


def recorded_actions(files: Sequence[str], skip_bad: bool = False) -> Iterator[np.ndarray]:
    """The actions (n, A) of LeRobot data files, by episodes.

    Args:
        files: data files.
        skip_bad: whether episodes and files whose actions cannot be read are left out, instead of raising.

    Raises:
        ValueError: a file is of another format, or its actions have another number of dimensions than those before.
    """
    expected: int | None = None
    for path in files:
        folder = folder_of(path)
        if folder is None:
            raise ValueError(
                f"{path}: --rescale_actions is for LeRobot data sets, which this is not. Leave the option out."
            )
        for actions in _actions_in(path, folder, skip_bad):
            if expected not in (None, actions.shape[1]):
                raise ValueError(f"{path}: actions of {actions.shape[1]} numbers; the data before have {expected}.")
            expected = actions.shape[1]
            yield actions


def _actions_in(path: str, folder: LeRobotFolder, skip_bad: bool) -> Iterator[np.ndarray]:
    """The actions of the episodes in a file."""
    kept = (ValueError, OSError) if skip_bad else ()
    with suppress(*kept), open_parquet(path) as file:
        names = file.schema_arrow.names
        if missing := [column for column in (ACTION, *INDEXED) if column not in names]:
            raise ValueError(f"{path}: no column {', '.join(missing)}; it has {', '.join(names)}.")
        for _, table in episode_tables(file, [ACTION, *INDEXED], path):
            with suppress(*kept):
                if isinstance(table, ValueError):
                    raise table
                yield read_actions(table, folder, f"{path}: episode {episode_of(table)}")


def _compare_with_statistics(actions: np.ndarray, folder: LeRobotFolder, where: str) -> None:
    """Logs once that statistics are not those of the data; nothing here uses them."""
    again = "Nothing is computed from them here; let LeRobot compute them again."
    try:
        low, high = folder.action_limits
    except ValueError as error:
        folder.warn_once("statistics", str(error))
        return
    slack = STATS_TOLERANCE * np.maximum(np.abs(low), np.abs(high))
    if low.shape != actions.shape[1:] or not np.isfinite([*low, *high]).all():
        folder.warn_once("statistics", f"{folder.root}: its statistics of the actions are {low} to {high}. {again}")
    elif (beyond := np.argwhere((actions < low - slack) | (actions > high + slack))).size:
        row, dim = beyond[0]
        folder.warn_once(
            "statistics",
            f"{where}: {ACTION}[{dim}] is {actions[row, dim]:g}, and the statistics of the data set have {low[dim]:g} "
            f"to {high[dim]:g}. {again}",
        )
