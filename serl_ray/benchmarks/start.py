"""Time from the command of a training to its first steps."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Annotated

from annotated_types import Ge

from serl_ray.benchmarks.commands import SETUP_MODE, cameras_of, run_serl
from serl_ray.benchmarks.timing import Row, print_report
from serl_ray.runs.log import LOGS, read_results
from serl_ray.utils.options import Options

PIXELS_TASK = ("--setup_mode", SETUP_MODE, "--image_keys", *cameras_of(SETUP_MODE))
TRAIN = ["train", "--preset", "tabletop", "--num_workers", "1", "--evaluation_workers", "1", "--max_steps", "3000"]
EACH_STEP = ["--fragment_length", "1", "--steps_per_iteration", "1", "--training_starts", "1"]
"""Options with which a run tells of its first env step and its first learner step at once."""
POLLING_SECONDS = 0.02
LIMIT_SECONDS = 300.0


class Start(Options):
    """Starts the quick start's training from two cameras, and ends it after its first learner step."""

    save_dir: Path = Path("runs/benchmark")
    """Folder for start.json and the demonstrations."""
    demos: Annotated[int, Ge(1)] = 20
    """Demonstrations that the run reads."""
    repeats: Annotated[int, Ge(1)] = 5
    """Runs; the medians count."""

    def run(self) -> None:
        """Records demonstrations once, starts runs, and reports."""
        demos = self.save_dir / f"start-demos{self.demos}.pkl"
        if not demos.exists():
            run_serl(
                "record", "--env_name", "tabletop", *PIXELS_TASK, "--episodes", f"{self.demos}", "--output", str(demos)
            )
        runs = [self._seconds(demos) for _ in range(self.repeats)]
        rows = [Row(f"until {mark}", median(run[mark] for run in runs), "s") for mark in runs[0]]
        rows[-2].limit = "<= 10"
        print_report("start", self.flat(), rows, self.save_dir)

    def _seconds(self, demos: Path) -> dict[str, float]:
        """Seconds from the start of a training to each mark, in the order in which they are reached."""
        with TemporaryDirectory() as temporary:
            run, ray, printed = Path(temporary, "run"), Path(temporary, "ray"), Path(temporary, "printed.txt")
            command = [sys.executable, "-m", "serl_ray.cli", *TRAIN, *PIXELS_TASK, *EACH_STEP]
            command += ["--demo_paths", str(demos), "--save_dir", str(run)]
            with printed.open("w") as file:
                started = time.monotonic()
                process = subprocess.Popen(command, stdout=file, stderr=file, env=os.environ | {"RAY_TMPDIR": str(ray)})
            marks = {
                "the imports are done": lambda: "The run begins" in printed.read_text(),
                "Ray is up": lambda: any(ray.glob("ray/session_latest/logs/python-core-driver-*")),
                "the demonstrations are read": lambda: any(run.glob("checkpoint*")),
                "the first env step is stored": lambda: _has(run, "env/steps"),
                "the first learner step is made": lambda: _has(run, "learner/steps"),
            }
            try:
                return {name: _wait(process, is_reached, printed) - started for name, is_reached in marks.items()}
            finally:
                process.send_signal(signal.SIGINT)
                process.wait()


def _has(run: Path, counter: str) -> bool:
    """True once a result of the run counts a step."""
    return any(result.get(counter, 0) > 0 for result in read_results(run / LOGS))


def _wait(process: subprocess.Popen[bytes], is_reached: Callable[[], bool], printed: Path) -> float:
    """The time at which a mark is reached.

    Raises:
        ValueError: the run has ended, or taken too long, before.
    """
    ends = time.monotonic() + LIMIT_SECONDS
    while not is_reached():
        if process.poll() is not None or time.monotonic() > ends:
            raise ValueError(f"The training did not get to its first steps. It printed: {printed.read_text()[-2000:]}")
        time.sleep(POLLING_SECONDS)
    return time.monotonic()
