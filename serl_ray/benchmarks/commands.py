"""The commands that a person types, for the sections that measure whole runs."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from serl_ray.rllib.checkpoint import checkpoint_of, read_run
from serl_ray.runs.log import LOGS, read_results

SCRIPTS = Path(__file__).parents[2] / "scripts"
CAMERAS = {"single": ("image", "wrist"), "dual": ("left_wrist", "right_wrist")}
"""Two for each number of arms, in the tabletop."""


def cameras_of(setup_mode: str) -> tuple[str, ...]:
    """The two cameras that a set-up is learned from."""
    return CAMERAS[setup_mode.split("-")[0]]


def run_script(name: str, *flags: str, threads: int | None = None) -> None:
    """Runs a script to its end.

    Args:
        name: of the file in scripts/.
        flags: as they are typed.
        threads: that its process computes with; by default one a core.
    """
    environment = os.environ | ({"OMP_NUM_THREADS": str(threads)} if threads else {})
    subprocess.run([sys.executable, str(SCRIPTS / name), *flags], check=True, env=environment)


def settings_of(run: Path) -> dict[str, Any]:
    """All settings of a run that was trained, as it has had them."""
    return read_run(checkpoint_of(run))["settings"]


def success_curve(run: Path) -> dict[int, float]:
    """A run's success whenever it was evaluated, by env steps."""
    results = (result for result in read_results(run / LOGS) if "evaluation/at_step" in result)
    return {int(result["evaluation/at_step"]): result["evaluation/success_rate"] for result in results}


def words(settings: Mapping[str, str]) -> list[str]:
    """Options and their values as flags."""
    return [word for option, value in settings.items() for word in (f"--{option}", *value.split())]
