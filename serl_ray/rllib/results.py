"""Results under RLlib's names, beside the metrics: Tune, and what is written for RLlib, find a run's numbers there."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from ray.rllib.evaluation.metrics import summarize_episodes
from ray.rllib.policy.sample_batch import DEFAULT_POLICY_ID
from ray.rllib.utils.metrics import (
    ENV_RUNNER_RESULTS,
    NUM_AGENT_STEPS_SAMPLED_LIFETIME,
    NUM_AGENT_STEPS_SAMPLED_THIS_ITER,
    NUM_ENV_STEPS_SAMPLED_LIFETIME,
    NUM_ENV_STEPS_SAMPLED_THIS_ITER,
    NUM_ENV_STEPS_TRAINED_LIFETIME,
)
from ray.rllib.utils.metrics.learner_info import LEARNER_INFO, LEARNER_STATS_KEY

from serl_ray.rllib.callbacks import EpisodeMetrics

LEARNT = ("critic", "grasp_critic", "actor", "temperature")
"""Groups of metrics that are RLlib's `learner_stats`."""


class RunResults:
    """The part of a run's results that has RLlib's names.

    Args:
        window: episodes that a result is about, where fewer have ended since the one before.
        keep_custom: whether each episode's custom metrics are reported, in place of their mean, least and greatest
            value.
    """

    def __init__(self, window: int, keep_custom: bool) -> None:
        self._window, self._keep_custom = window, keep_custom
        self._earlier: list[EpisodeMetrics] = []
        self._new: list[EpisodeMetrics] = []
        self._learnt: dict[str, list[float]] = defaultdict(list)

    def add_episodes(self, episodes: Iterable[EpisodeMetrics]) -> None:
        """Adds episodes that have ended."""
        self._new.extend(episodes)

    def add_learnt(self, custom_metrics: Mapping[str, float]) -> None:
        """Adds what `on_learn_on_batch` wrote into its result."""
        for name, value in custom_metrics.items():
            self._learnt[name].append(value)

    def take(self, metrics: Mapping[str, float], env_steps: int, env_steps_before: int, trained: int) -> dict[str, Any]:
        """The result for the time since the one before.

        Args:
            metrics: the run's own, by their names.
            env_steps: env steps so far.
            env_steps_before: env steps up to the result before.
            trained: transitions that the learner has drawn so far.
        """
        new, self._new = self._new, []
        missing = max(self._window - len(new), 0)
        self._earlier = (self._earlier[-missing:] if missing else []) + new
        learnt = {name: float(np.mean(values)) for name, values in self._learnt.items()}
        self._learnt.clear()
        counts = dict.fromkeys((NUM_ENV_STEPS_SAMPLED_LIFETIME, NUM_AGENT_STEPS_SAMPLED_LIFETIME), env_steps)
        in_this = (NUM_ENV_STEPS_SAMPLED_THIS_ITER, NUM_AGENT_STEPS_SAMPLED_THIS_ITER)
        stats = {name: value for name, value in metrics.items() if name.split("/")[0] in LEARNT}
        return {
            ENV_RUNNER_RESULTS: summarize_episodes(self._earlier, new, self._keep_custom) | counts,
            **counts,
            **dict.fromkeys(in_this, env_steps - env_steps_before),
            NUM_ENV_STEPS_TRAINED_LIFETIME: trained,
            "episodes_this_iter": len(new),
            "info": {LEARNER_INFO: {DEFAULT_POLICY_ID: {LEARNER_STATS_KEY: stats, "custom_metrics": learnt}}},
        }


def evaluation_results(episodes: Sequence[EpisodeMetrics], keep_custom: bool) -> dict[str, Any]:
    """Episodes that an evaluation has played, as `Algorithm.evaluate` of RLlib's classic stack reports them."""
    counts = (NUM_AGENT_STEPS_SAMPLED_THIS_ITER, NUM_ENV_STEPS_SAMPLED_THIS_ITER, "timesteps_this_iter")
    steps = sum(episode.episode_length for episode in episodes)
    return {ENV_RUNNER_RESULTS: summarize_episodes(episodes, episodes, keep_custom), **dict.fromkeys(counts, steps)}
