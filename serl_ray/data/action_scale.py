"""Map of recorded actions, in the units of a robot, to the numbers in [-1, 1] that agents take."""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from serl_ray.types import GRIPPER_COMMANDS

logger = logging.getLogger(__name__)

NUMBERED = (0.0, 1.0, 2.0)
"""Commands of a gripper, close, hold and open, as some recorders number them."""


@dataclass(frozen=True)
class ActionScale:
    """Symmetric map of actions: each number is divided by its greatest absolute value, so that 0 stays 0.

    Grippers are apart: their commands -1, 0, 1 stay as they are, and 0, 1, 2 or other values of these commands become
    -1, 0, 1.

    Attributes:
        limits: divisors (A,), in the units of the robot; 1 for a number that is always 0, below 0 for a gripper whose
            greater value closes it.
        offsets: numbers (A,) that are subtracted before; 0 except for grippers.
        grippers: indices of the grippers.
    """

    limits: tuple[float, ...]
    offsets: tuple[float, ...]
    grippers: tuple[int, ...]

    def apply(self, actions: np.ndarray) -> np.ndarray:
        """Actions (..., A) in [-1, 1], float32, from recorded ones."""
        scaled: np.ndarray = ((actions - np.array(self.offsets)) / np.array(self.limits)).astype(np.float32)
        return scaled

    def invert(self, actions: np.ndarray) -> np.ndarray:
        """Actions (..., A) in the units of the robot, float32, from an agent's."""
        recorded: np.ndarray = (actions * np.array(self.limits) + np.array(self.offsets)).astype(np.float32)
        return recorded

    def lines(self) -> list[str]:
        """A description for people: the limit of each number."""
        return [f"action[{index}]: {self._describe(index)}" for index in range(len(self.limits))]

    def _describe(self, index: int) -> str:
        limit, offset = self.limits[index], self.offsets[index]
        if index not in self.grippers:
            return f"divided by {limit:.9g}"
        if (limit, offset) == (1.0, 0.0):
            return "gripper, as it is"
        return f"gripper, {offset - limit:g}, {offset:g}, {offset + limit:g} become -1, 0, 1 (close, hold, open)"

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str | bytes) -> ActionScale:
        """The scale in untrusted text.

        Raises:
            ValueError: the text is damaged.
        """
        try:
            fields: dict[str, Any] = json.loads(text)
            limits, offsets = (tuple(float(value) for value in fields[name]) for name in ("limits", "offsets"))
            grippers = tuple(int(index) for index in fields["grippers"])
        except (ValueError, LookupError, TypeError, RecursionError) as error:
            raise ValueError(f"the scale of the actions is damaged ({type(error).__name__}: {error})") from error
        is_positive = all(limit > 0 or (limit < 0 and index in grippers) for index, limit in enumerate(limits))
        if len(limits) != len(offsets) or not np.isfinite([*limits, *offsets]).all() or not is_positive:
            raise ValueError("the scale of the actions is damaged (its limits are not numbers above 0)")
        return cls(limits, offsets, grippers)


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
