"""The commands that a user types, for the sections that measure whole runs."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from subprocess import CalledProcessError
from typing import Any

from serl_ray.options.sets import HybridOptions
from serl_ray.rllib.checkpoint import checkpoint_of, read_run
from serl_ray.runs.log import LOGS, read_results
from serl_ray.utils.options import Role, names_of

SETUP_MODE = "single-arm-learned-gripper"
"""Set-up of the sections that measure one alone."""
SECONDS = 10.0
"""Seconds between two looks at a command that runs."""
CAMERAS_BY_ARMS = {"single": ("image", "wrist"), "dual": ("left_wrist", "right_wrist")}
"""Two for each number of arms, in the tabletop."""


def cameras_of(setup_mode: str) -> tuple[str, ...]:
    """The two cameras that a set-up is learned from."""
    return CAMERAS_BY_ARMS[setup_mode.split("-")[0]]


def run_serl(
    command: str, *flags: str, threads: int | None = None, meanwhile: Callable[[], None] = lambda: None
) -> None:
    """Runs a `serl` command to its end, which Ctrl-C brings nearer: a training saves itself first.

    Args:
        command: its name, such as train.
        flags: what follows it on the command line.
        threads: threads that its process computes with; by default one per core.
        meanwhile: what is done every `SECONDS` while it runs.

    Raises:
        CalledProcessError: the command failed.
    """
    environment = os.environ | ({"OMP_NUM_THREADS": str(threads)} if threads else {})
    words = [sys.executable, "-m", "serl_ray.cli", command, *flags]
    with subprocess.Popen(words, env=environment) as process:  # its end is waited for in any case
        while (code := _exit_code(process)) is None:
            meanwhile()
    if code:
        raise CalledProcessError(code, words)


def _exit_code(process: subprocess.Popen[bytes]) -> int | None:
    with suppress(subprocess.TimeoutExpired):
        return process.wait(SECONDS)
    return None


def trained_options(run: Path) -> dict[str, Any]:
    """The options of training that a run had, by name, without the paths of its files."""
    options = read_run(checkpoint_of(run))["options"]
    paths = names_of(HybridOptions, Role.PATH)
    return {name: value for name, value in options.items() if name not in paths}


def success_curve(run: Path) -> dict[int, float]:
    """A run's success whenever it was evaluated, by env steps."""
    results = (result for result in read_results(run / LOGS) if "evaluation/at_step" in result)
    return {int(result["evaluation/at_step"]): result["evaluation/success_rate"] for result in results}


def words(options: Mapping[str, Any]) -> list[str]:
    """Options and their values as flags; a list gives several words, and True or False the flag that means it."""
    flags: list[str] = []
    for option, value in options.items():
        if isinstance(value, bool):
            flags.append(f"--{'' if value else 'no_'}{option}")
        else:
            flags += [f"--{option}", *map(str, value if isinstance(value, list) else [value])]
    return flags
