"""Report of a sweep: a table, plots, and the best configuration as a file."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ray.tune import ResultGrid

from serl_ray.files.atomic import write_file
from serl_ray.files.yaml import write_yaml
from serl_ray.sweeps.config import STEPS, Sweep
from serl_ray.sweeps.outcome import Configuration, Outcome, Trial
from serl_ray.sweeps.plots import plot_curves, plot_parallel_coordinates
from serl_ray.utils.errors import SetupError

TABLE = "trials.csv"
BEST = "best.yaml"


def report(sweep: Sweep, results: ResultGrid, output: Path, seconds: float | None, found: Mapping[str, Any]) -> Outcome:
    """Writes the table, the best configuration and the plots; `found` as for `Sweep.default`.

    Raises:
        SetupError: no trial has come to a result.
    """
    trials = [_trial(sweep, result) for result in results]
    _write_table(sweep, trials, output / TABLE)
    ranked = _ranked(sweep, trials)
    if not ranked:
        errors = [trial.error for trial in trials if trial.error]
        raise SetupError(f"No trial has come to {sweep.metric}. {errors[0] if errors else ''}".rstrip())
    write_best(sweep, ranked[0], output)
    finished = [trial for trial in trials if trial.curve]
    plot_parallel_coordinates(finished, sweep, output / "parallel_coordinates.png")
    plot_curves(finished, sweep.metric, STEPS.get(sweep.trains), output / "curves.png")
    busy = sum(trial.seconds for trial in trials)
    overhead = None if seconds is None else (seconds * min(sweep.concurrent, len(trials)) - busy) / len(trials)
    return Outcome(trials, ranked, default_configuration(sweep, ranked, found), overhead)


def configurations(sweep: Sweep, results: ResultGrid) -> list[Configuration]:
    """Those whose every trial has a score, the best first."""
    return _ranked(sweep, [_trial(sweep, result) for result in results])


def _trial(sweep: Sweep, result: Any) -> Trial:
    metrics, steps = result.metrics or {}, STEPS.get(sweep.trains)
    rows = result.metrics_dataframe.to_dict("records") if steps and result.metrics_dataframe is not None else [metrics]
    points = {row.get(steps, 0.0): row[sweep.metric] for row in rows if _is_number(row.get(sweep.metric))}
    error = None if result.error is None else str(result.error).strip().splitlines()[-1]
    return Trial(
        Path(result.path).name,
        {name: (result.config or {}).get(name) for name in sweep.search},
        float(metrics.get(sweep.metric, math.nan)),
        sorted(points.items()),
        float(metrics.get("time_total_s", 0.0)),
        error,
    )


def _ranked(sweep: Sweep, trials: Sequence[Trial]) -> list[Configuration]:
    groups: dict[str, Configuration] = {}
    for trial in trials:
        values = {name: value for name, value in trial.values.items() if name != "seed"}
        groups.setdefault(json.dumps(values), Configuration(values, [])).trials.append(trial)
    whole = [
        group for group in groups.values() if all(_is_number(trial.score) and trial.curve for trial in group.trials)
    ]
    return sorted(whole, key=lambda group: group.rank(sweep.mode), reverse=True)


def default_configuration(
    sweep: Sweep, ranked: Sequence[Configuration], found: Mapping[str, Any] | None = None
) -> Configuration | None:
    """The configuration that is used without a sweep: of the values of a grid, the usual ones where it has them."""
    drawn, plain = sweep.default(found), sweep.plain(found)
    if not drawn:
        return None
    standing = [one for one in ranked if all(one.values[name] == value for name, value in drawn.items())]
    usual = [sum(value == plain.get(name) for name, value in one.values.items()) for one in standing]
    return standing[usual.index(max(usual))] if standing else None


def _write_table(sweep: Sweep, trials: Sequence[Trial], path: Path) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["trial", *sweep.search, sweep.metric, STEPS.get(sweep.trains, "steps"), "seconds", "error"])
        for trial in trials:
            steps = trial.curve[-1][0] if trial.curve else ""
            values = [json.dumps(value) if isinstance(value, list) else value for value in trial.values.values()]
            writer.writerow([trial.name, *values, trial.score, steps, round(trial.seconds, 1), trial.error or ""])


def write_best(sweep: Sweep, best: Configuration, output: Path) -> None:
    """Writes the options of a configuration, as YAML that the script takes; those of the preset are written out."""
    options = {**sweep.fixed, **best.values}
    if sweep.record:
        options |= sweep.recorded_in(best.values, output)
    plain = {name: _plain(value) for name, value in options.items()}
    heading = f"# {sweep.metric} {best.spread()}, the best of {output.name}\n"
    write_file(output / BEST, heading.encode() + write_yaml(plain))


def _plain(value: Any) -> Any:
    if hasattr(value, "item"):
        return value.item()
    return list(value) if isinstance(value, tuple) else value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
