"""The first message of a robot: who it is, and what it observes and takes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium.spaces import Box

from serl_ray.teleop.messages import fields_of, is_text
from serl_ray.teleop.views import SIDES
from serl_ray.teleop.wire import DTYPES, MAX_BYTES, MAX_HEADER, MAX_RANK, Message, WireError
from serl_ray.types import SETUP_MODES, ActionLayout

PROTOCOL = 1
"""Version of the messages between a robot and its worker; docs/remote.md."""
OPTIONAL_METHODS = ("hold", "stop", "live_frames", "twist_to_action")
"""Methods that a robot's env may have."""
MAX_HZ = 1000.0


class RobotRefused(Exception):
    """A robot that a worker does not take.

    Attributes:
        may_retry: whether it may be taken later, or by another worker.
    """

    def __init__(self, reason: str, may_retry: bool = False) -> None:
        super().__init__(reason)
        self.may_retry = may_retry


@dataclass(frozen=True)
class RobotHello:
    """A robot's description of itself.

    Attributes:
        name: name of the robot.
        version: version of its package.
        setup_mode: one of `types.SETUP_MODES`.
        hz: steps per second that it is held to.
        methods: those of `OPTIONAL_METHODS` that its env has.
        seen_from: side from which its cameras look at it.
        spaces: spaces of its observations by key.
        action_dim: numbers of its action.
    """

    name: str
    version: str
    setup_mode: str
    hz: float
    methods: tuple[str, ...]
    seen_from: str
    spaces: dict[str, Box]
    action_dim: int

    @classmethod
    def of(cls, message: Message) -> RobotHello:
        """The description in a `hello`.

        Raises:
            RobotRefused: the robot speaks another version of the protocol.
            WireError: a field is missing, of another type, or out of range.
        """
        if message.kind == "hello" and (theirs := message.fields.get("protocol")) != PROTOCOL:
            raise RobotRefused(
                f"The robot speaks protocol {theirs!r:.20} (serl-robot {message.fields.get('version')!r:.20}), this "
                f"worker {PROTOCOL}: install the serl-robot of this serl-ray on the robot's computer."
            )
        if message.kind != "hello" or message.jpegs:
            raise WireError(f"The first message is {message.kind!r:.40}, not a hello without JPEGs.")
        fields = fields_of(
            message,
            protocol=lambda value: value == PROTOCOL,
            version=is_text,
            name=is_text,
            setup_mode=lambda value: value in SETUP_MODES,
            hz=_is_rate,
            methods=lambda value: isinstance(value, list) and all(name in OPTIONAL_METHODS for name in value),
            seen_from=lambda value: value in SIDES,
            observations=lambda value: isinstance(value, dict) and len(value) > 0,
            action_shape=lambda value: _are_sizes(value) and len(value) == 1,
        )
        del fields["protocol"]
        spaces = _spaces(fields.pop("observations"), message.arrays)
        [action_dim] = fields.pop("action_shape")
        return cls(**{**fields, "methods": tuple(fields["methods"])}, spaces=spaces, action_dim=action_dim)

    def check_setup(self, setup_mode: str) -> None:
        """Raises RobotRefused where the robot is not that of a run with this set-up."""
        if self.setup_mode != setup_mode:
            raise RobotRefused(
                f"The robot is {self.setup_mode}, and the run {setup_mode}: start one of them with the other's "
                "setup_mode."
            )
        try:
            ActionLayout.from_setup(setup_mode, self.action_dim)
        except ValueError as error:
            raise RobotRefused(str(error)) from error

    def check_same(self, before: RobotHello) -> None:
        """Raises RobotRefused where the robot's spaces are not those of the one with which a run began."""
        if found := list(_differences(before, self)):
            raise RobotRefused(
                f"The robot differs from the one with which this run began: {'; '.join(found)}. Serve the same env, or "
                "begin another run."
            )


def _spaces(observations: dict[str, Any], bounds: dict[str, np.ndarray]) -> dict[str, Box]:
    """The spaces that a robot describes; WireError for what is none."""
    for key, value in observations.items():
        is_space = isinstance(value, dict) and value.keys() == {"dtype", "shape"} and _are_sizes(value["shape"])
        if not is_text(key) or not is_space or value["dtype"] not in [name for name in DTYPES if name != "bool"]:
            raise WireError(f"Observation {key!r:.40} is {value!r:.80}; it needs a dtype of numbers and a shape.")
    sizes = [math.prod(value["shape"]) * DTYPES[value["dtype"]].itemsize for value in observations.values()]
    if sum(sizes) > MAX_BYTES - MAX_HEADER:
        raise WireError(
            f"An observation has {sum(sizes)} bytes; a message holds {MAX_BYTES - MAX_HEADER}. Crop or resize the "
            "images in the robot's env."
        )
    expected = {f"{side}/{key}" for key in observations for side in ("low", "high")}
    if strange := bounds.keys() - expected:
        raise WireError(f"A hello has the arrays {sorted(strange)!r:.100}, which are no bounds of its observations.")
    return {key: _space(key, value["dtype"], tuple(value["shape"]), bounds) for key, value in observations.items()}


def _space(key: str, name: str, shape: tuple[int, ...], bounds: dict[str, np.ndarray]) -> Box:
    dtype = np.dtype(name)
    least, greatest = (-np.inf, np.inf) if dtype.kind == "f" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    low = bounds.get(f"low/{key}", np.full(shape, least, dtype))
    high = bounds.get(f"high/{key}", np.full(shape, greatest, dtype))
    if {low.shape, high.shape} != {shape} or {low.dtype, high.dtype} != {dtype} or not (low <= high).all():
        raise WireError(f"The bounds of {key!r:.40} are no {name} of shape {shape} from a least to a greatest value.")
    return Box(low, high, shape, dtype.type)


def _differences(before: RobotHello, now: RobotHello) -> list[str]:
    found = []
    for key in sorted(before.spaces.keys() | now.spaces.keys()):
        was, becomes = (_described(hello.spaces.get(key)) for hello in (before, now))
        if was != becomes:
            found.append(f"observation {key} was {was} and is {becomes}")
        elif before.spaces[key] != now.spaces[key]:
            found.append(f"observation {key} has other bounds")
    if before.action_dim != now.action_dim:
        found.append(f"an action had {before.action_dim} numbers and has {now.action_dim}")
    if before.hz != now.hz:
        found.append(f"its rate was {before.hz:g} Hz and is {now.hz:g} Hz")
    if gone := sorted({*before.methods} - {*now.methods}):
        found.append(f"it has no {', '.join(gone)} any more")
    return found


def _described(space: Box | None) -> str:
    return "missing" if space is None else f"{space.dtype} of shape {space.shape}"


def _are_sizes(value: Any) -> bool:
    return isinstance(value, list) and len(value) <= MAX_RANK and all(type(size) is int and size > 0 for size in value)


def _is_rate(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= MAX_HZ
