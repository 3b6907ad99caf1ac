"""Checks of how an arm moves in the first episodes of a run, against its demonstrations; nothing is moved for them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from serl_ray.data.reference import Course, DemoReference
from serl_ray.envs.robot_checks.motions import ALIKE, REVERSED, SCALE_FACTOR
from serl_ray.envs.robot_checks.result import RobotCheck
from serl_ray.envs.robot_checks.trials import joined_vectors
from serl_ray.types import ActionLayout

LAGS = 3
"""Actions, the newest and those before it, that may explain the change of the state in a step."""
STEPS_PER_UNKNOWN = 3
"""Steps that are needed for each factor between an action and a number of the state."""
EXPLAINED_SHARE = 0.7
"""Share of the variance of a number's changes that actions must explain, here, for it to be compared. The arms of the
tabletop have more than 0.9 in the numbers that actions lead."""


def course_checks(reference: DemoReference, courses: Sequence[Course], layout: ActionLayout) -> Iterator[RobotCheck]:
    """The check of the arm's signs, or else of the scale of its actions; none where they cannot be told.

    The changes of the state in the episodes are explained by the actions. What the demonstrations' actions would have
    done by this is compared with what they did.
    """
    arm = list(layout.continuous_indices)
    theirs = [course for course in reference.courses if course.actions.shape[1] == layout.action_dim]
    keys = [key for key in reference.starts if all(key in course.vectors for course in courses)]
    if not theirs or not courses or not keys or not _have_same_sizes(theirs[0], courses[0], keys):
        return
    actions, changes = _stacked(courses, arm, keys)
    if len(actions) < STEPS_PER_UNKNOWN * actions.shape[1]:
        return
    factors, *_ = np.linalg.lstsq(actions, changes, rcond=None)
    left = ((changes - actions @ factors) ** 2).sum(axis=0)
    whole = ((changes - changes.mean(axis=0)) ** 2).sum(axis=0)
    is_led = left < (1 - EXPLAINED_SHARE) * whole
    their_actions, their_changes = _stacked(theirs, arm, keys)
    expected = their_actions @ factors
    sizes, expected_sizes = (np.linalg.norm(rows, axis=0) for rows in (their_changes, expected))
    alike = (expected * their_changes).sum(axis=0) / np.maximum(sizes * expected_sizes, 1e-12)
    names = joined_vectors({key: courses[0].vectors[key] for key in keys})[0]
    reversed_ones = np.flatnonzero(is_led & (alike < REVERSED))
    compared = is_led & (alike > ALIKE)
    if len(reversed_ones):
        weights = (factors[:-1] ** 2).reshape(LAGS, len(arm), -1).sum(axis=0)
        leaders = sorted({arm[int(weights[:, one].argmax())] for one in reversed_ones})
        yield _reversed([names[one] for one in reversed_ones], leaders, float(alike[reversed_ones].min()))
    elif compared.any():
        ratio = float(np.median(expected_sizes[compared] / sizes[compared]))
        if not 1 / SCALE_FACTOR <= ratio <= SCALE_FACTOR:
            yield _of_scale(ratio)


def _reversed(names: Sequence[str], leaders: Sequence[int], least: float) -> RobotCheck:
    text = (
        f"{', '.join(f'`{name}`' for name in names)} went the other way here than the demonstrations with the same "
        f"actions (correlation {least:+.2f}, and {REVERSED:+g} is the limit). Reverse the sign of "
        f"{', '.join(f'action[{leader}]' for leader in leaders)} in the env, or of what is observed."
    )
    return RobotCheck("Signs", "wrong", text)


def _of_scale(ratio: float) -> RobotCheck:
    text = (
        f"The same action moves the robot {ratio:.2f} times as far as in the demonstrations, and "
        f"{1 / SCALE_FACTOR:.2f} to {SCALE_FACTOR:g} would be usual: the env has another "
        f"action scale or another rate. Set its scale to {1 / ratio:.2g} times its present value, or its "
        "rate to theirs, or record new demonstrations."
    )
    return RobotCheck("Scale of actions", "wrong", text)


def _have_same_sizes(first: Course, second: Course, keys: Sequence[str]) -> bool:
    return all(first.vectors[key].shape[1] == second.vectors[key].shape[1] for key in keys)


def _stacked(courses: Sequence[Course], arm: Sequence[int], keys: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """The arm's actions (n, LAGS x A + 1) of the last steps with a 1, and the changes (n, D) of the state, of all
    steps."""
    actions, changes = [], []
    for course in courses:
        given = course.actions[:, arm]
        before = np.concatenate([np.zeros((LAGS - 1, len(arm))), given])
        lagged = [before[LAGS - 1 - lag : len(before) - lag] for lag in range(LAGS)]
        actions.append(np.concatenate([*lagged, np.ones((len(given), 1))], axis=1))
        changes.append(np.diff(joined_vectors({key: course.vectors[key] for key in keys})[1], axis=0))
    return np.concatenate(actions), np.concatenate(changes)
