"""Time that the algorithm takes in addition to its updates."""

from __future__ import annotations

import time
from operator import truediv
from pathlib import Path
from statistics import median

from serl_ray.benchmarks.runs import measured
from serl_ray.benchmarks.timing import Row, print_report
from serl_ray.options.sets import HybridRun
from serl_ray.rllib import SERL
from serl_ray.runs.train import start_for
from serl_ray.utils.options import Options


class Overhead(Options):
    """Compares learner steps inside the algorithm with a bare loop over batches that lie ready: state alone, where it
    counts."""

    save_dir: Path = Path("runs/benchmark")
    """Folder for overhead.json."""
    learner_steps: int = 250
    """Learner steps of one measurement; a run's iteration has as many by default."""
    env_steps: int = 1
    """Env steps among which the learner steps are made."""
    repeats: int = 11
    """Number of measurements; the median of ratios of neighbours counts, since the machine's own speed drifts."""

    def run(self) -> None:
        """Times, and reports."""
        options = HybridRun.of(
            training_starts=400,
            random_steps=400,
            steps_per_iteration=self.env_steps,
            utd_ratio=self.learner_steps / self.env_steps,
            evaluate_every=0,
        )
        start_for(options)
        with measured(options, self.save_dir) as algorithm:
            while algorithm.env_steps < options.learning.training_starts:
                algorithm.train()
            bare, inside = [], []
            algorithm.train()
            for _ in range(self.repeats):
                bare.append(self._bare_rate(algorithm))
                inside.append(algorithm.train()["learner/steps_per_second"])
        rows = [
            Row("bare loop over batches that lie ready", median(bare), "learner steps/s"),
            Row("inside the algorithm", median(inside), "learner steps/s"),
            Row("inside the algorithm / bare loop", median(map(truediv, inside, bare)), "", ">= 0.95"),
        ]
        print_report("overhead", self.flat(), rows, self.save_dir)

    def _bare_rate(self, algorithm: SERL) -> float:
        cta_ratio = algorithm.options.learning.cta_ratio
        batches = [algorithm.feed.next(prepare_another=False) for _ in range(self.learner_steps * cta_ratio)]
        started = time.perf_counter()
        for number, batch in enumerate(batches, start=1):
            algorithm.agent.update(batch, critics_only=number % cta_ratio != 0)
        return self.learner_steps / (time.perf_counter() - started)
