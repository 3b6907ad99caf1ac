"""Check of the rewards of demonstrations against the options of a run."""

from __future__ import annotations

import logging
from statistics import median

import numpy as np

from serl_ray.data.rewards import RewardError, foreign_reward, invisible_success
from serl_ray.options.sets import TrainingOptions

logger = logging.getLogger(__name__)


class DemoRewards:
    """The rewards of demonstrations, segment by segment.

    Attributes:
        lengths: transitions of each episode, in the order of the data.
    """

    def __init__(self, options: TrainingOptions) -> None:
        self._bound, self._discount = options.return_bound(), options.discount
        self._is_sparse = options.reward.reward == "sparse"
        self._stages = len(options.reward.stage_classifiers) + 1
        self.lengths: dict[str, int] = {}

    def add(self, episode: str, rewards: np.ndarray, is_over: bool) -> None:
        """Takes consecutive rewards (n,) of an episode; `is_over` says whether it ends with them.

        Raises:
            RewardError: they contradict `max_return`, or are of another number of stages.
        """
        if self._stages > 1 and (reward := foreign_reward(rewards, self._stages)) is not None:
            raise RewardError(
                f"demonstration {episode}: a reward of {reward:g} is none of a task of {self._stages} stages. Record "
                "with the same --stage_classifiers and --classifier as the run's."
            )
        self._bound.check(rewards, is_over, f"demonstration {episode}")
        self.lengths[episode] = self.lengths.get(episode, 0) + len(rewards)

    def warn_if_hidden(self) -> None:
        """Logs a warning if the discount hides a success from the first step of most episodes."""
        if (
            self._is_sparse
            and self.lengths
            and (hidden := invisible_success(median(self.lengths.values()), self._discount))
        ):
            logger.warning("The demonstrations are long. %s", hidden)
