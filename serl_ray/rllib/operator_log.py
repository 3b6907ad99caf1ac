"""The part of operators in a run, as metrics."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field

import numpy as np

from serl_ray.data.rewards import MAX_RUNNING
from serl_ray.data.schema import Segment
from serl_ray.evaluation.rollouts import Episode, rate
from serl_ray.rllib.metrics import RECENT_EPISODES
from serl_ray.teleop.report import COUNTED, OperatorReport

RECENT_AGES = 1000
"""Acts of persons of which the newest give the ages of the loop."""


@dataclass
class _Interventions:
    """The interventions of one episode.

    Attributes:
        lengths: steps by number of the intervention.
        first: number of the step of the first one; None without one.
        ends_alone: whether the policy made the last step.
        success: success of the whole episode.
    """

    lengths: Counter[int] = field(default_factory=Counter)
    first: int | None = None
    ends_alone: bool = True
    success: bool | None = None


class OperatorLog:
    """Interventions of recent episodes, and what workers report of their operators since the process started."""

    def __init__(self) -> None:
        self._recent: deque[_Interventions] = deque(maxlen=RECENT_EPISODES)
        self._running: dict[str, _Interventions] = {}
        self._ages: deque[float] = deque(maxlen=RECENT_AGES)
        self._total = OperatorReport()
        self._number = 0

    def add(self, segment: Segment, ended: Episode | None) -> None:
        """Adds a segment, with the episode that has ended with it."""
        episode = self._running.pop(str(segment.episode), _Interventions())
        if segment.actors is not None:
            numbers = segment.actors.interventions
            before = len(episode.lengths)
            episode.lengths.update(numbers[numbers > 0].tolist())
            self._number += len(episode.lengths) - before
            if numbers.any() and episode.first is None:
                episode.first = segment.first_step + int(np.argmax(numbers > 0))
            episode.ends_alone = not numbers[-1]
        if ended is not None:
            episode.success = ended.success
            self._recent.append(episode)
            return
        self._running[str(segment.episode)] = episode
        if len(self._running) > MAX_RUNNING:  # the oldest was dropped
            del self._running[next(iter(self._running))]

    def add_report(self, report: OperatorReport) -> None:
        """Adds a worker's report."""
        self._ages.extend(report.loop_ages)
        self._total = OperatorReport.join([self._total, report])
        self._total.loop_ages.clear()

    def metrics(self) -> dict[str, float]:
        """Numbers of interventions in recent episodes, and of all reports so far."""
        lengths = [length for episode in self._recent for length in episode.lengths.values()]
        first = [episode.first for episode in self._recent if episode.first is not None]
        handed_back = [episode.success for episode in self._recent if episode.lengths and episode.ends_alone]
        metrics = {"operator/interventions": float(self._number)}
        metrics |= {"operator/mean_length": float(np.mean(lengths))} if lengths else {}
        metrics |= {"operator/steps_to_takeover": float(np.mean(first))} if first else {}
        metrics |= {"operator/success_after_hand_back": rate(handed_back)} if handed_back else {}
        if self._total.steps:
            metrics |= {f"operator/{name}": float(self._total.counts[name]) for name in COUNTED}
            metrics["operator/seconds_per_step"] = self._total.operator_seconds / self._total.steps
            metrics["operator/reset_seconds"] = self._total.reset_seconds
        if self._ages:
            p50, p95 = np.percentile(self._ages, (50, 95))
            metrics |= {"operator/loop_age_p50": float(p50), "operator/loop_age_p95": float(p95)}
        return metrics
