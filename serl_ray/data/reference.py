"""Reference drawn from demonstrations: what an env should look like, move like and start like."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from serl_ray.data.demos import find_files, read_file
from serl_ray.data.errors import DemoError, ShortEpisode
from serl_ray.data.formats.lerobot.folder import folder_of
from serl_ray.data.observations import OBJECT_STATE, Selection
from serl_ray.data.schema import Segment

MOST_DEMOS = 12
"""Demonstrations that are read for a reference, spread over the files."""
SMALL_SIDE = 48
"""Height and width in pixels of the images that are compared."""


@dataclass(frozen=True, eq=False)
class Course:
    """Actions of a part of an episode, and the vectors that were observed.

    Attributes:
        actions: executed actions (n, A).
        vectors: vectors (n + 1, D) by key, without privileged poses of objects.
    """

    actions: np.ndarray
    vectors: Mapping[str, np.ndarray]

    @classmethod
    def of(cls, actions: np.ndarray, observations: Mapping[str, np.ndarray]) -> Course:
        """The course of actions (n, A) and observations (n + 1, ...) by key."""
        vectors = {
            key: np.asarray(rows, np.float64)
            for key, rows in observations.items()
            if np.ndim(rows) == 2 and key != OBJECT_STATE
        }
        return cls(np.asarray(actions, np.float64), vectors)


@dataclass(frozen=True, eq=False)
class DemoReference:
    """The first episodes of demonstrations, in little.

    Attributes:
        courses: actions and vectors of the episodes that were read.
        starts: first vectors (N, D) of episodes by key.
        images: first images (N, SMALL_SIDE, SMALL_SIDE, 3) of episodes by camera, float32, 0 to 255.
        rate: steps per second that the demonstrations declare, which LeRobot data sets do; None if unknown.
    """

    courses: Sequence[Course]
    starts: Mapping[str, np.ndarray]
    images: Mapping[str, np.ndarray]
    rate: float | None = None

    @classmethod
    def of_segments(cls, segments: Sequence[Segment], rate: float | None = None) -> DemoReference:
        """The reference of the first segments of episodes."""
        courses = [Course.of(segment.actions, segment.observations) for segment in segments]
        keys = set.intersection(*(set(course.vectors) for course in courses)) if courses else set()
        starts = {key: np.stack([course.vectors[key][0] for course in courses]) for key in sorted(keys)}
        images = {
            key: np.stack([small_image(segment.observations[key][0]) for segment in segments])
            for key, spec in (segments[0].observation_spec if segments else {}).items()
            if len(spec.shape) == 3 and spec.shape[2] == 3
        }
        return cls(courses, starts, images, rate)

    @property
    def action_dims(self) -> set[int]:
        """The lengths of the actions, one for demonstrations of one robot."""
        return {course.actions.shape[1] for course in self.courses}

    def span(self, key: str) -> np.ndarray:
        """The ranges (D,) of the numbers of a vector over all courses."""
        rows = np.concatenate([course.vectors[key] for course in self.courses])
        return np.asarray(np.ptp(rows, axis=0))


def read_reference(
    paths: str | Sequence[str], select: Selection | None = None, skip_bad: bool = False
) -> DemoReference:
    """The reference of the first demonstrations of each file, at most `MOST_DEMOS` in all.

    Args:
        paths: paths of the demonstrations; see `find_files`.
        select: the agent's part of the observations; None for all of them.
        skip_bad: whether bad episodes are left out, in place of an error.

    Raises:
        DemoError: a demonstration cannot be read, or nothing is left.
        FileNotFoundError: there are no demonstrations.
    """
    files = find_files(paths)
    chosen = [files[place] for place in np.unique(np.linspace(0, len(files) - 1, MOST_DEMOS).round().astype(int))]
    each = -(-MOST_DEMOS // len(chosen))
    segments = [segment for file in chosen for segment in islice(_episodes(file, select, skip_bad), each)]
    if not segments:
        raise DemoError(f"{paths}: no transitions. Record demonstrations with serl record.")
    folders = [folder_of(file) for file in chosen]
    rates = {float(folder.info["fps"]) for folder in folders if folder is not None}
    return DemoReference.of_segments(segments[:MOST_DEMOS], rates.pop() if len(rates) == 1 else None)


def small_image(image: np.ndarray) -> np.ndarray:
    """An image (H, W, 3) as (SMALL_SIDE, SMALL_SIDE, 3), float32: the means of its blocks."""
    rows, columns = (np.linspace(0, size, SMALL_SIDE + 1).astype(int) for size in image.shape[:2])
    sums = np.add.reduceat(image.astype(np.float32), rows[:-1], axis=0)
    sums = np.add.reduceat(sums, columns[:-1], axis=1)
    counts = np.outer(np.diff(rows).clip(1), np.diff(columns).clip(1))
    return np.asarray(sums / counts[..., None], np.float32)


def _episodes(file: str, select: Selection | None, skip_bad: bool) -> Iterator[Segment]:
    """The segments of a file that begin an episode."""

    def on_bad(error: DemoError) -> None:
        if not skip_bad and not isinstance(error, ShortEpisode):
            raise error

    found = read_file(file, select=select, on_bad=on_bad)
    return (segment for segment in found if segment.first_step == 0)
