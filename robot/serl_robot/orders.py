"""Messages of a trainer, checked where they come in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable

import numpy as np

from serl_robot.wire import Message, WireError

PROTOCOL = 1
"""Version of the protocol."""
ACTION_TOLERANCE = 1e-6
"""Tolerance for actions outside [-1, 1], for errors of float arithmetic."""
FRAMES = ("base", "tool")


@dataclass(frozen=True)
class Order:
    """A message of a trainer, or an event of the link.

    Attributes:
        index: number of the order; later ones have greater numbers.
        kind: kind of the message; `joined` or `lost` for events of the link, `ended` where it has failed for good.
        message: the message; None for an event.
        answer: sends an answer on the connection of the message; None where there is no connection.
        error: cause of the end.
    """

    index: int
    kind: str
    message: Message | None = None
    answer: Callable[[bytes], None] | None = None
    error: BaseException | None = None


def check_order(message: Message, action_dim: int) -> None:
    """Raises WireError for a message that no trainer of this protocol sends."""
    checks = FIELDS.get(message.kind)
    if checks is None:
        raise WireError(f"The trainer sent {message.kind!r:.40}; this robot knows {', '.join(FIELDS)}.")
    if message.fields.keys() != checks.keys() or message.jpegs:
        raise WireError(f"A {message.kind!r} message has the fields {[*message.fields]!r:.200}, not {[*checks]}.")
    for name, is_valid in checks.items():
        if not is_valid(message.fields[name]):
            raise WireError(f"{name!r} of a {message.kind!r} message is {message.fields[name]!r:.60}.")
    shapes = {"step": {"action": (action_dim,)}, "twist": {"twist": (6,)}}.get(message.kind, {})
    found = {name: array.shape for name, array in message.arrays.items()}
    if found != shapes:
        raise WireError(f"A {message.kind!r} message has arrays of the shapes {found!r:.200}, not {shapes}.")
    for name, array in message.arrays.items():
        if array.dtype != np.float32:
            raise WireError(f"{name!r} of a {message.kind!r} message is {array.dtype}, not float32.")
        if np.abs(array).max() > 1 + ACTION_TOLERANCE:
            raise WireError(f"{name!r} of a {message.kind!r} message leaves [-1, 1]: {array.tolist()!r:.200}.")


def _is_whole(value: Any) -> bool:
    return type(value) is int and value >= 0


def _is_seed(value: Any) -> bool:
    return value is None or _is_whole(value)


FIELDS: dict[str, dict[str, Callable[[Any], bool]]] = {
    "reset": {"number": _is_whole, "seed": _is_seed},
    "step": {"number": _is_whole},
    "hold": {},
    "stop": {},
    "look": {"number": _is_whole},
    "twist": {"number": _is_whole, "arm": lambda arm: arm in (0, 1), "frame": lambda frame: frame in FRAMES},
    "close": {},
}
"""Checks of the fields of each kind of message."""
