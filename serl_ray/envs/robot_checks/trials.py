"""Careful motions of a robot that is checked, and the recording of what it observes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import gymnasium
import numpy as np

from serl_ray.data.episodes import EnvFault
from serl_ray.data.observations import Observation
from serl_ray.data.reference import Course, DemoReference
from serl_ray.types import ActionLayout

AMPLITUDES = (0.2, 0.5)
"""Sizes of the pulses that each number of an action is moved by, one after the other, as shares of full scale."""
REST_STEPS = 10
"""Steps of zeros, in which the robot must keep still."""
PULSE_STEPS = 2
"""Steps of a pulse; an equal one back follows."""
PAUSES = (2, 5, 3, 1, 4)
"""Steps of zeros after pulses, in turn: of several lengths, so that a late image fits one delay alone."""
GRIP_STEPS = 5
"""Steps for which a gripper is commanded to close, and to open."""
REPLAYED_STEPS, REPLAYED_DEMOS = 8, 3
"""First steps of a demonstration that are replayed, and demonstrations of which that is done."""
FIRST_SEED = 2**20
"""Seed of the first reset, which is no recording's, so that a simulator shows another scene."""
REST, REPLAY, GRIP = "rest", "replay", "gripper"


@dataclass
class RobotTrial:
    """A part of an episode with motions of one kind.

    Attributes:
        kind: kind of the motions: `REST`, `GRIP`, `REPLAY`, or the size of the pulses.
        number: number of the gripper's dimension or of the demonstration; else 0.
        actions: actions (A,) of the steps.
        observations: observations, one more than actions.
        seconds: monotonic times at which steps began.
    """

    kind: str
    number: int = 0
    actions: list[np.ndarray] = field(default_factory=list)
    observations: list[Observation] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def course(self) -> Course:
        """The actions and vectors."""
        keys = self.observations[0]
        stacked = {key: np.stack([one[key] for one in self.observations]) for key in keys if np.ndim(keys[key]) == 1}
        return Course.of(np.stack(self.actions), stacked)

    def images(self, key: str) -> np.ndarray:
        """The images (n + 1, H, W, 3) of a camera."""
        return np.stack([one[key] for one in self.observations])


@dataclass(frozen=True)
class Phase:
    """Motions that the robot is about to make.

    Attributes:
        words: what it will do, in words.
        kind: kind of its trials.
        number: number of the gripper's dimension or of the demonstration; else 0.
        actions: actions (n, A).
        begins_anew: whether it begins with a reset.
    """

    words: str
    kind: str
    number: int
    actions: np.ndarray
    begins_anew: bool = False


def phases(layout: ActionLayout, reference: DemoReference | None) -> list[Phase]:
    """The motions of a check in their order: rest, small pulses, larger ones, grippers, the demonstrations' first
    steps."""
    zeros = np.zeros(layout.action_dim, np.float32)
    found = [Phase("the robot rests: its actions are zeros", REST, 0, np.stack([zeros] * REST_STEPS), True)]
    for amplitude in AMPLITUDES:
        words = f"each number of the arm's action in turn is {amplitude:g} of full scale, and back"
        found.append(Phase(words, f"{amplitude:g}", 0, _pulses(layout, amplitude)))
    for dimension in layout.gripper_indices:
        commands = np.zeros((2 * GRIP_STEPS, layout.action_dim), np.float32)
        commands[:GRIP_STEPS, dimension], commands[GRIP_STEPS:, dimension] = -1.0, 1.0
        found.append(Phase(f"the gripper of action[{dimension}] closes, and opens", GRIP, dimension, commands))
    courses = reference.courses[:REPLAYED_DEMOS] if reference else ()
    for number, course in enumerate(courses):
        if course.actions.shape[1] == layout.action_dim:
            actions = course.actions[:REPLAYED_STEPS].astype(np.float32)
            words = f"the robot replays the first {len(actions)} steps of demonstration {number}, after a reset"
            found.append(Phase(words, REPLAY, number, actions, True))
    return found


def _pulses(layout: ActionLayout, amplitude: float) -> np.ndarray:
    """Pulses (n, A) of each number of the arm, there and back, with pauses."""
    rows: list[np.ndarray] = []
    zeros = np.zeros(layout.action_dim, np.float32)
    for place, dimension in enumerate(layout.continuous_indices):
        for turn, sign in enumerate((1.0, -1.0)):
            pulse = zeros.copy()
            pulse[dimension] = sign * amplitude
            pause = PAUSES[(2 * place + turn) % len(PAUSES)]
            rows += [pulse] * PULSE_STEPS + [zeros] * pause
    return np.stack(rows)


class Prober:
    """Executor of the motions of a check.

    Args:
        env: env with all of its observations, guarded.
        clock: monotonic clock in seconds.

    Attributes:
        trials: what was recorded so far.
        starts: observations of all resets.
    """

    def __init__(self, env: gymnasium.Env, clock: Callable[[], float] = time.monotonic) -> None:
        self._env, self._clock = env, clock
        self._newest: Observation | None = None
        self.trials: list[RobotTrial] = []
        self.starts: list[Observation] = []

    def run(self, phase: Phase) -> None:
        """Makes the motions of a phase, with a reset where its episode ends; a replay ends with its episode.

        Raises:
            EnvFault: the env is faulty.
        """
        if phase.begins_anew or self._newest is None:
            self.reset()
        trial = self._begin(phase)
        for left, action in zip(reversed(range(len(phase.actions))), phase.actions, strict=True):
            trial.seconds.append(self._clock())
            observation, _, terminated, truncated, _ = self._env.step(action.copy())
            trial.actions.append(action)
            trial.observations.append(observation)
            self._newest = observation
            if terminated or truncated:
                self._newest = None
                if phase.kind == REPLAY or not left:
                    return
                self.reset()
                trial = self._begin(phase)

    def reset(self) -> None:
        """Starts an episode."""
        self._newest, _ = self._env.reset(seed=FIRST_SEED + len(self.starts))
        self.starts.append(self._newest)

    def _begin(self, phase: Phase) -> RobotTrial:
        assert self._newest is not None
        self.trials.append(RobotTrial(phase.kind, phase.number, observations=[self._newest]))
        return self.trials[-1]


@contextmanager
def held_at_end(env: gymnasium.Env) -> Iterator[None]:
    """Holds the robot at the end of the block, also after an error or Ctrl-C: by the env's `hold()`, and else by an
    action of zeros."""
    try:
        yield
    finally:
        hold = getattr(env.unwrapped, "hold", None)
        space: Any = env.action_space
        with suppress(EnvFault, gymnasium.error.ResetNeeded):  # such as that of an episode that has ended
            if callable(hold):
                hold()
            else:
                env.step(np.zeros(space.shape, np.float32))


def of_kind(trials: Sequence[RobotTrial], *kinds: str) -> list[RobotTrial]:
    """The trials of these kinds that have a step."""
    return [trial for trial in trials if trial.kind in kinds and trial.actions]


def pulses_of(trials: Sequence[RobotTrial]) -> list[RobotTrial]:
    """The trials in which the arm was moved by pulses."""
    return of_kind(trials, *(f"{amplitude:g}" for amplitude in AMPLITUDES))


def joined_vectors(observations: Mapping[str, np.ndarray]) -> tuple[list[str], np.ndarray]:
    """The vectors of a course as one array (n, D), with the name of each number."""
    names = [f"{key}[{i}]" for key, rows in observations.items() for i in range(rows.shape[1])]
    rows = [*observations.values()]
    return names, np.concatenate(rows, axis=1) if rows else np.zeros((0, 0))
