"""Map of recorded actions, in the units of a robot, to the numbers in [-1, 1] that agents take."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from serl_ray.types import GRIPPER_COMMANDS

NUMBERED = (0.0, 1.0, 2.0)
"""Commands of a gripper, close, hold and open, as some recorders number them."""


@dataclass(frozen=True)
class ActionScale:
    """Symmetric map of actions: each number is divided by its greatest absolute value, so that 0 stays 0.

    Grippers are apart: their commands -1, 0, 1 stay as they are, and 0, 1, 2 become -1, 0, 1.

    Attributes:
        limits: divisors (A,), in the units of the robot; 1 for a gripper, and for a number that is always 0.
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
        if index in self.grippers:
            return "gripper, 0, 1, 2 become -1, 0, 1 (close, hold, open)" if self.offsets[index] else "gripper, as it is"
        return f"divided by {self.limits[index]:.9g}"

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
        if len(limits) != len(offsets) or not np.isfinite([*limits, *offsets]).all() or not all(limit > 0 for limit in limits):
            raise ValueError("the scale of the actions is damaged (its limits are not numbers above 0)")
        return cls(limits, offsets, grippers)


def measure_scale(actions: Iterable[np.ndarray], grippers: Collection[int] | None = None) -> ActionScale:
    """The one scale of all recorded actions.

    Args:
        actions: finite actions in parts (n, A), all of the same A.
        grippers: indices of the grippers; by default the numbers that are always a gripper's command.

    Raises:
        ValueError: a gripper has other values than commands, or there is no such number.
    """
    parts = iter(actions)
    first = next(parts)
    greatest, least = np.zeros(first.shape[1]), np.zeros(first.shape[1])
    commands, numbered = np.ones((2, first.shape[1]), bool)
    for part in (first, *parts):
        greatest, least = np.maximum(greatest, part.max(axis=0)), np.minimum(least, part.min(axis=0))
        commands &= np.isin(part, GRIPPER_COMMANDS).all(axis=0)
        numbered &= np.isin(part, NUMBERED).all(axis=0)
    named = np.flatnonzero(commands | numbered) if grippers is None else sorted(grippers)
    for index in named:
        _check_gripper(int(index), commands | numbered, least, greatest)
    is_gripper = np.isin(np.arange(first.shape[1]), named)
    limits = np.maximum(greatest, -least)
    return ActionScale(
        tuple(np.where(is_gripper | (limits == 0), 1.0, limits).tolist()),
        tuple(np.where(is_gripper & ~commands, 1.0, 0.0).tolist()),
        tuple(np.flatnonzero(is_gripper).tolist()),
    )


def _check_gripper(index: int, is_command: np.ndarray, least: np.ndarray, greatest: np.ndarray) -> None:
    if not 0 <= index < len(is_command):
        raise ValueError(f"grippers has {index}; the actions have the numbers 0 to {len(is_command) - 1}.")
    if not is_command[index]:
        raise ValueError(
            f"action[{index}], a gripper, has values from {least[index]:g} to {greatest[index]:g}; expected the commands "
            "-1, 0, 1 or 0, 1, 2 (close, hold, open). Record commands, or leave it out of --grippers to scale it as the others."
        )
