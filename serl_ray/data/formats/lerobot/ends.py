"""The rewards of an episode and its end: terminated, or out of time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise

import numpy as np
import pyarrow as pa

from serl_ray.data.formats.lerobot.features import COLUMNS, DONE, MASK, REWARD, SUCCESS, TERMINATED, TRUNCATED
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
    success, terminated = (read_flags(table, column, where) for column in (SUCCESS, TERMINATED))
    if episodes_succeed and "rewards" not in found:
        success = None
    nothing = np.zeros(n, bool)
    flags = {TERMINATED: nothing if terminated is None else terminated, TRUNCATED: found.get("truncateds", nothing)}
    if "dones" in found:
        _compare_with_done(found["dones"], flags, where, warn)
    dones = found.get("dones", np.arange(n) == n - 1) | flags[TERMINATED] | flags[TRUNCATED]
    rewards = found["rewards"] if "rewards" in found else _given_rewards(dones, success, where, warn)
    if "masks" in found or terminated is not None:
        masks = _masks(dones, found.get("masks"), terminated, success, where, warn)
        ends = {"dones": dones, "truncateds": found.get("truncateds", dones & (masks != 0)), "masks": masks}
    else:
        known = success if success is not None or "rewards" in found else rewards > 0
        ends = _ends(dones, found.get("truncateds"), known, rewards, where, warn)
    return {"grasp_penalty": np.zeros(n, np.float32), "intervened": nothing, **found, **ends, "rewards": rewards}


def read_flags(table: pa.Table, column: str, where: str) -> np.ndarray | None:
    """The flags (n,) of an optional column; None without it."""
    return read_numbers(table, column, (), np.dtype(bool), where) if column in table.column_names else None


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


def _compare_with_done(dones: np.ndarray, flags: Mapping[str, np.ndarray], where: str, warn: Warn) -> None:
    """Logs a row with another flag of an end that is not done.

    Raises:
        ValueError: such a row is terminated, and the episode goes on.
    """
    for column, flag in flags.items():
        rows = np.flatnonzero(flag & ~dones)
        if column == TERMINATED and rows.size and rows[0] < len(dones) - 1:
            raise ValueError(
                f"{where}: frame {rows[0]} has {column}, but not {DONE}, and the episode goes on. Set both where an "
                f"episode ends, or leave {column} out."
            )
        if rows.size:
            warn("not done", f"{where}: frame {rows[0]} has {column}, but not {DONE}. It is taken as an end.")


def _masks(
    dones: np.ndarray,
    masks: np.ndarray | None,
    terminated: np.ndarray | None,
    success: np.ndarray | None,
    where: str,
    warn: Warn,
) -> np.ndarray:
    """The masks (n,) of a data set that has masks, or flags of the rows in which an episode terminates, or both.

    Raises:
        ValueError: they contradict each other.
    """
    column = TERMINATED if masks is None else MASK
    if masks is None:
        masks = np.ones(len(dones), np.float32) if terminated is None else 1 - terminated.astype(np.float32)
    elif terminated is not None and (wrong := np.flatnonzero(dones & ((masks == 0) != terminated))).size:
        raise ValueError(
            f"{where}: frame {wrong[0]} has a {MASK} of {masks[wrong[0]]:g}, and {TERMINATED} is "
            f"{str(terminated[wrong[0]]).lower()}: a mask is 0 where the episode terminated, and 1 everywhere else. "
            "Leave one of the columns out."
        )
    is_end = dones | (np.arange(len(dones)) == len(dones) - 1)
    if success is not None and (rows := np.flatnonzero(is_end & success & (masks == 1))).size:
        warn(
            "success",
            f"{where}: frame {rows[0]} has {SUCCESS}, and did not terminate by its {column}. {column} is taken, so "
            "values go on behind the success.",
        )
    return masks


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
