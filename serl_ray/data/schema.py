"""The unit of experience: a `Segment` of consecutive transitions of an episode, which stores every observation once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from math import prod
from typing import Any

import numpy as np

ACTION_TOLERANCE = 1e-6
"""Tolerance for actions outside [-1, 1], for errors of float arithmetic."""


@dataclass(frozen=True)
class ArraySpec:
    """Shape and dtype of one observation key, without leading axes. An image is (H, W, C) uint8."""

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


EXECUTED = "intervene_action"
"""Name of the executed action in the info of steps in which the operator or an expert acted."""
SENT = "executed_action"
"""Name of the action that was sent to the robot in the info of steps in which that is another one than was given."""
SCALAR_FIELDS: Mapping[str, np.dtype] = {
    "rewards": np.dtype(np.float32),
    "masks": np.dtype(np.float32),
    "dones": np.dtype(bool),
    "truncateds": np.dtype(bool),
    "grasp_penalty": np.dtype(np.float32),
    "intervened": np.dtype(bool),
}
"""Fields of a transition with one number each."""

POLICY = "policy"
"""Source of an action that the policy chose."""
HELD = "held"
"""Source of the motionless action of a step in which the commands of a person failed to come."""
NO_PERSON = (POLICY, HELD)
"""Sources of the actions that no person chose."""
ENV = "env"
"""Source of a person's action where the env names no other."""


@dataclass(eq=False)
class Actors:
    """The actor of each of n transitions, and the action that the policy wanted.

    Attributes:
        policy_actions: actions (n, A) that the policy chose, executed or not, float32, in [-1, 1].
        interventions: number (n,) of the intervention in its episode, int32, counted from 1; 0 where the policy acted.
        sources: name (n,) of the source of the executed action, strings: one of `NO_PERSON` where
            no person acted.
    """

    policy_actions: np.ndarray
    interventions: np.ndarray
    sources: np.ndarray

    def __post_init__(self) -> None:
        self.policy_actions = np.asarray(self.policy_actions, np.float32)
        self.interventions = np.asarray(self.interventions, np.int32)
        self.sources = np.asarray(self.sources, object)

    def slice(self, start: int, stop: int) -> Actors:
        """The actors of the transitions `start` to `stop - 1`, as views."""
        return Actors(self.policy_actions[start:stop], self.interventions[start:stop], self.sources[start:stop])

    @classmethod
    def join(cls, parts: Sequence[Actors]) -> Actors:
        """The actors of one part after the other."""
        return cls(*(np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(cls)))

    def check_shapes(self, n: int, action_dim: int) -> None:
        """Raises ValueError unless these are the actors of n transitions with actions of `action_dim` numbers."""
        for name, shape in (("policy_actions", (n, action_dim)), ("interventions", (n,)), ("sources", (n,))):
            if (found := getattr(self, name).shape) != shape:
                raise ValueError(f"A segment of {n} actions needs actors with {name} of shape {shape}, not {found}.")


@dataclass(eq=False)
class Segment:
    """n >= 1 consecutive transitions of one episode.

    Row t of `observations` is the policy's input at step `first_step + t`; row n is the observation after the last
    action. So the next observation of a transition is the following row, and no image is stored twice.

    Attributes:
        observations: arrays (n + 1, ...) by key.
        actions: executed actions (n, A), float32, in [-1, 1].
        rewards: rewards (n,), float32.
        masks: flags (n,), float32, 0 if the episode terminated here; 1 otherwise, also at a time-out.
        dones: flags (n,), bool, true if the episode ended here for any reason; true in the last row at most.
        truncateds: flags (n,), bool, true if the episode ended here by a time-out.
        grasp_penalty: penalties (n,), float32, zero or negative, which are added to the rewards of the grasp critic.
        intervened: flags (n,), bool, true if the transition is a demonstration as well: the operator chose the action,
            and not while a device without a clutch had come to rest for good (`data.episodes.without_tails`).
        episode: identity of the episode, unique in a buffer; stored as a string.
        first_step: step number of row 0 in its episode.
        success: `info["success"]` of the last row; None where the env did not report it. Of what is written, Parquet
            alone stores it.
        actors: actors of the transitions; None where they are not known, as in demonstrations and in files of older
            releases. Of the formats, Parquet stores them; replays do not sample them.
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
    success: bool | None = None
    actors: Actors | None = None

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

    @property
    def by_person(self) -> np.ndarray:
        """Flags (n,), true if a person chose the action, also at the end of an intervention, which is no demonstration;
        `intervened` where the actors are not known."""
        return self.intervened if self.actors is None else self.actors.interventions > 0

    def slice(self, start: int, stop: int) -> Segment:
        """Transitions `start` to `stop - 1`, as views."""
        columns: dict[str, Any] = {name: getattr(self, name)[start:stop] for name in TRANSITION_FIELDS}
        observations = {key: rows[start : stop + 1] for key, rows in self.observations.items()}
        columns["success"] = self.success if stop >= len(self) else None
        columns["actors"] = None if self.actors is None else self.actors.slice(start, stop)
        return replace(self, observations=observations, first_step=self.first_step + start, **columns)

    def continues(self, earlier: Segment) -> bool:
        """True if this segment directly follows an earlier segment of the same episode, and the actors of both are
        known or of neither."""
        if self.episode != earlier.episode or self.first_step != earlier.first_step + len(earlier) or earlier.dones[-1]:
            return False
        if (self.actors is None) != (earlier.actors is None):
            return False
        return all(np.array_equal(rows[0], earlier.observations[key][-1]) for key, rows in self.observations.items())

    def runs(self, mask: np.ndarray) -> list[Segment]:
        """The maximal segments in which `mask` (n,) is true."""
        padded = np.concatenate([[False], np.asarray(mask, bool), [False]])
        edges = np.flatnonzero(padded[1:] != padded[:-1])
        return [self.slice(start, stop) for start, stop in zip(edges[::2], edges[1::2], strict=True)]

    @classmethod
    def join(cls, segments: Sequence[Segment]) -> Segment:
        """One segment from several, each of which continues the one before.

        Its actors are those of all, or None if those of one are not known.
        """
        first, *rest = segments
        if not rest:
            return first
        columns: dict[str, Any] = {
            name: np.concatenate([getattr(segment, name) for segment in segments]) for name in TRANSITION_FIELDS
        }
        observations = {
            key: np.concatenate([rows, *(segment.observations[key][1:] for segment in rest)])
            for key, rows in first.observations.items()
        }
        known = [segment.actors for segment in segments if segment.actors is not None]
        columns["actors"] = Actors.join(known) if len(known) == len(segments) else None
        return replace(first, observations=observations, success=rest[-1].success, **columns)

    def _check_lengths(self) -> None:
        n = len(self)
        if n < 1 or self.actions.ndim != 2:
            raise ValueError(f"A segment needs actions (n, A) with n >= 1, not {self.actions.shape}.")
        for name in SCALAR_FIELDS:
            if getattr(self, name).shape != (n,):
                raise ValueError(
                    f"A segment of {n} actions needs {name} of shape ({n},), not {getattr(self, name).shape}."
                )
        for key, rows in self.observations.items():
            if len(rows) != n + 1:
                raise ValueError(
                    f"A segment of {n} actions needs {n + 1} rows of observations[{key!r}], not {len(rows)}."
                )
        if self.actors is not None:
            self.actors.check_shapes(n, self.actions.shape[1])
        if self.dones[:-1].any():
            raise ValueError(
                f"Episode {self.episode!r} is done before the last row of its segment: cut the segment there."
            )


TRANSITION_FIELDS: tuple[str, ...] = tuple(
    f.name for f in fields(Segment) if f.name == "actions" or f.name in SCALAR_FIELDS
)
"""Fields of a `Segment` with one row per transition."""

Part = Callable[[], Iterable[tuple[int, Segment]]]
"""Function that reads a part of a file: its segments, each with the number of its first transition in the file. A part
is valid or invalid as a whole."""
