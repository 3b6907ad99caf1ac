"""What the algorithm costs beside its updates."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from operator import truediv
from pathlib import Path
from statistics import median

from serl_ray.benchmarks.runs import measured
from serl_ray.benchmarks.timing import Row, report
from serl_ray.rllib import SERL
from serl_ray.runs.train import HybridRunOptions, start_ray
from serl_ray.settings import HybridSettings


@dataclass
class Overhead:
    """Compares learner steps inside the algorithm with a bare loop over batches that lie ready: state alone, where it counts."""

    output: Path = Path("runs/benchmark")
    """Folder for overhead.json."""
    learner_steps: int = 250
    """Of one measurement: as many as an iteration of a run has by default."""
    env_steps: int = 1
    """Among which they are made."""
    repeats: int = 11
    """Of which the median counts; a ratio is of two that followed one another, since the machine's own speed drifts."""

    def run(self) -> None:
        """Times, and reports."""
        run = HybridRunOptions()
        start_ray(HybridSettings(), run)
        settings = HybridSettings(
            training_starts=400,
            random_steps=400,
            steps_per_iteration=self.env_steps,
            utd_ratio=self.learner_steps / self.env_steps,
            evaluate_every=0,
        )
        with measured(settings, run, self.output) as algorithm:
            while algorithm.env_steps < settings.training_starts:
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
        report("overhead", asdict(self), rows, self.output)

    def _bare_rate(self, algorithm: SERL) -> float:
        cta_ratio = algorithm.settings.cta_ratio
        batches = [algorithm.feed.next(prepare_another=False) for _ in range(self.learner_steps * cta_ratio)]
        started = time.perf_counter()
        for number, batch in enumerate(batches, start=1):
            algorithm.agent.update(batch, critics_only=number % cta_ratio != 0)
        return self.learner_steps / (time.perf_counter() - started)
