"""Recording of the steps of an episode as segments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, SupportsFloat

import numpy as np

from serl_ray.data.observations import Observation, stack_observations
from serl_ray.data.schema import ENV, EXECUTED, HELD, POLICY, SENT, Actors, Segment

FaultKind = Literal["error", "timeout", "lost", "not_finite", "wrong_shape", "wrong_action", "wrong_result"]
HELD_ACTION = "serl.held_action"
"""Key of `info` for the executed action of a step in which commands failed to come; see `teleop.wrapper`."""
TAIL = "serl.tail"
"""Key of `info` in a step of a person whose device, which has no clutch, was at rest; see `without_tails`."""
StepResult = tuple[Observation, SupportsFloat, bool, bool, dict[str, Any]]


class EnvFault(ValueError):
    """A fault of an env: an exception, a missed deadline, or an invalid result.

    Attributes:
        kind: kind of the fault.
    """

    def __init__(self, kind: FaultKind, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class EpisodeRecorder:
    """Recorder of an env's results, to be cut into segments.

    Args:
        episode: identity of the episode.
        observation: first observation, from the reset.
        has_policy: whether a policy chooses actions, so that segments tell their `Actors`; False for a recording of
            demonstrations.
    """

    def __init__(self, episode: str, observation: Observation, has_policy: bool = True) -> None:
        self._episode = episode
        self._first_step = 0
        self._observations = [observation]
        self._steps: list[tuple[Any, ...]] = []
        self._acted: list[tuple[np.ndarray, int, str]] | None = [] if has_policy else None
        self._successes: list[bool | None] = []  # as the env reports them
        self._number = 0
        self._intervening: tuple[str, int | None] | None = None  # its source, and its number by the env

    def __len__(self) -> int:
        """Steps since the last cut."""
        return len(self._steps)

    @property
    def interventions(self) -> int:
        """Number of these steps in which the operator acted."""
        return sum(number > 0 for *_, number, _ in self._steps)

    def add(self, action: np.ndarray, result: StepResult) -> bool:
        """Adds a step, and returns whether it was the last one of the episode.

        Args:
            action: action (A + G,) of the policy; `info["intervene_action"]`, if present, was executed instead, or
                `info[HELD_ACTION]`, which is nobody's. The source of a person's action is `info["intervene_source"]`,
                and `ENV` where that is missing. Consecutive steps of one source are one intervention; a change of
                `info["intervention"]`, a number, begins another one. With `info[TAIL]` the step may be of its tail.
                `info["executed_action"]` is what the robot made of the action, whoever chose it, and is stored.
            result: result of `env.step`, checked and copied at the border to the env (`envs.border.Border`).
        """
        observation, reward, terminated, truncated, info = result
        intervention = info.get(EXECUTED)
        chosen = info.get(HELD_ACTION, action) if intervention is None else intervention
        executed = info.get(SENT, chosen)
        reported = info.get("success")
        self._successes.append(None if reported is None else bool(reported))
        self._observations.append(observation)
        number, source = self._actor(info)
        penalty, tail = info.get("grasp_penalty", 0.0), info.get(TAIL, False)
        self._steps.append((executed, reward, terminated, truncated, penalty, number, tail))
        if self._acted is not None:
            self._acted.append((action, number, source))
        return terminated or truncated

    def _actor(self, info: dict[str, Any]) -> tuple[int, str]:
        """The number of the step's intervention in the episode and the source of its action."""
        if info.get(EXECUTED) is None:
            self._intervening = None
            return 0, HELD if HELD_ACTION in info else POLICY
        source = ENV if info.get("intervene_source") is None else info["intervene_source"]
        intervening = source, info.get("intervention")
        self._number += intervening != self._intervening
        self._intervening = intervening
        return self._number, source

    def cut(self, steps: int | None = None) -> Segment:
        """The segment of the first `steps` steps since the last cut, at least one, by default of all; the episode may
        continue."""
        steps = len(self) if steps is None else steps
        *columns, numbers, tails = zip(*self._steps, strict=True)
        intervened = without_tails(numbers, tails)[:steps]  # the steps after the cut tell whether a device moved again
        actions, rewards, terminateds, truncateds, penalties = (np.array(column[:steps]) for column in columns)
        segment = Segment(
            observations=stack_observations(self._observations[: steps + 1]),
            actions=actions,
            rewards=rewards,
            masks=1.0 - terminateds,
            dones=terminateds | truncateds,
            truncateds=truncateds,
            grasp_penalty=penalties,
            intervened=intervened,
            episode=self._episode,
            first_step=self._first_step,
            success=self._successes[steps - 1],
            actors=self._actors(steps),
        )
        self._first_step += steps
        self._observations = self._observations[steps:]
        self._steps, self._successes = self._steps[steps:], self._successes[steps:]
        if self._acted is not None:
            self._acted = self._acted[steps:]
        return segment

    def _actors(self, steps: int) -> Actors | None:
        if self._acted is None:
            return None
        return Actors(*(np.array(column) for column in zip(*self._acted[:steps], strict=True)))


def without_tails(numbers: Sequence[int], tails: Sequence[bool]) -> np.ndarray:
    """Flags (n,) of the steps that are demonstrations: those of interventions, without the tails of these.

    A device without a clutch ends its intervention some time after it has come to rest. The rest before the end is the
    intervention's tail, in which nobody meant to act; where the device moves once more, it was a pause and is none.

    Args:
        numbers: numbers (n,) of the steps' interventions, unique in their episode; 0 where no person acts.
        tails: flags (n,), true where the device was at rest.
    """
    kept, moved = [], 0
    for number, tail in zip(reversed(numbers), reversed(tails), strict=True):
        if number and not tail:
            moved = number
        kept.append(number > 0 and number == moved)
    return np.array(kept[::-1], bool)
