"""Plots of a sweep."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from serl_ray.sweeps.config import Sweep
from serl_ray.sweeps.draws import LISTS
from serl_ray.sweeps.outcome import Trial


def plot_parallel_coordinates(trials: Sequence[Trial], sweep: Sweep, path: Path) -> None:
    """A line for each trial, from each of its values to the next and to its score, which is its colour, as a PNG."""
    axes_of = [*sweep.search, sweep.metric]
    columns = [_column([trial.values[name] for trial in trials], how) for name, how in sweep.search.items()]
    scores = np.array([trial.score for trial in trials])
    columns.append(_column(list(scores), {"uniform": [scores.min(), scores.max()]}))
    figure = Figure(figsize=(2.2 * len(axes_of) + 2, 4), layout="constrained")
    axes = figure.subplots()
    colour = Normalize(scores.min(), scores.max() if scores.max() > scores.min() else scores.min() + 1)
    for index, score in enumerate(scores):
        heights = [places[index] for places, _ in columns]
        axes.plot(range(len(axes_of)), heights, color=colormaps["viridis"](colour(score)), alpha=0.8)
    for x, (_, labels) in enumerate(columns):
        axes.axvline(x, color="grey", linewidth=0.8)
        for place, label in labels:
            axes.annotate(label, (x, place), xytext=(3, 0), textcoords="offset points", fontsize=8)
    axes.set_xticks(range(len(axes_of)), axes_of)
    axes.set(yticks=[], xlim=(-0.1, len(axes_of) - 0.6), ylim=(-0.05, 1.05))
    figure.colorbar(ScalarMappable(colour, "viridis"), ax=axes, label=sweep.metric)
    figure.savefig(path, dpi=110)


def _column(values: list[Any], how: dict[str, list[Any]]) -> tuple[list[float], list[tuple[float, str]]]:
    """Places of values on an axis from 0 to 1, and its labels."""
    [(kind, ends)] = how.items()
    if kind in LISTS:
        places = np.linspace(0, 1, len(ends)) if len(ends) > 1 else [0.5]
        return [float(places[ends.index(value)]) for value in values], [
            (p, str(v)) for p, v in zip(places, ends, strict=True)
        ]
    scale = np.log if kind == "loguniform" else np.asarray
    low, high = float(scale(ends[0])), float(scale(ends[1]))
    places = [float((scale(value) - low) / ((high - low) or 1)) for value in values]
    return places, [(0.0, f"{ends[0]:.3g}"), (1.0, f"{ends[1]:.3g}")]


def plot_curves(trials: Sequence[Trial], metric: str, steps: str | None, path: Path) -> None:
    """The metric over steps, a line for each trial; where trials have no steps (None), their scores; as a PNG."""
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    for index, trial in enumerate(trials):
        label = ", ".join(f"{name} {short(value)}" for name, value in trial.values.items())
        xs, ys = zip(*trial.curve, strict=True)
        axes.plot(xs if steps else [index], ys, marker="o", markersize=3, label=label)
    axes.set(title=metric, xlabel=steps.replace("/", " ") if steps else "trial")
    axes.grid(alpha=0.3)
    if len(trials) <= 16:
        axes.legend(fontsize=7)
    figure.savefig(path, dpi=110)


def short(value: Any) -> str:
    """A value with three significant digits."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)
