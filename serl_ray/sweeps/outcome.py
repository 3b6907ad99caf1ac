"""Outcome of a sweep: trials, configurations, and the best of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import mean
from typing import Any


@dataclass
class Trial:
    """One trial of a sweep.

    Attributes:
        values: values of the searched options.
        score: last value of the metric; NaN where there is none.
        curve: (steps, metric) as they came; for a classifier the score alone.
        seconds: duration of training, without what Tune adds.
        error: message of the failure that ended it; None without one.
    """

    name: str
    values: dict[str, Any]
    score: float
    curve: list[tuple[float, float]]
    seconds: float
    error: str | None


@dataclass
class Configuration:
    """Trials that differ only in their seed; their scores are averaged."""

    values: dict[str, Any]
    trials: list[Trial]

    @property
    def score(self) -> float:
        return mean(trial.score for trial in self.trials)

    def rank(self, mode: str) -> tuple[float, float]:
        """A key that is greater for the better configuration; ties go to the one with the better history."""
        along = mean(mean(value for _, value in trial.curve) for trial in self.trials)
        return (self.score, along) if mode == "max" else (-self.score, -along)

    def spread(self) -> str:
        """The mean over seeds, with the least and the greatest score."""
        scores = [trial.score for trial in self.trials]
        return f"{self.score:.3g}" + (f" ({min(scores):.3g} to {max(scores):.3g})" if len(scores) > 1 else "")


@dataclass
class Outcome:
    """The outcome of a sweep.

    Attributes:
        trials: all trials.
        ranked: the configurations whose every trial has a score, the best first.
        default: the configuration among them that is used without a sweep; None where it was not tried.
        overhead: greatest number of seconds that a trial took beside training, for its start, data, checkpoints and
            idle cores at the end; None where the sweep was resumed.
        confirmed: the `rivals` with other seeds, the better first; empty where that was not asked for or there was no
            default.
    """

    trials: list[Trial]
    ranked: list[Configuration]
    default: Configuration | None
    overhead: float | None
    confirmed: list[Configuration] = field(default_factory=list)

    @property
    def rivals(self) -> list[Configuration]:
        """The best configuration beside the default, and the default; empty where there are not both."""
        others = [one for one in self.ranked if one is not self.default]
        return [others[0], self.default] if others and self.default else []
