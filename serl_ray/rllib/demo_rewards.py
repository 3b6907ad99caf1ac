"""Check of the rewards of demonstrations against the options of a run."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from statistics import median

import numpy as np

from serl_ray.data.rewards import invisible_success
from serl_ray.data.schema import Segment
from serl_ray.options.sets import TrainingOptions

logger = logging.getLogger(__name__)

EpisodeRewards = tuple[str, np.ndarray, bool]
"""Episode, consecutive rewards (n,) of it, and whether it ends with them."""


def rewards_of(segments: Iterable[Segment]) -> Iterator[EpisodeRewards]:
    """The rewards of segments."""
    return ((str(segment.episode), segment.rewards, bool(segment.dones[-1])) for segment in segments)


def checked_lengths(options: TrainingOptions, rewards: Iterable[EpisodeRewards]) -> dict[str, int]:
    """Transitions of each episode, in the order of the data. A warning says if the discount hides their success.

    Raises:
        RewardError: the rewards of an episode contradict `max_return`.
    """
    bound, lengths = options.return_bound(), dict[str, int]()
    for episode, earned, is_over in rewards:
        bound.check(earned, is_over, f"demonstration {episode}")
        lengths[episode] = lengths.get(episode, 0) + len(earned)
    steps = median(lengths.values()) if lengths and options.reward.reward == "sparse" else 0
    if hidden := invisible_success(steps, options.agent.discount):
        logger.warning("The demonstrations are long. %s", hidden)
    return lengths
