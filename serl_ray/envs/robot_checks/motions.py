"""Checks of how a robot moves: by zeros, by pulses, and by the first actions of its demonstrations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from serl_ray.data.reference import DemoReference
from serl_ray.envs.robot_checks.result import Curve, RobotCheck
from serl_ray.envs.robot_checks.trials import AMPLITUDES, REPLAY, REST, RobotTrial, joined_vectors, of_kind, pulses_of

SETTLING_STEPS = 3
"""First steps of a rest, in which a robot may still settle after its reset."""
BEYOND_NOISE = 5.0
"""Factor by which a number of the state must change more under a pulse than at rest, to count as moved."""
LEAST_MOVE = 1e-4
"""Change of a number of the state, as a share of its size, that counts as motion at all."""
LED, MOST_LAG = 0.6, 2
"""Correlation of a number of the state's changes with one number of the action from which that leads it, and steps by
which it may lag behind."""
RESTLESS_SHARE = 0.2
"""Share of a pulse's largest change of a number, a step, from which a robot at rest is said to move. The tabletop's
arms and the fake Franka stay below 0.03."""
REVERSED, ALIKE = -0.7, 0.8
"""Correlation of a replayed course with the demonstration's below which a sign is reversed, and above which the sizes
can be compared. Sound envs have more than 0.9."""
SCALE_FACTOR = 1.5
"""Ratio of a replayed course's size to the demonstration's beyond which scale or rate differ; the sound envs of the
tests have 0.85 to 1.15."""
MOVED_SHARE = 0.1
"""Share of a number's range over all demonstrations that it must move in a replayed part to be compared."""


@dataclass(frozen=True)
class Response:
    """Reaction of a robot's state to pulses.

    Attributes:
        names: names of the numbers of the state, such as state[0].
        moved: flags (D,) of the numbers that react to the arm's pulses.
        led: flags (D,) of those that a number of the action leads, unlike a tilt that any motion causes.
        largest: largest change (D,) in a step of a pulse.
        drift: mean change (D,) a step at rest.
        effects: change (A, D) by a pulse of each number of the action, there minus back.
    """

    names: list[str]
    moved: np.ndarray
    led: np.ndarray
    largest: np.ndarray
    drift: np.ndarray
    effects: np.ndarray

    @classmethod
    def of(cls, trials: Sequence[RobotTrial]) -> Response:
        """The response that the trials at rest and by pulses show."""
        rest = [joined_vectors(trial.course().vectors) for trial in of_kind(trials, REST)]
        names, rows = rest[0]
        still = np.diff(rows[SETTLING_STEPS:], axis=0)
        drift = still.mean(axis=0) if len(still) else np.zeros(len(names))
        noise = still.std(axis=0) if len(still) else np.zeros(len(names))
        effects = np.zeros((pulses_of(trials)[0].actions[0].size, len(names)))
        largest, size = np.zeros(len(names)), np.abs(rows).max(axis=0, initial=0.0)
        for trial in pulses_of(trials):
            course = trial.course()
            _, moved_rows = joined_vectors(course.vectors)
            changes = np.diff(moved_rows, axis=0) - drift
            size = np.maximum(size, np.abs(moved_rows).max(axis=0))
            largest = np.maximum(largest, np.abs(changes).max(axis=0))
            effects += course.actions.T @ changes
        moved = largest > BEYOND_NOISE * noise + LEAST_MOVE * size + 1e-9
        return cls(names, moved, moved & _led(pulses_of(trials), drift), largest, drift, effects)

    def action_of(self, number: int) -> int:
        """The number of the action that moves a number of the state most, for its size."""
        return int(np.abs(self.effects[:, number]).argmax())


def _led(trials: Sequence[RobotTrial], drift: np.ndarray) -> np.ndarray:
    """Flags (D,) of the numbers of a state that follow one number of the action within `MOST_LAG` steps."""
    strongest = np.zeros(len(drift))
    for lag in range(MOST_LAG + 1):
        pairs = []
        for trial in trials:
            course = trial.course()
            changes = np.diff(joined_vectors(course.vectors)[1], axis=0) - drift
            stop = max(len(changes) - lag, 0)
            pairs.append((course.actions[:stop], changes[lag:]))
        actions, changes = (np.concatenate(side) for side in zip(*pairs, strict=True))
        norms = np.outer(np.linalg.norm(actions, axis=0), np.linalg.norm(changes, axis=0))
        strongest = np.maximum(strongest, (np.abs(actions.T @ changes) / np.maximum(norms, 1e-12)).max(axis=0))
    return np.asarray(strongest > LED)


def motion_checks(trials: Sequence[RobotTrial], response: Response) -> Iterator[RobotCheck]:
    """The checks that need no demonstrations: the robot moves when told to, and keeps still when told to."""
    yield _moves(trials, response)
    if response.moved.any():
        yield _keeps_still(trials, response)


def _moves(trials: Sequence[RobotTrial], response: Response) -> RobotCheck:
    curves = _curves(pulses_of(trials)[-1], response, response.largest)
    moved = [name for name, is_moved in zip(response.names, response.moved, strict=True) if is_moved]
    if not moved:
        text = (
            f"No number of the state changed when each number of the action was {AMPLITUDES[-1]:g} of full scale: "
            "check that the controller runs, that the stop is released, and that the state is read anew in every step."
        )
        return RobotCheck("Motion", "wrong", text, curves=curves)
    return RobotCheck("Motion", "fine", f"The arm's actions move {', '.join(moved)}.", curves=curves)


def _keeps_still(trials: Sequence[RobotTrial], response: Response) -> RobotCheck:
    shares = np.where(response.moved, np.abs(response.drift) / np.maximum(response.largest, 1e-12), 0.0)
    worst = int(shares.argmax())
    curves = _curves(of_kind(trials, REST)[0], response, shares)
    number = (
        f"`{response.names[worst]}` changes by {response.drift[worst]:.2g} a step under zeros, which is "
        f"{shares[worst]:.0%} of the most that a pulse of {AMPLITUDES[-1]:g} changed it"
    )
    if shares[worst] > RESTLESS_SHARE:
        text = (
            f"{number}: zeros must keep the robot still, because a hold sends them. Make actions offsets from the "
            "present pose, or check for drift."
        )
        return RobotCheck("Rest", "wrong", text, curves=curves)
    return RobotCheck("Rest", "fine", f"{number}.", curves=curves)


def replay_checks(trials: Sequence[RobotTrial], reference: DemoReference, response: Response) -> Iterator[RobotCheck]:
    """The checks of signs and scale: courses of the robot against those of demonstrations with the same actions."""
    pairs = [_pair(trial, reference) for trial in of_kind(trials, REPLAY)]
    pairs = [pair for pair in pairs if pair is not None]
    if not pairs or not response.moved.any():
        yield RobotCheck(
            "Signs and scale", "unknown", "No part of a demonstration was replayed, so nothing is compared."
        )
        return
    ours, theirs = (np.concatenate(side) for side in zip(*pairs, strict=True))
    names = joined_vectors(reference.courses[0].vectors)[0]
    spans = np.concatenate([reference.span(key) for key in reference.courses[0].vectors])
    moved = np.array([name in response.names and response.moved[response.names.index(name)] for name in names])
    moved &= np.ptp(theirs, axis=0) > MOVED_SHARE * spans
    sizes = np.linalg.norm(theirs, axis=0)
    products = (ours * theirs).sum(axis=0)
    alike = np.where(moved, products / np.maximum(sizes * np.linalg.norm(ours, axis=0), 1e-12), 0.0)
    ratios = products / np.maximum(sizes**2, 1e-12)
    yield _signs(names, alike, ours, theirs, response)
    yield _scale(names, alike, ratios, ours, theirs)


def _pair(trial: RobotTrial, reference: DemoReference) -> tuple[np.ndarray, np.ndarray] | None:
    """The ways (n, D) of the robot and of a demonstration from their starts, with the same actions."""
    demo = reference.courses[trial.number].vectors
    ours = trial.course().vectors
    if any(key not in ours or ours[key].shape[1] != rows.shape[1] for key, rows in demo.items()):
        return None
    steps = len(trial.actions) + 1
    rows = [joined_vectors({key: vectors[key][:steps] for key in demo})[1] for vectors in (ours, demo)]
    return rows[0][1:] - rows[0][0], rows[1][1:] - rows[1][0]


def _signs(
    names: Sequence[str], alike: np.ndarray, ours: np.ndarray, theirs: np.ndarray, response: Response
) -> RobotCheck:
    shown = int(np.abs(alike).argmax())
    curves = _courses(names[shown], ours[:, shown], theirs[:, shown])
    if reversed_ones := np.flatnonzero(alike < REVERSED).tolist():
        actions = sorted({response.action_of(response.names.index(names[one])) for one in reversed_ones})
        found = ", ".join(f"`{names[one]}` (correlation {alike[one]:+.2f})" for one in reversed_ones)
        text = (
            f"{found} went the other way when the demonstrations' first actions were replayed. Reverse the sign of "
            f"{', '.join(f'action[{action}]' for action in actions)} in the env, or of what is observed."
        )
        worst = int(alike.argmin())
        return RobotCheck("Signs", "wrong", text, curves=_courses(names[worst], ours[:, worst], theirs[:, worst]))
    compared = int((alike > ALIKE).sum())
    if not compared:
        return RobotCheck(
            "Signs", "unknown", "No number of the state moved alike, so signs cannot be told.", (), curves
        )
    return RobotCheck("Signs", "fine", f"{compared} number(s) of the state went the demonstrations' way.", (), curves)


def _scale(
    names: Sequence[str], alike: np.ndarray, ratios: np.ndarray, ours: np.ndarray, theirs: np.ndarray
) -> RobotCheck:
    compared = np.abs(alike) > ALIKE
    if not compared.any():
        return RobotCheck("Scale of actions", "unknown", "No number of the state moved alike, so sizes cannot be told.")
    ratio = float(np.median(np.abs(ratios[compared])))
    shown = int(np.abs(alike).argmax())
    curves = _courses(names[shown], ours[:, shown], theirs[:, shown])
    number = f"with the demonstrations' actions the robot went {ratio:.2f} times their way"
    if not 1 / SCALE_FACTOR <= ratio <= SCALE_FACTOR:
        text = (
            f"{number}: the env has another action scale or another rate than the demonstrations. Set its scale to "
            f"{1 / ratio:.2g} times its present value, or its rate to theirs, or record new demonstrations."
        )
        return RobotCheck("Scale of actions", "wrong", text[0].upper() + text[1:], curves=curves)
    return RobotCheck("Scale of actions", "fine", f"{number[0].upper()}{number[1:]}.", curves=curves)


def _courses(name: str, ours: np.ndarray, theirs: np.ndarray) -> tuple[Curve, Curve]:
    return Curve(f"{name} here", ours), Curve(f"{name} in the demonstrations", theirs)


def _curves(trial: RobotTrial, response: Response, order: np.ndarray) -> list[Curve]:
    """The lines of the numbers of the state that come first in an order, at most four."""
    _, rows = joined_vectors(trial.course().vectors)
    chosen = np.argsort(-order, kind="stable")[:4]
    return [Curve(response.names[one], rows[:, one] - rows[0, one]) for one in chosen]
