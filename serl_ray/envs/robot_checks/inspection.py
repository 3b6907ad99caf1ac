"""All checks of a robot, from the trials that were recorded and its demonstrations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from serl_ray.data.checks import Range
from serl_ray.data.reference import DemoReference
from serl_ray.envs.robot_checks.frames import frame_checks
from serl_ray.envs.robot_checks.habits import (
    clear_grips,
    gripper_result,
    grips_in,
    rate_check,
    saturation_check,
    scale_check,
    start_checks,
)
from serl_ray.envs.robot_checks.motions import LEAST_MOVE, Response, motion_checks, replay_checks
from serl_ray.envs.robot_checks.result import RobotCheck
from serl_ray.envs.robot_checks.trials import GRIP, GRIP_STEPS, Prober, RobotTrial, of_kind
from serl_ray.envs.robot_checks.views import view_checks
from serl_ray.types import ActionLayout


def robot_checks(
    prober: Prober,
    layout: ActionLayout,
    reference: DemoReference | None,
    rate: float | None = None,
    is_paced: bool = False,
) -> list[RobotCheck]:
    """The results of all checks.

    Args:
        prober: what the robot did.
        layout: layout of its actions.
        reference: its demonstrations; None without any.
        rate: steps per second that the env is asked for; None if unknown.
        is_paced: whether the env keeps time, unlike a simulator that steps as fast as it can.
    """
    trials = prober.trials
    response = Response.of(trials)
    found = [*(view_checks(reference, prober.starts) if reference else _views_alone(prober.starts[0]))]
    found += [*motion_checks(trials, response), *frame_checks(trials, response)]
    found.append(scale_check(_ranges(trials, reference)))
    found.append(rate_check(_durations(trials), rate, reference.rate if reference else None, is_paced))
    if reference:
        found += start_checks(reference, prober.starts)
        found += replay_checks(trials, reference, response)
        found.append(saturation_check(reference, layout))
    return found + [_gripper(trial, reference) for trial in _gripper_trials(trials)]


def _views_alone(start: Mapping[str, np.ndarray]) -> Iterator[RobotCheck]:
    """The images of the cameras, where there is nothing to compare them with."""
    for key, value in start.items():
        if np.ndim(value) == 3:
            text = (
                "There are no demonstrations to compare with. Look: are red things red, is the scene lit, sharp and "
                "upright, and is all of the task in the image? OpenCV gives BGR: image[..., ::-1]."
            )
            yield RobotCheck(f"View of camera {key}", "unknown", text, (("here", value),))


def _ranges(trials: Sequence[RobotTrial], reference: DemoReference | None) -> dict[str, Range]:
    """The range of each vector: in the demonstrations, which use more of it, or else here."""
    courses = reference.courses if reference and reference.starts else [trial.course() for trial in _with_steps(trials)]
    found: dict[str, Range] = {}
    for course in courses:
        for key, rows in course.vectors.items():
            found[key] = found[key].join(Range.of(rows)) if key in found else Range.of(rows)
    return found


def _with_steps(trials: Sequence[RobotTrial]) -> list[RobotTrial]:
    return [trial for trial in trials if trial.actions]


def _durations(trials: Sequence[RobotTrial]) -> list[float]:
    """The seconds from the beginning of a step to that of the next one."""
    return [float(seconds) for trial in trials for seconds in np.diff(trial.seconds)]


def _gripper_trials(trials: Sequence[RobotTrial]) -> list[RobotTrial]:
    return [trial for trial in of_kind(trials, GRIP) if len(trial.actions) == 2 * GRIP_STEPS]


def _gripper(trial: RobotTrial, reference: DemoReference | None) -> RobotCheck:
    """The check of a gripper's sign by one that closed and opened while the arm was still."""
    dimension = trial.number
    for key, rows in trial.course().vectors.items():
        opening = rows[-1] - rows[GRIP_STEPS]
        answers = np.abs(opening) > LEAST_MOVE * np.abs(rows).max(initial=0.0) + _jitter(rows)
        if not answers.any() or reference is None or key not in reference.starts:
            continue
        theirs = grips_in(reference.courses, dimension, key)
        if len(theirs) and theirs.shape[1] == len(opening):
            sure = answers & clear_grips(theirs)
            opposite = sure & (np.sign(theirs.mean(axis=0)) != np.sign(opening))
            if sure.any():
                return gripper_result(
                    key, dimension, np.flatnonzero(opposite), np.flatnonzero(sure), theirs, opening[None]
                )
    images = tuple(
        (f"{key}, {words}", trial.observations[step][key])
        for key, value in trial.observations[0].items()
        if np.ndim(value) == 3
        for words, step in (("closed", GRIP_STEPS), ("opened", -1))
    )
    text = (
        "No number of the state that the demonstrations share tells whether it opens or closes. It was told to close, "
        "and then to open: did it?"
    )
    return RobotCheck(f"Gripper of action[{dimension}]", "unknown", text, images)


def _jitter(rows: np.ndarray) -> np.ndarray:
    """The change (D,) that chance explains: twice the median change of a step, as most of the steps are at rest."""
    return np.asarray(2.0 * np.median(np.abs(np.diff(rows, axis=0)), axis=0))
