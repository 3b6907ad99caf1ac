"""Evaluation of a policy by whole episodes, with an interval of the success rate."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from serl_ray.evaluation.video import Film

SUCCESS_RETURN = 0.5
"""Sum of rewards, which are 0 or 1, from which an episode counts as a success."""

Act = Callable[[dict[str, np.ndarray]], np.ndarray]


@dataclass
class Episode:
    """Outcome of an episode.

    Attributes:
        success: whether the rewards add up to a success.
        steps: number of steps.
        interventions: number of steps with an intervention.
        true_success: whether the env itself reports a success, for learned rewards.
        total_reward: sum of its rewards.
    """

    success: bool
    steps: int
    interventions: int
    true_success: bool = False
    total_reward: float = 0.0


@dataclass
class Evaluation:
    """Outcomes of episodes."""

    episodes: list[Episode] = field(default_factory=list)

    @property
    def success_rate(self) -> float:
        return float(np.mean([episode.success for episode in self.episodes]))

    @property
    def true_success_rate(self) -> float:
        return float(np.mean([episode.true_success for episode in self.episodes]))

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % Wilson interval of the success rate (Wilson 1927)."""
        from scipy.stats import binomtest  # takes seconds to import, and every rollout worker has this file

        successes = sum(episode.success for episode in self.episodes)
        interval = binomtest(successes, len(self.episodes)).proportion_ci(0.95, method="wilson")
        return float(interval.low), float(interval.high)

    @property
    def mean_steps(self) -> float:
        return float(np.mean([episode.steps for episode in self.episodes]))

    @property
    def intervention_rate(self) -> float:
        """Share of steps in which a person or an expert acted."""
        return sum(e.interventions for e in self.episodes) / sum(e.steps for e in self.episodes)

    def __str__(self) -> str:
        low, high = self.interval
        truth = "" if self.true_success_rate == self.success_rate else f"({self.true_success_rate:.2f} in truth) "
        return (
            f"success {self.success_rate:.2f} [{low:.2f}, {high:.2f}] {truth}in {len(self.episodes)} episodes, "
            f"{self.mean_steps:.1f} steps, {self.intervention_rate:.0%} interventions"
        )

    def metrics(self) -> dict[str, float]:
        low, high = self.interval
        return {
            "evaluation/success_rate": self.success_rate,
            "evaluation/success_low": low,
            "evaluation/success_high": high,
            "evaluation/true_success_rate": self.true_success_rate,
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
) -> Iterator[Episode]:
    """Plays episodes one after the other.

    Args:
        act: function from an observation to an action (A + G,).
        env: env to play in.
        episodes: number of episodes.
        seed: seed of the first reset; each later reset adds 1, so several policies can play the same episodes.
        on_frame: function called after every reset and step, for videos, with the env and whether the step had an
            intervention.
    """
    for index in range(episodes):
        observation, _ = env.reset(seed=seed + index)
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
        episode.success = episode.total_reward >= SUCCESS_RETURN
        episode.true_success = bool(info.get("success", episode.success))
        yield episode


def evaluate(act: Act, env: gymnasium.Env, episodes: int, seed: int = 10_000) -> Evaluation:
    """Plays episodes and returns their outcomes."""
    return Evaluation(list(run_episodes(act, env, episodes, seed)))


def deterministic(agent: Any) -> Act:
    """The `Act` that takes the policy's mode."""
    return lambda observation: agent.sample_actions(observation, argmax=True)


def record_video(act: Act, env: gymnasium.Env, path: Path, episodes: int, seed: int = 10_000) -> Evaluation:
    """Plays episodes and writes a video of `env.render()`, with a border during interventions.

    Raises:
        ValueError: the env's `render()` gives no array.
    """
    with Film(path) as film:
        return Evaluation(list(run_episodes(act, env, episodes, seed, film.take)))
