"""Checks of a segment before it is learned from, whatever the format of its file."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from serl_ray.data.errors import demo_error
from serl_ray.data.observations import image_fix
from serl_ray.data.schema import ACTION_TOLERANCE, NO_PERSON, Actors, ArraySpec, Segment

EXPECTED_SOURCE = f"one of {', '.join(NO_PERSON)} where intervention is 0, else another"

CLIP = (
    "If the env clips what it executes, as HIL-SERL's does, convert the demonstrations by serl convert --clip_actions."
)


def check_axes(path: str, first: int, segment: Segment) -> None:
    """Raises DemoError for an observation of the agent that is neither a vector nor has the axes of an image."""
    for key, spec in segment.observation_spec.items():
        if len(spec.shape) in (0, 2):
            fix = image_fix(spec.shape, spec.dtype)
            raise demo_error(path, first, f"observations[{key!r}]", "a vector (D,) in each step", str(spec), fix)


def check_segment(
    path: str, first: int, segment: Segment, observation_spec: Mapping[str, ArraySpec] | None, action_dim: int | None
) -> None:
    """Raises DemoError for the first fault of a segment."""
    for key, spec in (observation_spec or {}).items():
        found = segment.observation_spec.get(key, f"only {', '.join(segment.observations)}")
        if found != spec:
            raise demo_error(path, first, f"observations[{key!r}]", str(spec), str(found))
    if action_dim not in (None, segment.actions.shape[1]):
        expected = f"{action_dim} numbers, the action space of the env"
        raise demo_error(path, first, "actions", expected, str(segment.actions.shape[1]))
    _check_actions(path, first, "actions", segment.actions)
    if segment.actors is not None:
        _check_actors(path, first, segment.actors, segment.intervened)
    for key, rows in segment.observations.items():
        _check_finite(path, first, f"observations[{key!r}]", rows)
    for field in ("rewards", "masks", "grasp_penalty"):
        _check_finite(path, first, field, getattr(segment, field))
    if (segment.grasp_penalty > 0).any():
        t = int(np.argmax(segment.grasp_penalty > 0))
        fix = "It is added to the reward."
        raise demo_error(path, first + t, "grasp_penalty", "0 or less", f"{segment.grasp_penalty[t]:g}", fix)
    _check_masks(path, first, segment)


def _check_actions(path: str, first: int, key: str, actions: np.ndarray) -> None:
    is_outside = ~(np.abs(actions) <= 1 + ACTION_TOLERANCE)
    if is_outside.any():
        t, dim = np.argwhere(is_outside)[0]
        fix = CLIP if np.isfinite(actions[t, dim]) else ""
        raise demo_error(path, first + t, f"{key}[{dim}]", "a number in [-1, 1]", str(actions[t, dim]), fix)


def _check_actors(path: str, first: int, actors: Actors, intervened: np.ndarray) -> None:
    """Raises DemoError for a policy's action outside of [-1, 1], and for actors that contradict `intervened` (n,)."""
    _check_actions(path, first, "policy_actions", actors.policy_actions)
    sources, numbers = actors.sources, actors.interventions
    for key, column, is_wrong, expected in (
        ("intervention", numbers, numbers < 0, "0 or more"),
        ("intervention", numbers, intervened & (numbers == 0), "1 or more where intervened is true"),
        ("source", sources, np.isin(sources.astype(str), NO_PERSON) == (numbers > 0), EXPECTED_SOURCE),
    ):
        if is_wrong.any():
            t = int(np.argmax(is_wrong))
            raise demo_error(path, first + t, key, expected, f"{column.item(t)!r:.60}")


def _check_masks(path: str, first: int, segment: Segment) -> None:
    """Raises DemoError for a mask that is neither 0 nor 1, or 0 where the episode goes on."""
    masks = segment.masks
    for is_wrong, expected in (
        (~np.isin(masks, (0, 1)), "0 or 1"),
        ((masks == 0) & ~segment.dones, "1 where the episode goes on"),
    ):
        if is_wrong.any():
            t = int(np.argmax(is_wrong))
            fix = "A mask is 0 where the episode terminated, and 1 everywhere else."
            raise demo_error(path, first + t, "masks", expected, f"{masks[t]:g}", fix)


def _check_finite(path: str, first: int, key: str, rows: np.ndarray) -> None:
    if rows.dtype.kind == "f" and not np.isfinite(rows).all():
        where = tuple(np.argwhere(~np.isfinite(rows))[0])
        raise demo_error(path, first + where[0], key, "finite numbers", str(rows[where]))
