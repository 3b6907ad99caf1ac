"""From the steps of an episode, one by one, to its segment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from serl_ray.data.schema import Segment

Observation = Mapping[str, np.ndarray]


class EpisodeRecorder:
    """Collects what an env returns until the episode is over.

    Args:
        episode: identity of the episode.
        observation: the one after the reset.
    """

    def __init__(self, episode: str, observation: Observation) -> None:
        self._episode = episode
        self._observations = [observation]
        self._steps: list[tuple[Any, ...]] = []

    def __len__(self) -> int:
        return len(self._steps)

    def add(self, action: np.ndarray, result: tuple[Observation, float, bool, bool, dict[str, Any]], intervened: bool) -> None:
        """A step.

        Args:
            action: (A + G,), the one that was executed.
            result: what `env.step` returned.
            intervened: whether a person or an expert chose the action.
        """
        observation, reward, terminated, truncated, info = result
        self._observations.append(observation)
        self._steps.append((action, reward, terminated, truncated, info.get("grasp_penalty", 0.0), intervened))

    def segment(self) -> Segment:
        """The episode so far."""
        actions, rewards, terminateds, truncateds, penalties, intervened = (
            np.array(column) for column in zip(*self._steps, strict=True)
        )
        return Segment(
            observations={key: np.stack([o[key] for o in self._observations]) for key in self._observations[0]},
            actions=actions,
            rewards=rewards,
            masks=1.0 - terminateds,
            dones=terminateds | truncateds,
            truncateds=truncateds,
            grasp_penalty=penalties,
            intervened=intervened,
            episode=self._episode,
        )
