"""The rewards of an episode and its end: terminated, or out of time."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pyarrow as pa

from serl_ray.data.formats.lerobot.features import COLUMNS, DONE, REWARD, SUCCESS, TRUNCATED
from serl_ray.data.formats.lerobot.rows import read_numbers
from serl_ray.data.schema import SCALAR_FIELDS

Warn = Callable[[str, str], None]
"""Function that logs a guess: its kind, which is logged once for a data set, and the sentence."""


def read_scalars(table: pa.Table, where: str, episodes_succeed: bool, warn: Warn) -> dict[str, np.ndarray]:
    """The fields (n,) with one number each; for missing columns see `serl_ray.data.formats.lerobot.reader`."""
    n = len(table)
    found = {
        field: read_numbers(table, column, (), SCALAR_FIELDS[field], where)
        for field, column in COLUMNS.items()
        if column in table.column_names
    }
    success = read_numbers(table, SUCCESS, (), np.dtype(bool), where) if SUCCESS in table.column_names else None
    if episodes_succeed and "rewards" not in found:
        success = None
    nothing = np.zeros(n, bool)
    dones = found.get("dones", np.arange(n) == n - 1) | found.get("truncateds", nothing)
    rewards = found["rewards"] if "rewards" in found else _given_rewards(dones, success, where, warn)
    if "masks" in found:
        ends = {"dones": dones, "truncateds": found.get("truncateds", dones & (found["masks"] != 0))}
    else:
        known = success if success is not None or "rewards" in found else rewards > 0
        ends = _ends(dones, found.get("truncateds"), known, rewards, where, warn)
    return {"grasp_penalty": np.zeros(n, np.float32), "intervened": nothing, **found, **ends, "rewards": rewards}


def is_rewarded(rewards: np.ndarray, dones: np.ndarray) -> np.ndarray:
    """Flags (n,) of the rows whose reward is above 0, or above every earlier one of the same episode.

    Args:
        rewards: rewards (n,).
        dones: flags (n,), true where an episode ends.
    """
    is_best = rewards > 0
    for start, stop in pairwise([0, *(np.flatnonzero(dones[:-1]) + 1), len(rewards)]):
        is_best[start + 1 : stop] |= rewards[start + 1 : stop] > np.maximum.accumulate(rewards[start:stop])[:-1]
    return is_best


def _given_rewards(dones: np.ndarray, success: np.ndarray | None, where: str, warn: Warn) -> np.ndarray:
    """The rewards (n,) of an episode without any: 1 where it ends, if it succeeds."""
    ends = dones.copy()
    ends[-1] = True
    if success is not None:
        warn(
            "rewards",
            f"{where}: no rewards (column {REWARD}), so an end with {SUCCESS} is given the reward 1, all else 0.",
        )
        ends &= success
    return ends.astype(np.float32)


def _ends(
    dones: np.ndarray,
    truncateds: np.ndarray | None,
    success: np.ndarray | None,
    rewards: np.ndarray,
    where: str,
    warn: Warn,
) -> dict[str, np.ndarray]:
    """The fields `dones`, `truncateds` and `masks` (n,) of a data set without masks.

    Args:
        dones: flags of the rows in which an episode ends.
        truncateds: flags of the rows in which an episode ends by a time-out; None if not recorded.
        success: flags of the rows in which the task is done; None if not recorded.
        rewards: rewards, by which a success is guessed where it is not recorded.
    """
    good = is_rewarded(rewards, dones) if success is None else success
    if not dones[-1] and good[-1]:
        dones = dones.copy()
        dones[-1] = True
        sign = f"has {SUCCESS}" if success is not None else f"has the reward {rewards[-1]:g}"
        warn(
            "not done", f"{where}: its last row {sign}, but not {DONE}. Such a row is taken as the end of its episode."
        )
    if truncateds is not None:
        terminated = dones & ~truncateds if success is None else dones & (~truncateds | success)
    else:
        terminated = dones & good
        if success is None or (dones & ~good).any():
            _warn_of_guess(success is None, where, warn)
    return {"dones": dones, "truncateds": dones & ~terminated, "masks": (~terminated).astype(np.float32)}


def _warn_of_guess(by_reward: bool, where: str, warn: Warn) -> None:
    missing = f"neither {TRUNCATED} nor {SUCCESS}" if by_reward else f"no {TRUNCATED}"
    rule = "with a reward above 0, or above all its earlier ones," if by_reward else f"with {SUCCESS}"
    warn(
        "ends", f"{where}: {missing}, so an episode that ends {rule} counts as terminated, and any other as a time-out."
    )
