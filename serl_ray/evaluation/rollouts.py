"""How well a policy does: whole episodes, deterministic by default, with an interval around the success rate."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from scipy.stats import binomtest

from serl_ray.evaluation.video import Film

SUCCESS_RETURN = 0.5
"""Rewards are 0 or 1: an episode that has earned this much has succeeded."""

Act = Callable[[dict[str, np.ndarray]], np.ndarray]


@dataclass
class Episode:
    """One episode's outcome; true_success is what the env itself says where the reward is learned."""

    success: bool
    steps: int
    interventions: int
    true_success: bool = False


@dataclass
class Evaluation:
    """The outcomes of some episodes."""

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
        successes = sum(episode.success for episode in self.episodes)
        interval = binomtest(successes, len(self.episodes)).proportion_ci(0.95, method="wilson")
        return float(interval.low), float(interval.high)

    @property
    def mean_steps(self) -> float:
        return float(np.mean([episode.steps for episode in self.episodes]))

    @property
    def intervention_rate(self) -> float:
        """Share of steps at which a person or an expert acted."""
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
    act: Act, env: gymnasium.Env, episodes: int, seed: int, on_frame: Callable[[gymnasium.Env, bool], None] | None = None
) -> Iterator[Episode]:
    """Plays episodes one after the other.

    Args:
        act: observation -> action (A + G,).
        seed: of the first reset; the others follow from it, so two policies can be given the same episodes.
        on_frame: called after every reset and step, to take pictures, with the env and whether somebody intervened in the step.
    """
    for index in range(episodes):
        observation, _ = env.reset(seed=seed + index)
        episode = Episode(success=False, steps=0, interventions=0)
        earned, done, intervened = 0.0, False, False
        while not done:
            if on_frame:
                on_frame(env, intervened)
            observation, reward, terminated, truncated, info = env.step(act(observation))
            earned += float(reward)
            intervened = info.get("intervene_action") is not None
            episode.steps += 1
            episode.interventions += intervened
            done = terminated or truncated
        if on_frame:
            on_frame(env, intervened)
        episode.success = earned >= SUCCESS_RETURN
        episode.true_success = bool(info.get("success", episode.success))
        yield episode


def evaluate(act: Act, env: gymnasium.Env, episodes: int, seed: int = 10_000) -> Evaluation:
    """The outcomes of `episodes` episodes."""
    return Evaluation(list(run_episodes(act, env, episodes, seed)))


def deterministic(agent: Any) -> Act:
    """Acts with the policy's mode."""
    return lambda observation: agent.sample_actions(observation, argmax=True)


def record_video(act: Act, env: gymnasium.Env, path: Path, episodes: int, seed: int = 10_000) -> Evaluation:
    """Plays episodes and writes what `env.render()` shows of them, with a border while somebody intervenes.

    Raises:
        ValueError: the env has no pictures: its `render()` gives no array.
    """
    with Film(path) as film:
        return Evaluation(list(run_episodes(act, env, episodes, seed, film.take)))
