"""Measurement of the map from recorded actions, in the units of a robot, to the numbers in [-1, 1] that agents take."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Sequence

import numpy as np

from serl_ray.types import GRIPPER_COMMANDS, ActionScale

logger = logging.getLogger(__name__)

NUMBERED = (0.0, 1.0, 2.0)
"""Commands of a gripper, close, hold and open, as some recorders number them."""


def measure_scale(
    actions: Iterable[np.ndarray],
    grippers: Collection[int] | None = None,
    gripper_values: tuple[float, float] | None = None,
) -> ActionScale:
    """The one scale of all recorded actions.

    Args:
        actions: finite actions in parts (n, A), all of the same A.
        grippers: indices of the grippers; by default the numbers that are always a gripper's command, and not always 0.
        gripper_values: values that close and open a gripper, with hold between them; by default -1 and 1, or 0 and 2.

    Raises:
        ValueError: a gripper has other values than commands, there is no such number, or there are no actions.
    """
    known = [_commands(*gripper_values)] if gripper_values else [GRIPPER_COMMANDS, NUMBERED]
    parts = iter(actions)
    if (first := next(parts, None)) is None:
        raise ValueError("There is no episode whose actions can be read, so their limits are unknown.")
    greatest, least = np.zeros(first.shape[1]), np.zeros(first.shape[1])
    fits = np.ones((len(known), first.shape[1]), bool)
    for part in (first, *parts):
        greatest, least = np.maximum(greatest, part.max(axis=0)), np.minimum(least, part.min(axis=0))
        fits &= [np.isin(part, commands).all(axis=0) for commands in known]
    limits, offsets = np.maximum(greatest, -least), np.zeros(first.shape[1])
    is_command: np.ndarray = np.asarray(fits.any(axis=0))
    named = np.flatnonzero(is_command & (limits > 0)).tolist() if grippers is None else sorted(grippers)
    limits[limits == 0] = 1.0
    for index in named:
        _check_gripper(index, is_command, least, greatest, known)
        close, offsets[index], open_ = known[int(fits[:, index].argmax())]
        limits[index] = (open_ - close) / 2
        if fits[:, index].all() and len(known) > 1:
            _warn_of_flags(index)
    return ActionScale(tuple(limits.tolist()), tuple(offsets.tolist()), tuple(named))


def _commands(close: float, open_: float) -> tuple[float, ...]:
    return close, (close + open_) / 2, open_


def _warn_of_flags(index: int) -> None:
    logger.warning(
        "action[%d] has 0 and 1 alone, read as a gripper's hold and open, so that it never closes. If they mean "
        "something else, name the values that close and open it, such as --gripper_values 0 1.",
        index,
    )


def _check_gripper(
    index: int, is_command: np.ndarray, least: np.ndarray, greatest: np.ndarray, known: Sequence[tuple[float, ...]]
) -> None:
    if not 0 <= index < len(is_command):
        raise ValueError(f"grippers has {index}; the actions have the numbers 0 to {len(is_command) - 1}.")
    if not is_command[index]:
        expected = " or ".join(", ".join(f"{value:g}" for value in commands) for commands in known)
        raise ValueError(
            f"action[{index}], a gripper, has values from {least[index]:g} to {greatest[index]:g}; expected the "
            f"commands {expected} (close, hold, open). Record commands, name the values that close and open it "
            "(--gripper_values), or leave it out of --grippers to scale it as the others."
        )
