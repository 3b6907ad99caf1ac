"""Tables and curves of learning runs, over their seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean, median
from typing import Any

import numpy as np
from scipy.stats import sem, t

from serl_ray.files.atomic import read_json
from serl_ray.runs.plots import Band, plot_success_panels
from serl_ray.utils.options import OptionError, Options

LEVELS = (0.9, 0.95)
"""Success rates whose env steps are in the table."""
REPORT_COLUMNS = (
    "task",
    "input",
    "method",
    "demonstrations",
    "runs",
    "success at the end",
    *(f"{unit} to {level}" for level in LEVELS for unit in ("env steps", "robot minutes")),
    "steps with interventions",
    "minutes",
)
TABLE_FILE = "table.md"
CURVES_FILE = "curves.png"

RunGroup = tuple[str, str, str, int]
"""Task, input, method and number of demonstrations, which the runs of several seeds share."""


class Report(Options):
    """Compares runs of `serl benchmark learn`, also of several folders and machines."""

    results: tuple[Path, ...] = (Path("runs/learn"),)
    """JSON files of runs, or folders of them."""
    save_dir: Path = Path("runs/report")
    """Folder for table.md and curves.png."""

    def run(self) -> None:
        """Prints the table, and leaves it with the curves in `save_dir`."""
        found = [sorted(place.glob("*.json")) if place.is_dir() else [place] for place in self.results]
        paths = dict.fromkeys(path.resolve() for of_place in found for path in of_place)
        if not paths:
            raise OptionError(f"There are no JSON files of runs in {', '.join(map(str, self.results))}.")
        self.save_dir.mkdir(parents=True, exist_ok=True)
        write_report([read_json(path, "run") for path in paths], self.save_dir)


def write_report(outcomes: Sequence[dict[str, Any]], folder: Path) -> None:
    """Prints the table of runs, and writes it and their curves.

    Args:
        outcomes: results of runs, as `serl benchmark learn` leaves them: success (None before the end), success rate by
            env steps, and so on.
        folder: folder for table.md and curves.png.
    """
    groups: dict[RunGroup, list[dict[str, Any]]] = {}
    for outcome in outcomes:
        key = (outcome["task"], outcome["input"], outcome["method"], outcome["demos"])
        groups.setdefault(key, []).append(outcome)
    lines = [f"| {' | '.join(REPORT_COLUMNS)} |", f"|{'---|' * len(REPORT_COLUMNS)}"]
    lines += [f"| {' | '.join(_row(key, runs))} |" for key, runs in groups.items()]
    table = "\n".join(lines)
    print(f"\n{table}")
    (folder / TABLE_FILE).write_text(f"{table}\n")
    panels: dict[str, dict[str, Band]] = {}
    for (task, kind, method, demos), runs in groups.items():
        label = method if demos else f"{method}, no demonstrations"
        panels.setdefault(f"{task}, {kind}", {})[label] = band([run["curve"] for run in runs])
    plot_success_panels(panels, folder / CURVES_FILE)


def lasting(curve: Mapping[Any, float], level: float) -> int | None:
    """Env steps of the first evaluation from which success stays at or above a level; None if there is none."""
    reached = None
    for step, rate in sorted((int(step), rate) for step, rate in curve.items()):
        reached = None if rate < level else step if reached is None else reached
    return reached


def band(curves: Sequence[Mapping[Any, float]]) -> Band:
    """The mean over seeds at each step that all have, with its 95 % interval (Student): runs differ more than the
    episodes of one do. The interval of a single run is its value."""
    rates = [{int(step): rate for step, rate in curve.items()} for curve in curves]
    shared = set.intersection(*(set(of_seed) for of_seed in rates))
    by_step = {step: [of_seed[step] for of_seed in rates] for step in sorted(shared)}
    return {step: (float(np.mean(of_seeds)), *_interval(of_seeds)) for step, of_seeds in by_step.items()}


def _interval(rates: list[float]) -> tuple[float, float]:
    if len(rates) < 2 or np.ptp(rates) == 0.0:
        return min(rates), max(rates)
    low, high = t.interval(0.95, len(rates) - 1, np.mean(rates), sem(rates))
    return max(float(low), 0.0), min(float(high), 1.0)


def _row(key: RunGroup, runs: Sequence[dict[str, Any]]) -> list[str]:
    task, kind, method, demos = key
    hz = runs[0]["control_hz"]
    ends = [run["success"] for run in runs if run["success"] is not None]
    cells = [task, kind, method, str(demos), str(len(runs)), _spread(ends, ".2f") if ends else "not ended"]
    for level in LEVELS:
        steps = [step for run in runs if (step := lasting(run["curve"], level)) is not None]
        missed = f"; never in {len(runs) - len(steps)} of {len(runs)}" if len(steps) < len(runs) else ""
        cells.append(f"{_spread(steps, ',.0f')}{missed}" if steps else "never")
        cells.append(_spread([step / hz / 60 for step in steps], ".1f") if steps else "")
    minutes = [run["minutes"] for run in runs if run["minutes"] is not None]
    cells.append(f"{mean(run['intervened_steps'] for run in runs):,.0f}")
    cells.append(_spread(minutes, ".0f") if minutes else "")
    return cells


def _spread(values: Sequence[float], form: str) -> str:
    """The median, and the least and greatest value."""
    if min(values) == max(values):
        return f"{values[0]:{form}}"
    return f"{median(values):{form}} ({min(values):{form}} to {max(values):{form}})"
