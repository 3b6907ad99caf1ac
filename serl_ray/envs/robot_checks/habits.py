"""Checks of an env against the vectors, actions and rate of demonstrations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from serl_ray.data.checks import Range
from serl_ray.data.reference import Course, DemoReference
from serl_ray.data.scales import uneven_scales
from serl_ray.envs.robot_checks.result import Curve, RobotCheck
from serl_ray.types import ActionLayout

START_MARGIN = 0.25
"""Distance from the demonstrations' first states, as a share of a number's range over all demonstrations, beyond which
a reset pose is another one. The same env's resets stay below 0.1 beyond the 12 starts that are compared."""
LEAST_STARTS = 5
"""Demonstrations that are needed to say where they start, because resets may be random."""
NEAR_SHARE = 0.01
"""Least margin, as a share of the greatest value of the number: what hardly moves in the demonstrations may jitter."""
NEAR_PI = 2.5
"""Absolute value, radians, from which an angle may jump from pi to -pi."""
SATURATED = 0.99
"""Absolute value from which a number of an action is at its limit."""
SATURATED_SHARE = 0.7
"""Share of steps at the limit from which demonstrations say little of how fast to go. The scripted experts of the
bundled tasks have up to 0.5."""
RATE_FACTOR = 1.5
"""Ratio of two rates beyond which they are different."""
LATE_PERIODS, LATE_SHARE = 1.5, 0.1
"""Duration of a step in periods from which it is late, and the share of late steps from which a rate is not kept."""
GRIP_WINDOW = 4
"""Steps after a gripper's command in which its effect is looked for."""
SURE_GRIPS, SURE_EFFECT = 3, 2.0
"""Least number of commands on either side, and the size of their mean effect in deviations, before a gripper's sign is
judged by episodes."""


def start_checks(reference: DemoReference, starts: Sequence[Mapping[str, np.ndarray]]) -> Iterator[RobotCheck]:
    """The check of the reset pose, for each vector: resets against the demonstrations' first states."""
    for key, known in reference.starts.items():
        found = [np.asarray(start[key], np.float64) for start in starts if key in start]
        if not found or found[0].shape != known[0].shape:
            continue
        rows, span = np.stack(found), reference.span(key)
        if (jumps := _jumping(known, rows)).any():
            known, rows = np.where(jumps, np.abs(known), known), np.where(jumps, np.abs(rows), rows)
            span = np.where(jumps, np.ptp(known, axis=0), span)
        margin = np.maximum(START_MARGIN * span, NEAR_SHARE * np.abs(known).max(axis=0)) + 1e-9
        beyond = np.maximum(known.min(axis=0) - rows, rows - known.max(axis=0)).min(axis=0)
        worst = int((beyond / margin).argmax())
        number = (
            f"`{key}[{worst}]` is {rows[:, worst].mean():.3g} after a reset, and {known[:, worst].min():.3g} to "
            f"{known[:, worst].max():.3g} at the start of demonstrations"
        )
        curves = (Curve("here, first reset", rows[0]), Curve("demonstrations, mean", known.mean(axis=0)))
        if len(known) < LEAST_STARTS:
            text = f"{number}: too few demonstrations to tell where they start."
            yield RobotCheck(f"Reset pose, {key}", "unknown", text, curves=curves)
        elif beyond[worst] > margin[worst]:
            others = [f"{key}[{one}]" for one in np.flatnonzero(beyond > margin) if one != worst]
            also = f" The same is true of {', '.join(others)}." if others else ""
            text = f"{number}.{also} Reset to the pose of the demonstrations, or record new ones from this pose."
            yield RobotCheck(f"Reset pose, {key}", "wrong", text, curves=curves)
        else:
            yield RobotCheck(f"Reset pose, {key}", "fine", f"{number}.", curves=curves)


def _jumping(known: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Flags (D,) of the numbers of first states (N, D) that are angles about pi, which may jump to -pi."""
    sizes = np.abs(np.concatenate([known, rows]))
    return np.asarray(((sizes > NEAR_PI) & (sizes <= np.pi + 1e-3)).all(axis=0))


def scale_check(ranges: Mapping[str, Range]) -> RobotCheck:
    """The check of the sizes of the state's numbers, by the ranges of each vector."""
    found = [text for key, each in ranges.items() if (text := uneven_scales(key, each.low, each.high))]
    curves = [Curve(f"log10 of the range of {key}", _logarithms(each)) for key, each in ranges.items()]
    if found:
        return RobotCheck("Scale of the state", "wrong", " ".join(found), curves=curves)
    return RobotCheck("Scale of the state", "fine", "The numbers of each vector are of comparable size.", curves=curves)


def _logarithms(found: Range) -> np.ndarray:
    """The decimal logarithms (D,) of ranges; NaN, which is not drawn, of what does not move."""
    sizes = np.asarray(found.high - found.low, np.float64)
    return np.log10(np.where(sizes > 0, sizes, np.nan))


def saturation_check(reference: DemoReference, layout: ActionLayout) -> RobotCheck:
    """The check of how often the demonstrations' actions are at their limits."""
    actions = np.concatenate([course.actions for course in reference.courses])
    arm = [one for one in layout.continuous_indices if one < actions.shape[1]]
    shares = (np.abs(actions[:, arm]) >= SATURATED).mean(axis=0)
    worst = int(shares.argmax())
    number = (
        f"action[{arm[worst]}] is at its limit in {shares[worst]:.0%} of the demonstrations' steps, "
        f"and up to {SATURATED_SHARE:.0%} is usual"
    )
    curves = [Curve(f"action[{arm[worst]}]", reference.courses[0].actions[:, arm[worst]])]
    if shares[worst] > SATURATED_SHARE:
        text = (
            f"{number}: the person's motion was cut off. Raise the env's action scale, or lower the device's speed, "
            "and record new demonstrations."
        )
        return RobotCheck("Saturation", "wrong", text, curves=curves)
    return RobotCheck("Saturation", "fine", f"{number}.", curves=curves)


def rate_check(seconds: Sequence[float], rate: float | None, demo_rate: float | None, is_paced: bool) -> RobotCheck:
    """The check of the control rate: whether it is kept, and whether it is the demonstrations'.

    Args:
        seconds: durations of steps.
        rate: steps per second that the env is asked for; None if unknown.
        demo_rate: steps per second of the demonstrations; None if unknown.
        is_paced: whether the env keeps time, unlike a simulator that steps as fast as it can.
    """
    periods = np.array(seconds)
    measured = 1.0 / max(float(np.median(periods)), 1e-6)
    number = f"{measured:.3g} steps per second in the median; the slowest step took {periods.max():.3g} s"
    curves = [Curve("seconds of a step", periods)]
    expected = rate or (demo_rate if is_paced else None)
    for check in demo_rate_check(rate or measured, demo_rate) if is_paced else ():
        return replace(check, curves=curves)
    if expected and (late := float((periods > LATE_PERIODS / expected).mean())) > LATE_SHARE:
        text = (
            f"{late:.0%} of the steps took more than {LATE_PERIODS:g} periods of {1 / expected:.3g} s; {number}. Find "
            "what blocks (cameras, the gripper, the network), or lower the rate."
        )
        return RobotCheck("Control rate", "wrong", text, curves=curves)
    return RobotCheck("Control rate", "fine", f"{number[0].upper()}{number[1:]}.", curves=curves)


def demo_rate_check(rate: float | None, demo_rate: float | None) -> Iterator[RobotCheck]:
    """The check of a rate against the demonstrations'; none where they are alike, or one is unknown."""
    if rate and demo_rate and not 1 / RATE_FACTOR <= rate / demo_rate <= RATE_FACTOR:
        text = (
            f"The demonstrations have {demo_rate:g} steps per second, and the env {rate:.3g}, which is "
            f"beyond a factor of {RATE_FACTOR:g}: set --control_hz {demo_rate:g}, or record new ones at this rate."
        )
        yield RobotCheck("Control rate", "wrong", text)


def gripper_checks(reference: DemoReference, courses: Sequence[Course], layout: ActionLayout) -> Iterator[RobotCheck]:
    """The check of each learned gripper's sign, where demonstrations and episodes of the env both use it enough."""
    for dimension in layout.gripper_indices:
        for key in reference.starts:
            theirs = grips_in(reference.courses, dimension, key)
            ours = grips_in([course for course in courses if key in course.vectors], dimension, key)
            if min(len(theirs), len(ours)) < SURE_GRIPS or theirs.shape[1] != ours.shape[1]:
                continue
            sure = clear_grips(theirs) & clear_grips(ours)
            opposite = np.flatnonzero(sure & (np.sign(theirs.mean(axis=0)) != np.sign(ours.mean(axis=0))))
            yield gripper_result(key, dimension, opposite, np.flatnonzero(sure), theirs, ours)


def gripper_result(
    key: str, dimension: int, opposite: np.ndarray, sure: np.ndarray, theirs: np.ndarray, ours: np.ndarray
) -> RobotCheck:
    """The result for the effects (n, D) of a gripper's commands in the demonstrations and here.

    Args:
        key: vector that shows the effects.
        dimension: number of the action.
        opposite: numbers of the vector whose effects have opposite signs.
        sure: numbers of the vector with effects that are clear on both sides.
        theirs: effects in the demonstrations, of opening; those of closing are negated.
        ours: effects here.
    """
    title = f"Gripper of action[{dimension}]"
    if len(opposite):
        one = opposite[0]
        text = (
            f"A command to open changes `{key}[{one}]` by {ours[:, one].mean():+.2g} here, and by "
            f"{theirs[:, one].mean():+.2g} in the demonstrations: the gripper's sign is reversed. -1 closes, and 1 "
            "opens: turn the command round in the env, or in the demonstrations."
        )
        return RobotCheck(title, "wrong", text)
    if not len(sure):
        return RobotCheck(title, "unknown", "No number of the state shows clearly whether it opens or closes.")
    one = sure[0]
    number = f"{ours[:, one].mean():+.2g} here and {theirs[:, one].mean():+.2g} in the demonstrations"
    return RobotCheck(title, "fine", f"A command to open changes `{key}[{one}]` by {number}.")


def _grips_of(course: Course, dimension: int, key: str) -> Iterator[np.ndarray]:
    """The changes (D,) of a vector after each change of a gripper's command, as for opening."""
    commands = np.where(np.abs(course.actions[:, dimension]) >= 0.5, np.sign(course.actions[:, dimension]), 0.0)
    current = 0.0
    rows = course.vectors[key]
    for step, command in enumerate(commands):
        is_switch = command not in (0.0, current)
        current = command or current
        later = min(step + GRIP_WINDOW, len(rows) - 1)
        if is_switch and (commands[step:later] != -command).all():
            yield command * (rows[later] - rows[step])


def grips_in(courses: Sequence[Course], dimension: int, key: str) -> np.ndarray:
    """The effects (n, D) of a gripper's commands in courses."""
    found = [grip for course in courses for grip in _grips_of(course, dimension, key)]
    return np.stack(found) if found else np.zeros((0, 0))


def clear_grips(grips: np.ndarray) -> np.ndarray:
    """Flags (D,) of the numbers of a vector that effects (n, D) of a gripper's commands change one way."""
    return _sureness(grips) > SURE_EFFECT


def _sureness(grips: np.ndarray) -> np.ndarray:
    """The mean effects (D,) in deviations; 0 where most commands had none, as of what is open already."""
    sizes = np.abs(grips)
    has_effect = sizes > 0.1 * sizes.max(axis=0, initial=0.0)
    known = np.where(has_effect, grips, np.nan)
    is_usual = has_effect.mean(axis=0) > 0.5
    sureness = np.zeros(grips.shape[1])
    if is_usual.any():
        mean, deviation = np.nanmean(known[:, is_usual], axis=0), np.nanstd(known[:, is_usual], axis=0)
        sureness[is_usual] = np.abs(mean) / (deviation + 1e-6 * np.abs(mean) + 1e-12)
    return sureness
