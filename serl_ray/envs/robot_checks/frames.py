"""Checks of cameras while the robot moves: frozen, slow or late images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np

from serl_ray.envs.robot_checks.motions import Response
from serl_ray.envs.robot_checks.result import Curve, RobotCheck
from serl_ray.envs.robot_checks.trials import REPLAY, RobotTrial, joined_vectors, of_kind, pulses_of

FROZEN_STEPS = 6
"""Steps with motion in a row, in which every image is equal to the last byte, from which a camera is frozen."""
SLOW_SHARE = 0.3
"""Share of steps with motion without a new image from which a camera is slower than the robot; sound simulators have
less than 0.1."""
CLEAR_MOTION = 0.3
"""Share of the largest motion that a step must have to be expected in the image."""
CLEAR_CHANGE, USUAL_CHANGE = 0.05, 0.3
"""Share of the largest value from which a value is clear, and the quantile of the clear ones to which motion and change
are cut before they are compared: when it moves matters, not how far."""
MOST_DELAY = 6
"""Longest delay in steps that is looked for."""
LATE_STEPS_SEEN = 2
"""Delay in steps from which a camera is late: one step is usual for cameras and their cables."""
CLEAR_DELAY, BETTER_DELAY = 0.5, 0.2
"""Correlation of motion and image change that a delay needs, and its lead over that of no delay."""


def frame_checks(trials: Sequence[RobotTrial], response: Response) -> Iterator[RobotCheck]:
    """The check of each camera's images during motion; none where the robot did not move."""
    moving = [*pulses_of(trials), *of_kind(trials, REPLAY)]
    if not moving or not response.moved.any():
        return
    motion = [_motion(trial, response) for trial in moving]
    for key, value in moving[0].observations[0].items():
        if np.ndim(value) == 3:
            yield _frames(key, moving, motion)


def _motion(trial: RobotTrial, response: Response) -> np.ndarray:
    """The motion (n,) of the state in each step, every number as a share of its largest change."""
    _, rows = joined_vectors(trial.course().vectors)
    changes = np.abs(np.diff(rows, axis=0) - response.drift) / np.maximum(response.largest, 1e-12)
    chosen = response.led if response.led.any() else response.moved
    return np.asarray(changes[:, chosen].mean(axis=1))


def _frames(key: str, moving: Sequence[RobotTrial], motion: Sequence[np.ndarray]) -> RobotCheck:
    changes = [_changes(trial.images(key)) for trial in moving]
    least = CLEAR_MOTION * max(float(one.max(initial=0.0)) for one in motion)
    same = np.concatenate([change[step > least] == 0.0 for change, step in zip(changes, motion, strict=True)])
    run, share = _longest_run(same), float(same.mean())
    longest = int(np.argmax([len(one) for one in motion]))
    steps = len(changes[longest])
    curves = (
        Curve("motion of the state", _scaled(motion[longest])),
        Curve(f"change of {key}", _scaled(changes[longest])),
    )
    images = tuple((f"step {step}", moving[longest].images(key)[step]) for step in (0, steps // 2, steps))
    title = f"Images of camera {key}"
    if run >= min(FROZEN_STEPS, len(same)):
        text = (
            f"Camera `{key}` gave the same image to the last byte in {run} steps in a row in which the robot moved: it "
            "is frozen, is not read anew, or does not see the robot. Check its driver, cable and place."
        )
        return RobotCheck(title, "wrong", text, images, curves)
    if share > SLOW_SHARE:
        text = (
            f"Camera `{key}` gave no new image in {share:.0%} of the steps in which the robot moved: raise its frame "
            "rate above the control rate, or lower the control rate."
        )
        return RobotCheck(title, "wrong", text, images, curves)
    num_pulses = len(pulses_of(moving))
    return _delay(title, key, motion[:num_pulses], changes[:num_pulses], images, curves)


def _delay(
    title: str,
    key: str,
    motion: Sequence[np.ndarray],
    changes: Sequence[np.ndarray],
    images: tuple[tuple[str, np.ndarray], ...],
    curves: tuple[Curve, ...],
) -> RobotCheck:
    fits = np.array([_fit(motion, changes, delay) for delay in range(MOST_DELAY + 1)])
    best = int(fits.argmax())
    number = f"motion fits the change of the image best {best} step(s) later (correlation {fits[best]:.2f})"
    if fits[best] < CLEAR_DELAY:
        text = f"The image changes with the robot too little to tell a delay: {number}."
        return RobotCheck(title, "unknown", text, images, curves)
    if best >= LATE_STEPS_SEEN and fits[best] > fits[0] + BETTER_DELAY:
        text = (
            f"Camera `{key}` is late: {number}. Read the newest image in each step, and not a queue of them; take a "
            "shorter exposure, a higher frame rate or a direct cable."
        )
        return RobotCheck(title, "wrong", text, images, curves)
    return RobotCheck(title, "fine", f"Every image is new; {number}.", images, curves)


def _changes(images: np.ndarray) -> np.ndarray:
    """The mean change (n,) from each image (n + 1, H, W, 3) to the next; exactly 0 of equal ones alone."""
    return np.array([np.abs(after.astype(np.int16) - before).mean() for before, after in pairwise(images)])


def _fit(motion: Sequence[np.ndarray], changes: Sequence[np.ndarray], delay: int) -> float:
    """The correlation of motion with the change of the image some steps later, within trials."""
    pairs = [(step[: max(len(step) - delay, 0)], change[delay:]) for step, change in zip(motion, changes, strict=True)]
    earlier, later = (np.concatenate(side) for side in zip(*pairs, strict=True))
    if len(earlier) < 3 or earlier.std() == 0.0 or later.std() == 0.0:
        return 0.0
    earlier, later = (_cut(values) for values in (earlier, later))
    return float(np.corrcoef(earlier, later)[0, 1])


def _cut(values: np.ndarray) -> np.ndarray:
    """Values (n,) of 0 or more, none above a usual clear one."""
    clear = values[values > CLEAR_CHANGE * values.max()]
    return np.minimum(values, np.quantile(clear, USUAL_CHANGE))


def _longest_run(flags: np.ndarray) -> int:
    """The longest run of true flags (n,)."""
    longest = current = 0
    for flag in flags:
        current = current + 1 if flag else 0
        longest = max(longest, current)
    return longest


def _scaled(values: np.ndarray) -> np.ndarray:
    return values / max(float(values.max(initial=0.0)), 1e-12)
