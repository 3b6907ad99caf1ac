"""Evaluation of a policy by whole episodes, with an interval of the success rate."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from serl_ray.data.episodes import EnvFault
from serl_ray.data.rewards import SUCCESS_RETURN, succeeded
from serl_ray.evaluation.video import VideoFile

logger = logging.getLogger(__name__)

Act = Callable[[dict[str, np.ndarray]], np.ndarray]


@dataclass
class Episode:
    """Outcome of an episode.

    Attributes:
        success: whether it was a success, by the run's rule (`data.rewards.succeeded`); None where nobody knows.
        steps: number of steps.
        interventions: number of steps with an intervention.
        true_success: whether the env itself reports a success, for learned rewards; by default as `success`.
        total_reward: sum of its rewards.
    """

    success: bool | None
    steps: int
    interventions: int
    true_success: bool | None = None
    total_reward: float = 0.0


@dataclass
class Evaluation:
    """Outcomes of episodes; rates are NaN where no episode's success is known."""

    episodes: list[Episode] = field(default_factory=list)

    @property
    def success_rate(self) -> float:
        return rate([episode.success for episode in self.episodes])

    @property
    def true_success_rate(self) -> float:
        return rate([episode.true_success for episode in self.episodes])

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % Wilson interval of the success rate (Wilson 1927)."""
        from scipy.stats import binomtest  # takes seconds to import, and every rollout worker has this file

        known = [episode.success for episode in self.episodes if episode.success is not None]
        if not known:
            return math.nan, math.nan
        interval = binomtest(sum(known), len(known)).proportion_ci(0.95, method="wilson")
        return float(interval.low), float(interval.high)

    @property
    def mean_return(self) -> float:
        """Mean sum of the rewards of an episode, without a discount."""
        return float(np.mean([episode.total_reward for episode in self.episodes]))

    @property
    def mean_steps(self) -> float:
        return float(np.mean([episode.steps for episode in self.episodes]))

    @property
    def intervention_rate(self) -> float:
        """Share of steps in which the operator or an expert acted."""
        return sum(e.interventions for e in self.episodes) / sum(e.steps for e in self.episodes)

    def __str__(self) -> str:
        success, truth, (low, high) = self.success_rate, self.true_success_rate, self.interval
        parts = [] if math.isnan(success) else [f"success {success:.2f} [{low:.2f}, {high:.2f}]"]
        if truth != success and not math.isnan(truth):
            parts.append(f"({truth:.2f} in truth)")
        if self.mean_return != success:
            parts.append(f"return {self.mean_return:.4g}")
        return (
            f"{' '.join(parts)} in {len(self.episodes)} episodes, "
            f"{self.mean_steps:.1f} steps, {self.intervention_rate:.0%} interventions"
        )

    def metrics(self) -> dict[str, float]:
        low, high = self.interval
        return {
            "evaluation/success_rate": self.success_rate,
            "evaluation/success_low": low,
            "evaluation/success_high": high,
            "evaluation/true_success_rate": self.true_success_rate,
            "evaluation/mean_return": self.mean_return,
            "evaluation/mean_steps": self.mean_steps,
            "evaluation/intervention_rate": self.intervention_rate,
            "evaluation/episodes": float(len(self.episodes)),
        }


def run_episodes(
    act: Act,
    env: gymnasium.Env,
    episodes: int,
    seed: int,
    on_frame: Callable[[gymnasium.Env, bool], None] | None = None,
    success_return: float | None = SUCCESS_RETURN,
    max_faults: int = 0,
) -> Iterator[Episode]:
    """Plays episodes one after the other.

    Args:
        act: function from an observation to an action (A + G,).
        env: env to play in.
        episodes: number of episodes.
        seed: seed of the first reset; each later reset adds 1, so several policies can play the same episodes.
        on_frame: function called after every reset and step, for videos, with the env and whether the step had an
            intervention.
        success_return: sum of rewards from which an episode is a success; None if `info["success"]` decides.
        max_faults: number of times in a row that an episode is played again after a fault of the env.

    Raises:
        EnvFault: the env has failed more often.
    """
    in_a_row = 0
    for index in range(episodes):
        while True:
            try:
                episode = _play_episode(act, env, seed + index, on_frame, success_return)
            except EnvFault as fault:
                in_a_row += 1
                if in_a_row > max_faults:
                    raise
                logger.warning("Episode %d is played again. %s", index + 1, fault)
            else:
                break
        in_a_row = 0
        yield episode


def _play_episode(
    act: Act,
    env: gymnasium.Env,
    seed: int,
    on_frame: Callable[[gymnasium.Env, bool], None] | None,
    success_return: float | None,
) -> Episode:
    observation, _ = env.reset(seed=seed)
    episode = Episode(success=False, steps=0, interventions=0)
    done, intervened = False, False
    while not done:
        if on_frame:
            on_frame(env, intervened)
        observation, reward, terminated, truncated, info = env.step(act(observation))
        episode.total_reward += float(reward)
        intervened = info.get("intervene_action") is not None
        episode.steps += 1
        episode.interventions += intervened
        done = terminated or truncated
    if on_frame:
        on_frame(env, intervened)
    reported = None if info.get("success") is None else bool(info["success"])
    episode.success = succeeded(episode.total_reward, reported, success_return)
    episode.true_success = episode.success if reported is None else reported
    return episode


def rate(flags: Sequence[bool | None]) -> float:
    """The share of true flags among those that are known; NaN where none is."""
    known = [flag for flag in flags if flag is not None]
    return float(np.mean(known)) if known else math.nan


def evaluate(
    act: Act,
    env: gymnasium.Env,
    episodes: int,
    seed: int = 10_000,
    success_return: float | None = SUCCESS_RETURN,
    max_faults: int = 0,
) -> Evaluation:
    """Plays episodes and returns their outcomes; for the arguments see `run_episodes`."""
    return Evaluation(list(run_episodes(act, env, episodes, seed, None, success_return, max_faults)))


def deterministic(agent: Any) -> Act:
    """The `Act` that takes the policy's mode."""
    return lambda observation: agent.sample_actions(observation, argmax=True)


def record_video(
    act: Act,
    env: gymnasium.Env,
    path: Path,
    episodes: int,
    seed: int = 10_000,
    success_return: float | None = SUCCESS_RETURN,
    max_faults: int = 0,
) -> Evaluation:
    """Plays episodes and writes a video of `env.render()`, with a border during interventions; see `run_episodes`.

    Raises:
        ValueError: the env's `render()` gives no array.
    """
    with VideoFile(path) as video:
        return Evaluation(list(run_episodes(act, env, episodes, seed, video.take, success_return, max_faults)))
