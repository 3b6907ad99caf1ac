"""From the steps of an episode, one by one, to its segments."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from serl_ray.data.observations import Observation, stack_observations
from serl_ray.data.schema import ACTION_TOLERANCE, Segment

FaultKind = Literal["error", "timeout", "not_finite", "wrong_shape", "wrong_action"]
StepResult = tuple[Observation, float, bool, bool, dict[str, Any]]


class EnvFault(ValueError):
    """An env has raised, has taken too long, or has returned what it may not.

    Attributes:
        kind: which of these.
    """

    def __init__(self, kind: FaultKind, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class EpisodeRecorder:
    """Collects what an env returns, until the episode is over or what there is so far is wanted.

    Args:
        episode: identity of the episode.
        observation: the one after the reset.
    """

    def __init__(self, episode: str, observation: Observation) -> None:
        self._episode = episode
        self._first_step = 0
        self._observations = [observation]
        self._steps: list[tuple[Any, ...]] = []

    def __len__(self) -> int:
        """Steps since the last cut."""
        return len(self._steps)

    @property
    def interventions(self) -> int:
        """Of these, the steps that a person made."""
        return sum(intervened for *_, intervened in self._steps)

    def add(self, action: np.ndarray, result: StepResult) -> bool:
        """A step; returns whether it was the last of the episode.

        Args:
            action: (A + G,), what the policy chose. Where `info` has an `intervene_action`, that is what was executed.
            result: what `env.step` returned.
        """
        check_step(action, result)
        observation, reward, terminated, truncated, info = result
        intervention = info.get("intervene_action")
        executed = action if intervention is None else intervention
        self._observations.append(observation)
        self._steps.append((executed, reward, terminated, truncated, info.get("grasp_penalty", 0.0), intervention is not None))
        return terminated or truncated

    def cut(self) -> Segment:
        """The steps since the last cut, at least one; the episode may go on."""
        actions, rewards, terminateds, truncateds, penalties, intervened = (
            np.array(column) for column in zip(*self._steps, strict=True)
        )
        segment = Segment(
            observations=stack_observations(self._observations),
            actions=actions,
            rewards=rewards,
            masks=1.0 - terminateds,
            dones=terminateds | truncateds,
            truncateds=truncateds,
            grasp_penalty=penalties,
            intervened=intervened,
            episode=self._episode,
            first_step=self._first_step,
        )
        self._first_step += len(segment)
        self._observations, self._steps = self._observations[-1:], []
        return segment


def check_step(action: np.ndarray, result: StepResult) -> None:
    """Raises EnvFault for what would be refused when it is read again: better before it is recorded than after."""
    observation, reward, _, _, info = result
    for name, value in (("reward", reward), ("info['grasp_penalty']", info.get("grasp_penalty", 0.0))):
        if not (np.ndim(value) == 0 and np.asarray(value).dtype.kind in "biuf" and np.isfinite(value)):
            raise EnvFault("not_finite", f"The env's {name} is {value!r}: return one finite number.")
    for key, array in observation.items():
        if array.ndim == 1 and array.dtype.kind == "f" and not np.isfinite(array).all():
            message = f"The env's observation {key!r} holds NaN or infinity: mend it, or end the episode before."
            raise EnvFault("not_finite", message)
    if info.get("intervene_action") is None:
        return
    person = np.asarray(info["intervene_action"])
    if person.shape != np.shape(action) or person.dtype.kind not in "biuf" or not (np.abs(person) <= 1 + ACTION_TOLERANCE).all():
        raise EnvFault(
            "wrong_action",
            f"info['intervene_action'] is {person} ({person.dtype} {person.shape}): give the whole action that was executed, "
            f"{np.shape(action)} numbers in [-1, 1].",
        )
