"""The results of a run on disk: JSON lines to compute with, TensorBoard to look at."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from tensorboardX import SummaryWriter

from serl_ray.rllib.metrics import METRICS

RESULTS = "results.jsonl"


class RunLog:
    """Appends results to the logs of a run; a resumed run goes on in the same ones."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._results = directory / RESULTS
        self._writer = SummaryWriter(str(directory), write_to_disk=True)

    def append(self, result: dict[str, Any], steps: int) -> None:
        """Writes every metric that is known (JSON has no NaN) after so many steps of the run."""
        known = {name: result[name] for name in METRICS if not math.isnan(result[name])}
        with self._results.open("a") as file:
            file.write(json.dumps(known) + "\n")
        for name, value in known.items():
            self._writer.add_scalar(name, value, steps)

    def close(self) -> None:
        self._writer.close()


def read_results(directory: Path) -> list[dict[str, float]]:
    """Every result of a run so far."""
    return [json.loads(line) for line in (directory / RESULTS).read_text().splitlines()]
