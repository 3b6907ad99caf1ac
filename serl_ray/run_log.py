"""The results of a run on disk: JSON lines to compute with, TensorBoard to look at."""

from __future__ import annotations

import json
import logging
import math
from pathlib import Path
from typing import Any

from tensorboardX import SummaryWriter

from serl_ray.rllib.metrics import METRICS

logger = logging.getLogger(__name__)

LOGS = "logs"
"""In the folder of a run."""
RESULTS = "results.jsonl"


class RunLog:
    """Appends results to the logs of a run; a resumed run goes on in the same ones."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._results = directory / RESULTS
        _end_last_line(self._results)
        self._writer = SummaryWriter(str(directory), write_to_disk=True)

    def append(self, result: dict[str, Any], steps: int) -> None:
        """Writes every metric that is known (JSON has no NaN) after so many steps of the run."""
        known = {name: result[name] for name in METRICS if not math.isnan(result[name])}
        try:
            with self._results.open("a") as file:
                file.write(json.dumps(known) + "\n")
        except OSError as error:
            logger.warning("A result could not be written: %s. Make room; the run goes on.", error)
        for name, value in known.items():
            self._writer.add_scalar(name, value, steps)

    def close(self) -> None:
        self._writer.close()


def _end_last_line(results: Path) -> None:
    """A process that was killed may have left half a line; what comes next begins on its own."""
    if results.exists() and not results.read_bytes().endswith(b"\n"):
        with results.open("a") as file:
            file.write("\n")


def read_results(directory: Path) -> list[dict[str, float]]:
    """Every result of a run so far; a line that was cut off when a run was lost is none."""
    file = directory / RESULTS
    lines = file.read_text().split("\n") if file.exists() else []
    return [json.loads(line) for line in lines if line.endswith("}")]
