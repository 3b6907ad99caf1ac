"""Replay memory that stores every observation once, and links it to the observations recorded before and after it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from serl_ray.data.replay.rows import new_rows
from serl_ray.data.schema import TRANSITION_FIELDS, ArraySpec, Segment
from serl_ray.types import Batch

NO_ROW = -1
"""Next row where no transition starts; previous row where nothing was recorded before."""
LOST_ROW = -2
"""Previous row that was recorded but has been overwritten."""
SUMMED_FIELDS = ("rewards", "grasp_penalty")
"""Fields of a transition that an n-step transition sums up, discounted."""


@dataclass(frozen=True)
class Horizon:
    """Span of a sampled transition.

    Attributes:
        n_step: number of consecutive transitions that it sums up, fewer where the episode or what is stored of it ends.
        discount: discount factor per step of the rewards within it.
    """

    n_step: int = 1
    discount: float = 1.0


ONE_STEP = Horizon()


@dataclass(frozen=True)
class _Tail:
    """The newest observation of an episode that may continue.

    Attributes:
        position: number of rows written before this one; its row in the ring is `position % capacity`.
        step: number of the step in its episode.
    """

    position: int
    step: int


class ReplayBuffer:
    """A ring of rows: an observation and the transition that starts there, with links in time.

    Segments of many envs may interleave, because time is in the links and not in the order of the ring. A segment that
    continues its episode takes one row per transition; any other segment takes one row more. A next observation is
    always the younger row, and the ring overwrites the oldest rows first, so a transition is lost before its next
    observation.
    """

    def __init__(
        self,
        observation_spec: Mapping[str, ArraySpec],
        action_dim: int,
        capacity: int,
        frame_stack: int = 1,
        name: str = "replay",
        crop_keys: Collection[str] = (),
        promised: int = 0,
        horizon: Horizon = ONE_STEP,
    ) -> None:
        """Allocates the ring; its pages take physical memory only when they are written.

        Args:
            observation_spec: shape and dtype of each observation key.
            action_dim: length of an env action.
            capacity: number of stored observations.
            frame_stack: number T of consecutive observations in a sample.
            name: name of this buffer in log lines and errors.
            crop_keys: observation keys (N, ...) with N crops of an image. A sample has one of them, (1, ...), the same
                for all keys; the next observation has another one.
            promised: bytes of free memory that other rings will take when they fill.
            horizon: number of transitions that a sample spans.

        Raises:
            MemoryError: the ring needs more than `rows.MAX_MEMORY_SHARE` of the free memory that is not promised.
        """
        _check_sizes(name, capacity, frame_stack)
        self.observation_spec = dict(observation_spec)
        self.capacity, self.frame_stack, self.horizon = capacity, frame_stack, horizon
        self.name = name
        self.crop_keys = frozenset(crop_keys)
        self._num_crops = max((observation_spec[key].shape[0] for key in crop_keys), default=1)
        self._rows = new_rows(self.observation_spec, action_dim, capacity, name, promised)
        self._observations = {key: self._rows[f"observations/{key}"] for key in self.observation_spec}
        links = "next_row", "previous_row", "valid"
        self._next_row, self._previous_row, self._valid = (self._rows[link] for link in links)
        self._tails: dict[str, _Tail] = {}  # oldest first
        self._written = self._num_valid = 0
        self.clear()

    def __len__(self) -> int:
        """Number of transitions that can be sampled."""
        return self._num_valid

    @property
    def written(self) -> int:
        """Number of rows written so far, with overwritten ones."""
        return self._written

    @property
    def nbytes(self) -> int:
        """Bytes of the whole ring, including unwritten pages."""
        return sum(rows.nbytes for rows in self._rows.values())

    def add(self, segment: Segment) -> None:
        """Adds a segment; it continues its episode if the buffer still holds the observation that it starts from."""
        self._check(segment)
        tail = self._pop_tail(segment)
        count = len(segment) + (tail is None)
        new_rows = (self._written + np.arange(count)) % self.capacity
        self._forget(new_rows)
        chain = new_rows if tail is None else np.concatenate([[tail.position % self.capacity], new_rows])  # (n + 1,)
        self._link(chain, is_continued=tail is not None)
        for key, ring in self._observations.items():
            ring[new_rows] = segment.observations[key][-count:]
        for field in TRANSITION_FIELDS:
            self._rows[field][chain[:-1]] = getattr(segment, field)
        self._written += count
        self._num_valid = int(np.count_nonzero(self._valid))
        self._update_tails(segment)

    def sample(self, batch_size: int, rng: np.random.Generator) -> Batch:
        """`batch_size` transitions, uniformly with replacement.

        Returns:
            Fields (B, ...). Observations are (B, ...), or (B, T, ...), oldest first, for `frame_stack` T > 1. The first
            recorded observation is repeated if there are fewer than T. A sample spans `steps` (B,) int64 transitions:
            `rewards` and `grasp_penalty` are their discounted sums, `next_observations` and `masks` those of the last
            of them, and all else is of the first.
        """
        batch = self.empty_batch(batch_size)
        self.sample_into(batch, rng)
        return batch

    def empty_batch(self, batch_size: int) -> Batch:
        """Uninitialised arrays for `batch_size` transitions, to be filled by `sample_into`."""
        stack = () if self.frame_stack == 1 else (self.frame_stack,)
        batch: Batch = {
            field: np.empty((batch_size, *self._rows[field].shape[1:]), self._rows[field].dtype)
            for field in TRANSITION_FIELDS
        }
        batch["steps"] = np.empty(batch_size, np.int64)
        for role in ("observations", "next_observations"):
            specs = self.observation_spec.items()
            batch[role] = {
                key: np.empty((batch_size, *stack, *self._sampled_shape(key)), spec.dtype) for key, spec in specs
            }
        return batch

    def _sampled_shape(self, key: str) -> tuple[int, ...]:
        shape = self.observation_spec[key].shape
        return (1, *shape[1:]) if key in self.crop_keys else shape

    def sample_into(self, batch: Batch, rng: np.random.Generator) -> None:
        """Fills all rows of `batch`, whose arrays may be views, with transitions; see `sample`."""
        rows = self._draw(len(batch["rewards"]), rng)
        for field in TRANSITION_FIELDS:
            _gather(self._rows[field], rows, batch[field])
        frames, next_frames = self._stacks(rows), self._stacks(self._gather_returns(rows, batch))
        if self.frame_stack == 1:
            frames, next_frames = frames[:, 0], next_frames[:, 0]
        for role, role_frames in (("observations", frames), ("next_observations", next_frames)):
            self._gather_observations(role_frames, batch[role], rng)

    def _gather_returns(self, rows: np.ndarray, batch: Batch) -> np.ndarray:
        """Adds to the transitions in `rows` (B,) what follows them within the horizon; returns the rows (B,)
        of the observations after the last of them (n-step returns, Sutton and Barto 2018, eq. 7.1)."""
        next_rows: np.ndarray = self._next_row[rows]
        batch["steps"][:] = 1
        for step in range(1, self.horizon.n_step):
            goes_on = self._next_row[next_rows] != NO_ROW
            for field in SUMMED_FIELDS:
                batch[field] += self.horizon.discount**step * goes_on * self._rows[field][next_rows]
            batch["masks"][goes_on] = self._rows["masks"][next_rows[goes_on]]
            batch["steps"] += goes_on
            next_rows = np.where(goes_on, self._next_row[next_rows], next_rows)
        return next_rows

    def _gather_observations(self, rows: np.ndarray, out: dict[str, np.ndarray], rng: np.random.Generator) -> None:
        """Copies the observations of `rows`, (B,) or (B, T), with one random crop of each, the same for all keys."""
        crops = rng.integers(self._num_crops, size=rows.shape) if self.crop_keys else None
        for key, ring in self._observations.items():
            if key in self.crop_keys:
                _gather(ring.reshape(-1, 1, *ring.shape[2:]), rows * self._num_crops + crops, out[key])
            else:
                _gather(ring, rows, out[key])

    def clear(self) -> None:
        """Empties the buffer. Adding the same segments again then gives the same samples."""
        self._next_row[:] = self._previous_row[:] = NO_ROW
        self._valid[:] = False
        self._written = self._num_valid = 0
        self._tails.clear()

    def _check(self, segment: Segment) -> None:
        n = len(segment)
        if n >= self.capacity:
            raise ValueError(
                f"{self.name}: a segment of {n} transitions needs a --capacity of {n + 1}, not {self.capacity}."
            )
        if segment.observation_spec != self.observation_spec:
            found, expected = (
                ", ".join(f"{k}: {s}" for k, s in specs.items())
                for specs in (segment.observation_spec, self.observation_spec)
            )
            raise ValueError(f"{self.name}: holds observations {{{expected}}}, but the segment has {{{found}}}.")
        if segment.actions.shape[1:] != self._rows["actions"].shape[1:]:
            raise ValueError(
                f"{self.name}: holds actions of {self._rows['actions'].shape[1]} numbers, the segment has "
                f"{segment.actions.shape[1]}."
            )

    def _pop_tail(self, segment: Segment) -> _Tail | None:
        """The row of the segment's first observation, if the buffer holds it and keeps it when the segment is added."""
        tail = self._tails.pop(str(segment.episode), None)
        if (
            tail is None
            or tail.step != segment.first_step
            or tail.position < self._written + len(segment) - self.capacity
        ):
            return None
        row = tail.position % self.capacity
        is_same = all(
            np.array_equal(ring[row], segment.observations[key][0]) for key, ring in self._observations.items()
        )
        return tail if is_same else None

    def _forget(self, rows: np.ndarray) -> None:
        """Invalidates the transitions that start in `rows`, and those whose frame stacks include these rows."""
        self._valid[rows] = False
        heirs = self._next_row[rows]
        heirs = heirs[heirs != NO_ROW]
        self._previous_row[heirs] = LOST_ROW
        for _ in range(self.frame_stack - 1):
            self._valid[heirs] = False
            heirs = self._next_row[heirs]
            heirs = heirs[heirs != NO_ROW]

    def _link(self, chain: np.ndarray, is_continued: bool) -> None:
        """Links rows (n + 1,) of consecutive observations, in which n transitions start."""
        if not is_continued:
            self._previous_row[chain[0]] = NO_ROW
        self._previous_row[chain[1:]] = chain[:-1]
        self._next_row[chain[:-1]] = chain[1:]
        self._next_row[chain[-1]] = NO_ROW
        linked = self._stacks(chain[:-1])[:, 1:]  # (n, T - 1): the rows whose previous row belongs to the stack
        self._valid[chain[:-1]] = (self._previous_row[linked] != LOST_ROW).all(axis=1)

    def _update_tails(self, segment: Segment) -> None:
        """Adds the tail of an episode that is not done, and removes tails with overwritten rows."""
        if not segment.dones[-1]:
            self._tails[str(segment.episode)] = _Tail(self._written - 1, segment.first_step + len(segment))
        while self._tails and self._tails[oldest := next(iter(self._tails))].position < self._written - self.capacity:
            del self._tails[oldest]

    def _draw(self, batch_size: int, rng: np.random.Generator) -> np.ndarray:
        """Rows (B,) of valid transitions: uniform draws without the invalid ones."""
        if not self._num_valid:
            raise ValueError(f"{self.name}: is empty. Add a segment before sampling.")
        size = min(self._written, self.capacity)
        rows = np.empty(0, np.int64)
        while len(rows) < batch_size:
            candidates = rng.integers(size, size=2 * batch_size)
            rows = np.concatenate([rows, candidates[self._valid[candidates]]])
        return rows[:batch_size]

    def _stacks(self, rows: np.ndarray) -> np.ndarray:
        """Rows (B, T) of the last T observations up to `rows` (B,), oldest first, padded with the first."""
        columns = [rows]
        for _ in range(self.frame_stack - 1):
            previous = self._previous_row[columns[-1]]
            columns.append(np.where(previous >= 0, previous, columns[-1]))
        return np.stack(columns[::-1], axis=1)


def _check_sizes(name: str, capacity: int, frame_stack: int) -> None:
    """Raises ValueError for a ring without room for a transition, or for samples without an observation."""
    if capacity < 2 or frame_stack < 1:
        raise ValueError(f"{name}: capacity is {capacity} (at least 2) and frame_stack is {frame_stack} (at least 1).")


def _gather(ring: np.ndarray, rows: np.ndarray, out: np.ndarray) -> None:
    np.take(ring, rows, axis=0, out=out, mode="clip")  # other modes make a copy
