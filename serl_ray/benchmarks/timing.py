"""Measurement and report of the sections: medians, and ratios of times from the same run."""

from __future__ import annotations

import json
import os
import platform
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import torch

MEASURED_PACKAGES = ("torch", "ray", "numpy", "mujoco", "serl-ray")
CPUINFO = Path("/proc/cpuinfo")


@dataclass
class Row:
    """One line of a section's table; `limit` is what the value should reach, such as "<= 1.25"."""

    name: str
    value: float
    unit: str
    limit: str = ""


def medians(functions: Mapping[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """Median seconds of each function, after one call to warm up; they take turns, so that a slow minute hits them
    all."""
    for function in functions.values():
        function()
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(repeats):
        for name, function in functions.items():
            started = time.perf_counter()
            function()
            seconds[name].append(time.perf_counter() - started)
    return {name: median(times) for name, times in seconds.items()}


def machine() -> dict[str, Any]:
    """Hardware and software on which the numbers depend."""
    return {
        "processor": _processor(),
        "cpus": os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
        "cuda": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "python": platform.python_version(),
        **{package: version(package) for package in MEASURED_PACKAGES},
    }


def _processor() -> str:
    """The processor's model where the system tells it, else its family."""
    model = re.search(r"^model name\s*: (.+)$", CPUINFO.read_text(), re.MULTILINE) if CPUINFO.exists() else None
    return model[1] if model else platform.processor() or platform.machine()


def print_report(section: str, configuration: Mapping[str, Any], rows: Sequence[Row], output: Path) -> None:
    """Prints the table, and writes it with machine, versions and configuration to `output`/SECTION.json."""
    print_table(
        [section, "measured", "should be"], [(row.name, f"{row.value:.4g} {row.unit}", row.limit) for row in rows]
    )
    write_report_file(section, configuration, rows, output)


def print_table(columns: Sequence[str], lines: Sequence[Sequence[float | str]]) -> None:
    """Prints a table as Markdown, its numbers with four digits."""
    print("\n| " + " | ".join(columns) + " |\n" + "|---" * len(columns) + "|")
    for line in lines:
        print("| " + " | ".join(value if isinstance(value, str) else f"{value:.4g}" for value in line) + " |")


def write_report_file(section: str, configuration: Mapping[str, Any], rows: Sequence[Row], output: Path) -> None:
    """Writes rows with machine, versions and configuration to `output`/SECTION.json."""
    output.mkdir(parents=True, exist_ok=True)
    content = {"machine": machine(), "configuration": dict(configuration), "rows": [vars(row) for row in rows]}
    (output / f"{section}.json").write_text(json.dumps(content, indent=2, default=str))


def append_outcome(outcome: Mapping[str, Any], configuration: Mapping[str, Any], output: Path) -> None:
    """Adds a whole run's outcome to `output`/results.jsonl, with machine, versions and the section's configuration."""
    content = {**outcome, "machine": machine(), "configuration": dict(configuration)}
    with (output / "results.jsonl").open("a") as file:
        file.write(json.dumps(content, default=str) + "\n")
