"""Oddities of observations, actions and flags, looked for in an env's steps and in demonstrations alike.

What cannot be learned from is an error where it is read. These are the findings that training survives, with their
effects.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from serl_ray.data.observations import image_fix
from serl_ray.data.scales import uneven_scales
from serl_ray.data.schema import ArraySpec, Segment
from serl_ray.types import GRIPPER_COMMANDS

LARGEST_VECTOR_VALUE = 10.0
"""Largest value of a vector without a warning, because vectors enter the network unscaled."""
RARE = 10.0
"""Factor by which a vector may exceed `LARGEST_VECTOR_VALUE` at times without a warning, because random actions may
lead far away at times."""
SMALLEST_VECTOR_VALUE = 0.05
"""Value that a vector must exceed somewhere, or there is a warning, because the network hardly tells it from 0."""

MOST_ALONE = 0.1
"""Share of segments of one transition, amid an episode, without a warning."""


def large_scale(key: str, largest: float, usual: float | None = None) -> str | None:
    """Warning about a vector that is too large, if one with this largest absolute value is.

    Args:
        key: key of the vector.
        largest: largest absolute value.
        usual: usual absolute value of its largest number; by default the largest.
    """
    if max(largest if usual is None else usual, largest / RARE) > LARGEST_VECTOR_VALUE:
        return f"`{key}` reaches {largest:.3g}: scale it to about 1, as the network does not scale it."
    return None


def small_scale(key: str, largest: float) -> str | None:
    """Warning about a vector that is too small, if one with this largest absolute value is."""
    if 0.0 < largest < SMALLEST_VECTOR_VALUE:
        return f"`{key}` never exceeds {largest:.2g}: scale it to about 1, as the network does not scale it."
    return None


def gripper_oddities(name: str, codes: Gripper) -> Iterator[str]:
    """Warnings about the numbers of a gripper's commands; `name` names their origin."""
    if codes.num_off:
        yield (
            f"{name} is a gripper's and has {codes.num_off} value(s) off -1, 0 and 1, such as {codes.off:.3g}, which "
            "are rounded: record -1 close, 0 hold, 1 open."
        )
    missing = [word for word, count in (("closes", codes.closes), ("opens", codes.opens)) if not count]
    if missing:
        yield (
            f"{name} is a gripper's and never {' or '.join(missing)} it: the policy learns no such command. If the "
            "task needs it, record it (-1 close, 0 hold, 1 open); if it needs no command at all, choose a setup_mode "
            f"with a fixed gripper.{_FLAGS if codes.has_flags else ''}"
        )


_FLAGS = (
    " It has 0 and 1 alone: where these mean close and open, write -1 and 1; of a LeRobot data set, serl convert "
    "--rescale_actions --gripper_values 0 1."
)


@dataclass
class Gripper:
    """Counts of the commands of a gripper: -1 close, 0 hold, 1 open; other values are rounded, and counted as off."""

    closes: int = 0
    holds: int = 0
    opens: int = 0
    switches: int = 0
    num_off: int = 0
    off: float = 0.0

    def add(self, numbers: np.ndarray) -> None:
        """Adds the commands (n,) of a segment; a switch is a change from closing to opening or back."""
        is_off = ~np.isin(numbers, GRIPPER_COMMANDS)
        if is_off.any() and not self.num_off:
            self.off = float(numbers[is_off][0])
        self.num_off += int(is_off.sum())
        commands = np.round(numbers)
        moves = commands[commands != 0]
        self.closes += int((moves < 0).sum())
        self.opens += int((moves > 0).sum())
        self.holds += len(commands) - len(moves)
        self.switches += int((np.diff(moves) != 0).sum())

    @property
    def has_flags(self) -> bool:
        """True if there were the values 0 and 1 alone, and both, which may mean closed and open."""
        return bool(self.holds and self.opens and not self.closes and not self.num_off)


@dataclass
class Range:
    """The least and greatest value of each number of vectors (D,), and their size.

    Attributes:
        low, high: least and greatest values (D,).
        size: sum of the absolute values (D,).
        count: number of vectors.
    """

    low: np.ndarray
    high: np.ndarray
    size: np.ndarray
    count: int

    @classmethod
    def of(cls, rows: np.ndarray) -> Range:
        """The range of rows (n, D)."""
        return cls(rows.min(axis=0), rows.max(axis=0), np.abs(rows).sum(axis=0), len(rows))

    def join(self, other: Range) -> Range:
        low, high = np.minimum(self.low, other.low), np.maximum(self.high, other.high)
        return Range(low, high, self.size + other.size, self.count + other.count)

    @property
    def usual(self) -> float:
        """The mean absolute value of the number that is largest on average."""
        return float((self.size / self.count).max(initial=0.0))

    @property
    def largest(self) -> float:
        """The largest absolute value of all numbers."""
        return float(max(np.abs(self.low).max(initial=0.0), np.abs(self.high).max(initial=0.0)))

    @property
    def is_constant(self) -> bool:
        return bool(np.array_equal(self.low, self.high))


def _scale_warnings(key: str, found: Range) -> Iterator[str]:
    """The warnings about the scale of a vector, by the range of each of its numbers."""
    if uneven := uneven_scales(key, found.low, found.high):
        yield uneven
    else:
        yield from filter(None, (large_scale(key, found.largest, found.usual), small_scale(key, found.largest)))


@dataclass
class Camera:
    """Properties of the images (H, W, C) of a camera."""

    first: np.ndarray
    is_constant: bool = True
    is_black: bool = True

    def add(self, images: np.ndarray) -> None:
        """Adds images (n, H, W, C)."""
        self.is_black = self.is_black and not images.any()
        self.is_constant = self.is_constant and bool((images == self.first).all())


@dataclass
class DemoChecks:
    """Oddities of demonstrations, gathered segment by segment.

    Attributes:
        grippers: dimensions of the actions that are learned grippers'.
        has_scale: whether the agent scales the state itself.
        vectors: ranges by key of the observations that are vectors.
        actions: range of the actions.
    """

    grippers: Sequence[int] = ()
    has_scale: bool = False
    vectors: dict[str, Range] = field(default_factory=dict)
    actions: Range | None = None
    _cameras: dict[str, Camera] = field(default_factory=dict)
    _codes: dict[int, Gripper] = field(default_factory=dict)
    _odd_shapes: dict[str, ArraySpec] = field(default_factory=dict)
    _steps: int = 0
    _segments: int = 0
    _alone: int = 0
    _ends: int = 0
    _rewarded_ends: int = 0
    _unmasked_ends: int = 0
    _unflagged_ends: int = 0
    _unrewarded_successes: int = 0
    _going_on: int = 0
    _is_dense: bool = False
    _has_reward: bool = False

    def add(self, segment: Segment) -> None:
        """Adds a segment."""
        for key, rows in segment.observations.items():
            self._observe(key, rows)
        found = Range.of(segment.actions)
        if self.actions is None or self.actions.low.shape == found.low.shape:
            self.actions = found if self.actions is None else self.actions.join(found)
        for dimension in self.grippers:
            if dimension < segment.actions.shape[1]:
                self._codes.setdefault(dimension, Gripper()).add(segment.actions[:, dimension])
        is_rewarded_end = bool(segment.dones[-1] and segment.rewards[-1] > 0)
        self._steps += len(segment)
        self._segments += 1
        self._alone += len(segment) == 1 and not segment.dones[-1]
        self._ends += int(segment.dones[-1])
        self._rewarded_ends += is_rewarded_end
        is_unmasked = bool(segment.dones[-1] and segment.masks[-1] == 1)
        self._unmasked_ends += is_rewarded_end and is_unmasked
        self._unflagged_ends += is_unmasked and not is_rewarded_end and not segment.truncateds[-1]
        self._unrewarded_successes += bool(segment.dones[-1] and segment.success and segment.rewards[-1] <= 0)
        self._going_on += int((segment.rewards[~segment.dones] == 1).sum())
        self._is_dense = self._is_dense or not np.isin(segment.rewards, (0, 1)).all()
        self._has_reward = self._has_reward or bool((segment.rewards > 0).any())

    def warnings(self) -> Iterator[str]:
        """Warnings about what is odd, each with its effect and the way out; none where there are no segments."""
        if not self._steps:
            return
        yield from self._observation_warnings()
        if self._steps > 1 and self.actions is not None and self.actions.is_constant:
            yield (
                "Every action is the same: if the recorder keeps one array and writes into it, store copies, "
                "action.copy()."
            )
        else:
            for dimension, codes in self._codes.items():
                yield from gripper_oddities(f"action[{dimension}]", codes)
        yield from self._end_warnings()

    def _observe(self, key: str, rows: np.ndarray) -> None:
        spec = ArraySpec.of_rows(rows)
        if len(spec.shape) == 1 and spec.dtype.kind in "biuf":
            numbers = Range.of(rows.astype(np.float64))
            known = self.vectors.get(key)
            self.vectors[key] = known.join(numbers) if known is not None and known.low.shape == spec.shape else numbers
        elif len(spec.shape) == 3 and spec.dtype == np.uint8:
            if key not in self._cameras or self._cameras[key].first.shape != spec.shape:
                self._cameras[key] = Camera(rows[0].copy())
            self._cameras[key].add(rows)
        elif len(spec.shape) in (0, 2):
            self._odd_shapes[key] = spec

    def _observation_warnings(self) -> Iterator[str]:
        for key, found in self.vectors.items():
            yield from () if self.has_scale else _scale_warnings(key, found)
            if found.is_constant and found.largest > 0:
                yield (
                    f"`{key}` never changes: if the recorder keeps one array and writes into it, store copies, "
                    "array.copy()."
                )
        for key, camera in self._cameras.items():
            if camera.is_black:
                yield f"Camera `{key}` is always black: check that it was switched on, and its lens uncovered."
            elif camera.is_constant:
                yield (
                    f"Camera `{key}` always shows the same image: check that its driver ran, and that the recorder "
                    "stored copies, image.copy()."
                )
        for key, spec in self._odd_shapes.items():
            yield f"`{key}` is {spec}, which no agent can read. {image_fix(spec.shape, spec.dtype)}"

    def _end_warnings(self) -> Iterator[str]:
        if self._steps > 1 and self._ends == self._steps:
            yield "Every step ends an episode: dones is 1 in the last transition of an episode alone."
        if self._alone > MOST_ALONE * self._segments:
            yield (
                f"{self._alone} of {self._segments} segments are a single transition: its next_observations are not "
                "the observations of the one that follows. Record each observation once, for both."
            )
        if not self._ends:
            yield (
                "No episode ends: set dones in the last transition of each, and masks to 0 where it was a success or "
                "failure."
            )
        if not self._has_reward and not self._is_dense:
            yield "There is no reward above 0: give 1 where the task is done, as agents learn from it what to do."
        if self._ends and self._going_on and not self._is_dense:
            yield (
                f"The reward is 1 and the episode goes on, in {self._going_on} step(s): end it at success (terminated)."
            )
        if self._unmasked_ends and not self._is_dense:
            yield (
                f"{self._unmasked_ends} of {self._rewarded_ends} episodes that end with a reward have a mask of 1, as "
                "at a time-out: values go on behind the success. Set masks to 0 where the task is done (masks = 1 - "
                "terminated)."
            )
        if self._unflagged_ends:
            yield (
                f"{self._unflagged_ends} of {self._ends} episodes end with a mask of 1, and not by a time-out: values "
                "go on behind the end. Set masks to 0 where a failure ended the episode, or truncateds to 1 where its "
                "time was up."
            )
        if self._unrewarded_successes and not self._is_dense:
            yield (
                f"{self._unrewarded_successes} of {self._ends} episodes end with a success in info, and without a "
                "reward above 0: agents learn from rewards alone. Give 1 where the task is done."
            )
