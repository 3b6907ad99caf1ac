"""The unit in which experience travels: a `Segment` of consecutive transitions of one episode, every observation stored once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from math import prod

import numpy as np

ACTION_TOLERANCE = 1e-6
"""How far float arithmetic may carry an action out of [-1, 1]."""


@dataclass(frozen=True)
class ArraySpec:
    """Shape and dtype of one observation key, without any leading axis. A camera frame is (H, W, C) uint8."""

    shape: tuple[int, ...]
    dtype: np.dtype

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", tuple(int(size) for size in self.shape))
        object.__setattr__(self, "dtype", np.dtype(self.dtype))

    @classmethod
    def of_rows(cls, array: np.ndarray) -> ArraySpec:
        """The spec of one row of an array (n, ...)."""
        return cls(array.shape[1:], array.dtype)

    @property
    def nbytes(self) -> int:
        return prod(self.shape) * self.dtype.itemsize

    def __str__(self) -> str:
        return f"{self.dtype} of shape {self.shape}"


SCALAR_FIELDS: Mapping[str, np.dtype] = {
    "rewards": np.dtype(np.float32),
    "masks": np.dtype(np.float32),
    "dones": np.dtype(bool),
    "truncateds": np.dtype(bool),
    "grasp_penalty": np.dtype(np.float32),
    "intervened": np.dtype(bool),
}
"""The fields of a transition that are one number each."""


@dataclass(eq=False)
class Segment:
    """n >= 1 consecutive transitions of one episode.

    Row t of `observations` is what the policy saw at step `first_step + t`; row n is the observation after the last action. So
    the next observation of a transition is the following row, and no frame is held twice.

    Attributes:
        observations: for each key an array (n + 1, ...).
        actions: executed actions (n, A), float32, in [-1, 1].
        rewards: (n,) float32.
        masks: (n,) float32, 1 - terminated: 1 where the value of the next observation counts, a time-out included.
        dones: (n,) bool, the episode ended here for whatever reason: true in the last row at most.
        truncateds: (n,) bool, it ended by a time-out.
        grasp_penalty: (n,) float32, added to the reward of the grasp critic (so zero or negative).
        intervened: (n,) bool, the action came from a person.
        episode: identity of the episode, unique among those that share a buffer; held as a string.
        first_step: step number in its episode of row 0.
    """

    observations: dict[str, np.ndarray]
    actions: np.ndarray
    rewards: np.ndarray
    masks: np.ndarray
    dones: np.ndarray
    truncateds: np.ndarray
    grasp_penalty: np.ndarray
    intervened: np.ndarray
    episode: str | int
    first_step: int = 0

    def __post_init__(self) -> None:
        self.episode = str(self.episode)
        self.actions = np.asarray(self.actions, np.float32)
        for name, dtype in SCALAR_FIELDS.items():
            setattr(self, name, np.asarray(getattr(self, name), dtype))
        self._check_lengths()

    def __len__(self) -> int:
        return len(self.actions)

    @property
    def observation_spec(self) -> dict[str, ArraySpec]:
        return {key: ArraySpec.of_rows(rows) for key, rows in self.observations.items()}

    def slice(self, start: int, stop: int) -> Segment:
        """Transitions `start` to `stop - 1`, as views."""
        columns = {name: getattr(self, name)[start:stop] for name in TRANSITION_FIELDS}
        frames = {key: rows[start : stop + 1] for key, rows in self.observations.items()}
        return replace(self, observations=frames, first_step=self.first_step + start, **columns)

    def continues(self, earlier: Segment) -> bool:
        """Whether this is what came right after an earlier segment of the same episode."""
        if self.episode != earlier.episode or self.first_step != earlier.first_step + len(earlier) or earlier.dones[-1]:
            return False
        return all(np.array_equal(rows[0], earlier.observations[key][-1]) for key, rows in self.observations.items())

    def runs(self, mask: np.ndarray) -> list[Segment]:
        """The longest stretches in which `mask` (n,) is true: an episode with gaps becomes segments without."""
        padded = np.concatenate([[False], np.asarray(mask, bool), [False]])
        edges = np.flatnonzero(padded[1:] != padded[:-1])
        return [self.slice(start, stop) for start, stop in zip(edges[::2], edges[1::2], strict=True)]

    @classmethod
    def join(cls, segments: Sequence[Segment]) -> Segment:
        """One segment of several, each of which continues the one before."""
        first, *rest = segments
        if not rest:
            return first
        columns = {name: np.concatenate([getattr(segment, name) for segment in segments]) for name in TRANSITION_FIELDS}
        frames = {
            key: np.concatenate([rows, *(segment.observations[key][1:] for segment in rest)])
            for key, rows in first.observations.items()
        }
        return replace(first, observations=frames, **columns)

    def _check_lengths(self) -> None:
        n = len(self)
        if n < 1 or self.actions.ndim != 2:
            raise ValueError(f"A segment needs actions (n, A) with n >= 1, not {self.actions.shape}.")
        for name in SCALAR_FIELDS:
            if getattr(self, name).shape != (n,):
                raise ValueError(f"A segment of {n} actions needs {name} of shape ({n},), not {getattr(self, name).shape}.")
        for key, rows in self.observations.items():
            if len(rows) != n + 1:
                raise ValueError(f"A segment of {n} actions needs {n + 1} rows of observations[{key!r}], not {len(rows)}.")
        if self.dones[:-1].any():
            raise ValueError(f"Episode {self.episode!r} is done before the last row of its segment: cut the segment there.")


TRANSITION_FIELDS: tuple[str, ...] = tuple(f.name for f in fields(Segment) if f.name == "actions" or f.name in SCALAR_FIELDS)
"""The fields of a `Segment` that have one row a transition."""

Part = Callable[[], Iterable[tuple[int, Segment]]]
"""Reads a part of a file that is good or bad as a whole: segments, each with the number of its first transition in the file."""
