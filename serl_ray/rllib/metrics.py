"""One fixed list of metrics: every key is in every result, NaN where nothing is known yet."""

from __future__ import annotations

import logging
import math
from collections import defaultdict, deque
from collections.abc import Mapping
from typing import Any

import numpy as np

from serl_ray.data.rewards import MAX_RUNNING, succeeded, unusual_reward
from serl_ray.data.schema import Segment
from serl_ray.evaluation.rollouts import Episode, rate
from serl_ray.options.groups import RewardOptions
from serl_ray.rllib.failures import FaultLog
from serl_ray.teleop.report import COUNTED

logger = logging.getLogger(__name__)

METRICS = (
    "env/steps",
    "env/steps_per_second",
    "env/episodes",
    "env/success_rate",
    "env/autonomous_success_rate",
    "env/autonomous_episodes",
    "env/mean_return",
    "env/mean_steps",
    "env/intervention_rate",
    "learner/steps",
    "learner/steps_per_second",
    "learner/utd_ratio",
    "learner/acting_weights_age",
    "learner/data_wait",
    "operator/interventions",
    "operator/mean_length",
    "operator/steps_to_takeover",
    "operator/success_after_hand_back",
    "operator/seconds_per_step",
    "operator/reset_seconds",
    "operator/loop_age_p50",
    "operator/loop_age_p95",
    *(f"operator/{name}" for name in COUNTED),
    "buffer/online_size",
    "buffer/demo_size",
    "buffer/interventions",
    *FaultLog().counts,
    "critic/loss",
    "critic/q_mean",
    "critic/q_max",
    "critic/q_over_bound",
    "critic/target_mean",
    "grasp_critic/loss",
    "grasp_critic/q_mean",
    "grasp_critic/target_mean",
    "grasp_critic/imitation_loss",
    "actor/loss",
    "actor/entropy",
    "actor/imitation_loss",
    "actor/imitation_share",
    "temperature/loss",
    "temperature/value",
    "held_out/action_error",
    "held_out/grasp_accuracy",
    "held_out/q_mean",
    "held_out/q_max",
    "held_out/value_error",
    "evaluation/at_step",
    "evaluation/success_rate",
    "evaluation/success_low",
    "evaluation/success_high",
    "evaluation/true_success_rate",
    "evaluation/mean_return",
    "evaluation/mean_steps",
    "evaluation/intervention_rate",
    "evaluation/episodes",
)
RECENT_EPISODES = 20
"""Episodes in the running averages of `env/...`."""
MOST = 2**53


def is_count(value: Any) -> bool:
    """True for a whole number that is not negative and that a float can hold."""
    return type(value) is int and 0 <= value <= MOST


class MetricsLog:
    """Numbers between two results: some are averaged, of the others the latest counts."""

    def __init__(self) -> None:
        self._latest = dict.fromkeys(METRICS, math.nan)
        self._collected: dict[str, list[float]] = defaultdict(list)

    def set(self, values: Mapping[str, float]) -> None:
        """The latest value counts, in every result from now on."""
        self._check(values)
        self._latest.update(values)

    def average(self, values: Mapping[str, float]) -> None:
        """The mean over the time since the last result counts."""
        self._check(values)
        for name, value in values.items():
            self._collected[name].append(value)

    def result(self) -> dict[str, float]:
        """All metrics; averages start anew."""
        self._latest.update({name: float(np.mean(values)) for name, values in self._collected.items()})
        self._collected.clear()
        return dict(self._latest)

    def known(self, *groups: str) -> dict[str, float]:
        """The latest values of these groups of metrics, without those that are not known yet."""
        return {
            name: value
            for name, value in self._latest.items()
            if name.split("/")[0] in groups and not math.isnan(value)
        }

    @staticmethod
    def _check(values: Mapping[str, float]) -> None:
        if unknown := values.keys() - set(METRICS):
            raise ValueError(f"{', '.join(sorted(unknown))} is not in the list of metrics.")


class EpisodeLog:
    """Puts episodes together from the segments of the rollout workers.

    Args:
        reward: options of the reward, which say what a success is.
    """

    def __init__(self, reward: RewardOptions | None = None) -> None:
        reward = reward or RewardOptions()
        self._success_return = reward.success_return
        self._says_rule = not reward.stage_classifiers  # whose rewards are parts of 1
        self.num_episodes = 0
        self._recent: deque[Episode] = deque(maxlen=RECENT_EPISODES)
        self._running: dict[str, tuple[float, int, int]] = {}

    def add(self, segment: Segment) -> Episode | None:
        """Adds a segment and returns the episode that ends with it; rewards other than 0 and 1 are named once, with the
        rule by which episodes count as a success."""
        if self._says_rule and (unusual := unusual_reward(segment.rewards, self._success_return)):
            logger.warning(unusual)
            self._says_rule = False
        earned, steps, interventions = self._running.pop(segment.episode, (0.0, 0, 0))
        earned += float(segment.rewards.sum())
        steps += len(segment)
        interventions += int(segment.by_person.sum())
        if segment.dones[-1]:
            self.num_episodes += 1
            success = succeeded(earned, segment.success, self._success_return)
            self._recent.append(Episode(success, steps, interventions, segment.success, earned))
            return self._recent[-1]
        self._running[segment.episode] = (earned, steps, interventions)
        if len(self._running) > MAX_RUNNING:  # the oldest was dropped, as after a fault of its env
            del self._running[next(iter(self._running))]
        return None

    def to_json(self) -> dict[str, Any]:
        """The part of the log that a resumed run needs."""
        return {"number": self.num_episodes, "recent": [vars(episode) for episode in self._recent]}

    @classmethod
    def from_json(cls, described: dict[str, Any], reward: RewardOptions | None = None) -> EpisodeLog:
        """The reverse of `to_json`; episodes that were under way are over.

        Raises:
            KeyError, TypeError, ValueError: it is not what was written.
        """
        log = cls(reward)
        log.num_episodes = described["number"]
        if not is_count(log.num_episodes):
            raise ValueError(f"number of episodes is {log.num_episodes!r:.200}; it must be a whole number from 0")
        log._recent.extend(_episode(described) for described in described["recent"])
        return log

    def metrics(self) -> dict[str, float]:
        """Running averages over the last episodes; of success also over those of them in which nobody intervened."""
        if not self._recent:
            return {"env/episodes": 0.0}
        steps = sum(episode.steps for episode in self._recent)
        alone = [episode.success for episode in self._recent if not episode.interventions]
        return {
            "env/episodes": float(self.num_episodes),
            "env/success_rate": rate([episode.success for episode in self._recent]),
            "env/autonomous_success_rate": rate(alone),
            "env/autonomous_episodes": float(len(alone)),
            "env/mean_return": float(np.mean([episode.total_reward for episode in self._recent])),
            "env/mean_steps": steps / len(self._recent),
            "env/intervention_rate": sum(episode.interventions for episode in self._recent) / steps,
        }


def _episode(described: dict[str, Any]) -> Episode:
    """The reverse of `vars(episode)`."""
    episode = Episode(**described)
    if not {type(episode.success), type(episode.true_success)} <= {bool, type(None)}:
        raise ValueError(
            f"success is {episode.success!r:.200} and {episode.true_success!r:.200}; it must be true, false or null"
        )
    if not (is_count(episode.steps) and episode.steps >= 1 and is_count(episode.interventions)):
        raise ValueError(
            f"an episode has {episode.steps!r:.200} steps and {episode.interventions!r:.200} interventions"
        )
    return episode
