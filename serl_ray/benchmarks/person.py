"""The scripted expert as a person who watches a policy: when it takes over, when it lets go, and what its hands do."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from serl_ray.envs.tabletop.arm import LENGTH_UNIT, TRANSLATION_SCALE
from serl_ray.envs.tabletop.insert import SOCKET_DEPTH
from serl_ray.envs.tabletop.lift import LIFT_HEIGHT
from serl_ray.envs.wrappers import GRIPPER_THRESHOLD
from serl_ray.types import ActionLayout

STEP_SECONDS = 0.1
"""Seconds of a step, at 10 Hz."""
REACTION_STEPS = 3
"""Steps between a sight and the decision on it: 300 ms."""
PATIENCE = 10
"""Steps without a shorter way after which the person takes over: 1 s."""
AGREED = 5
"""Steps in a row in which the policy wanted the person's motion, after which the person lets go."""
LIKENESS = 0.5
"""Least cosine of two motions of the hand that are alike: they differ by 60 degrees at most."""
STANDING = 0.3
"""Length of a motion, as a share of full scale, under which the hand stands still."""
LEAST_PROGRESS = 0.05
"""Least change of the way that can be seen, in full-scale steps: 1 mm."""

OneArm = Literal["single-arm-learned-gripper", "single-arm-fixed-gripper"]
"""Set-ups whose scene the person understands."""
Rule = Callable[["Sight", bool], bool]
"""Decides at each sight whether the person drives, from the sight and whether it has driven so far."""


@dataclass(frozen=True, eq=False)
class Sight:
    """The scene as the person sees it.

    Attributes:
        episode: number of the episode.
        step: number of steps of it so far.
        way: length of the way that is left to the goal, in full-scale steps.
        action: action (A + G,) that the expert would take.
        wanted: action (A + G,) that the policy wanted in the step before, which the page shows; None after a reset.
        executed: action (A + G,) that the person executed in it; None where somebody else did.
    """

    episode: int
    step: int
    way: float
    action: np.ndarray
    wanted: np.ndarray | None = None
    executed: np.ndarray | None = None

    def agreement(self) -> bool | None:
        """True if the policy wanted the motion that was executed; None where the hand stood still."""
        if self.wanted is None or self.executed is None:
            return None
        wanted, executed = self.wanted[:3], self.executed[:3]
        if (length := float(np.linalg.norm(executed))) < STANDING:
            return None
        return bool(wanted @ executed >= LIKENESS * length * np.linalg.norm(wanted))


def way_left(setup_mode: OneArm, object_state: np.ndarray) -> float:
    """The way that is left in a task of the tabletop with one arm, in full-scale steps.

    Args:
        setup_mode: set-up of the task.
        object_state: the privileged state (D,) of the task.
    """
    if setup_mode == "single-arm-fixed-gripper":
        return float(np.linalg.norm(object_state[:3] - (0.0, 0.0, SOCKET_DEPTH / TRANSLATION_SCALE)))
    lift = max(LIFT_HEIGHT - float(object_state[6]) * LENGTH_UNIT, 0.0) / TRANSLATION_SCALE
    return float(np.linalg.norm(object_state[:3])) + lift


def never(sight: Sight, drives: bool) -> bool:
    """The rule of a person who only watches."""
    return False


class Straying:
    """Rule by which the person takes over when the policy strays, and lets go when it is back on its way.

    The policy strays when the way that is left has not become shorter than ever in this episode, or since the last
    hand-back, for `PATIENCE` steps. It is back when it has wanted the person's own motion in `AGREED` steps in a row;
    those in which the hand stands still do not count. Each decision is on a sight of `REACTION_STEPS` steps ago.
    """

    def __init__(self) -> None:
        self._unseen: deque[Sight] = deque()
        self._shortest, self._stalled, self._agreed = np.inf, 0, 0

    def __call__(self, sight: Sight, drives: bool) -> bool:
        if sight.step == 0:
            self._unseen.clear()
            self._watch(np.inf)
        self._unseen.append(sight)
        if len(self._unseen) <= REACTION_STEPS:
            return drives
        seen = self._unseen.popleft()
        if drives:
            if (agrees := seen.agreement()) is not None:
                self._agreed = self._agreed + 1 if agrees else 0
            if self._agreed < AGREED:
                return True
            self._watch(seen.way)
            return False
        is_shorter = seen.way < self._shortest - LEAST_PROGRESS
        self._shortest, self._stalled = (seen.way, 0) if is_shorter else (self._shortest, self._stalled + 1)
        self._agreed = 0
        return self._stalled >= PATIENCE

    def _watch(self, way: float) -> None:
        """From now on the policy must make the way shorter than this."""
        self._shortest, self._stalled, self._agreed = way, 0, 0


class AtRandom:
    """Rule by which the person drives at random moments, whatever the policy does: a two-state Markov chain.

    Args:
        share: share of all steps in which the person drives, in [0, 1).
        mean_length: mean length of an intervention in steps, at least 1.
        rng: source of the randomness.
    """

    def __init__(self, share: float, mean_length: float, rng: np.random.Generator) -> None:
        self._stop = 1.0 / mean_length
        self._start = min(share * self._stop / (1.0 - share), 1.0)
        self._rng, self._wants = rng, False

    def __call__(self, sight: Sight, drives: bool) -> bool:
        self._wants = self._rng.random() < (1.0 - self._stop if self._wants else self._start)
        return self._wants and sight.step > 0


@dataclass(frozen=True, eq=False)
class PersonHands:
    """The state of the person's device.

    Attributes:
        clutch: whether it is held.
        action: motion (A + G,) of the continuous dimensions; grippers are pressed.
        presses: grippers to close (-1) or open (1), by their index.
    """

    clutch: bool
    action: np.ndarray
    presses: dict[int, int]


class Person:
    """The scripted expert with a rule of when to drive, and Gaussian noise on its motion.

    Args:
        rule: decides when it drives.
        layout: layout of the action.
        noise: standard deviation of the noise, as a share of full scale.
        rng: source of the noise.
    """

    def __init__(self, rule: Rule, layout: ActionLayout, noise: float, rng: np.random.Generator) -> None:
        self._rule, self._layout, self._noise, self._rng = rule, layout, noise, rng
        self._seen: tuple[int, int] | None = None
        self.hands = PersonHands(False, np.zeros(layout.action_dim, np.float32), {})

    def look(self, sight: Sight) -> PersonHands:
        """The hands' answer to a sight; one that has been answered already has the same answer, without presses."""
        if self._seen == (sight.episode, sight.step):
            return PersonHands(self.hands.clutch, self.hands.action, {})
        self._seen = sight.episode, sight.step
        drove = self.hands.clutch and sight.step > 0
        clutch = self._rule(sight, drove)
        action = np.zeros(self._layout.action_dim, np.float32)
        continuous = list(self._layout.continuous_indices)
        noise = self._noise * self._rng.standard_normal(len(continuous))
        action[continuous] = (sight.action[continuous] + noise).clip(-1.0, 1.0)
        grips = sight.action[list(self._layout.gripper_indices)]
        # A press needs a clutch that is held already.
        presses = {i: int(np.sign(grip)) for i, grip in enumerate(grips) if abs(grip) >= GRIPPER_THRESHOLD}
        self.hands = PersonHands(clutch, action, presses if clutch and drove else {})
        return self.hands
