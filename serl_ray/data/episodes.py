"""Recording of the steps of an episode as segments."""

from __future__ import annotations

from typing import Any, Literal, SupportsFloat

import numpy as np

from serl_ray.data.observations import Observation, stack_observations
from serl_ray.data.schema import Segment

FaultKind = Literal["error", "timeout", "not_finite", "wrong_shape", "wrong_action", "wrong_result"]
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
    """

    def __init__(self, episode: str, observation: Observation) -> None:
        self._episode = episode
        self._first_step = 0
        self._observations = [observation]
        self._steps: list[tuple[Any, ...]] = []
        self._success: bool | None = None

    def __len__(self) -> int:
        """Steps since the last cut."""
        return len(self._steps)

    @property
    def interventions(self) -> int:
        """Number of these steps in which the operator acted."""
        return sum(intervened for *_, intervened in self._steps)

    def add(self, action: np.ndarray, result: StepResult) -> bool:
        """Adds a step, and returns whether it was the last one of the episode.

        Args:
            action: action (A + G,) of the policy; `info["intervene_action"]`, if present, was executed instead.
            result: result of `env.step`, checked and copied at the border to the env (`envs.border.Border`).
        """
        observation, reward, terminated, truncated, info = result
        intervention = info.get("intervene_action")
        executed = action if intervention is None else intervention
        reported = info.get("success")
        self._success = None if reported is None else bool(reported)
        self._observations.append(observation)
        self._steps.append(
            (executed, reward, terminated, truncated, info.get("grasp_penalty", 0.0), intervention is not None)
        )
        return terminated or truncated

    def cut(self) -> Segment:
        """The segment of the steps since the last cut, at least one; the episode may continue."""
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
            success=self._success,
        )
        self._first_step += len(segment)
        self._observations, self._steps = self._observations[-1:], []
        return segment
