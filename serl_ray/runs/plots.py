"""Plots of a run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from serl_ray.evaluation.held_out import ValueCurve

Band = dict[int, tuple[float, float, float]]
"""Env steps -> success rate, and the ends of its interval."""
Panel = tuple[str, Sequence[tuple[str, str]]]
PANELS: tuple[Panel, ...] = (
    (
        "success rate",
        (
            ("env/success_rate", "training"),
            ("env/autonomous_success_rate", "training, episodes without an intervention"),
            ("evaluation/success_rate", "evaluation"),
            ("evaluation/true_success_rate", "evaluation, in truth"),
        ),
    ),
    ("return", (("env/mean_return", "training"), ("evaluation/mean_return", "evaluation"))),
    ("steps an episode", (("env/mean_steps", "training"), ("evaluation/mean_steps", "evaluation"))),
    (
        "interventions, newest episodes",
        (
            ("env/intervention_rate", "share of steps"),
            ("operator/success_after_hand_back", "success after the last hand-back"),
        ),
    ),
    ("Q", (("critic/q_mean", "mean"), ("critic/q_max", "greatest"))),
    ("entropy", (("actor/entropy", "policy"),)),
    ("held-out demonstrations", (("held_out/action_error", "action error"), ("held_out/value_error", "value error"))),
)


def plot_learning_curve(
    results: Sequence[dict[str, Any]], path: Path, steps: str = "env/steps", max_return: float | None = None
) -> None:
    """Success, returns, lengths, Q, entropy and what is held out, as far as there are such, over a count of steps, as a
    PNG.

    Steps in which somebody intervened have another background, the deeper the more of them there were. A line in the
    panel of Q marks `max_return`, its upper bound.
    """
    panels = [panel for panel in PANELS if _has_news(panel, results)]
    rows = max(-(-len(panels) // 2), 1)
    figure = Figure(figsize=(11, 3.5 * rows), layout="constrained")
    if not panels:
        figure.text(0.5, 0.5, "No result yet", ha="center")
    for axes, (title, lines) in zip(figure.subplots(rows, 2, squeeze=False).flat, panels, strict=False):
        for key, label in lines:
            at = "evaluation/at_step" if key.startswith("evaluation/") else steps
            points = sorted({(r[at], r[key]) for r in results if _is_number(r.get(at)) and _is_number(r.get(key))})
            axes.plot([x for x, _ in points], [y for _, y in points], label=label)
        for first, last, share in interventions(results, steps):
            axes.axvspan(first, last, color="C1", alpha=0.1 + 0.4 * share, linewidth=0)
        if title == "Q" and max_return is not None:
            axes.axhline(max_return, color="grey", linestyle=":", label="max_return")
        axes.set(title=title, xlabel=steps.replace("/", " "))
        axes.grid(alpha=0.3)
        axes.legend()
    figure.savefig(path, dpi=110)


def _has_news(panel: Panel, results: Sequence[dict[str, Any]]) -> bool:
    """True if some number of a panel is known; of the returns, one that is not the success rate."""
    known = ((key, r) for r in results for key, _ in panel[1] if _is_number(r.get(key)))
    return any(
        r[key] != r.get(key.replace("mean_return", "success_rate")) or "mean_return" not in key for key, r in known
    )


def interventions(results: Sequence[dict[str, Any]], steps: str) -> list[tuple[float, float, float]]:
    """Intervals of steps with interventions: first step, last step, share of steps with an intervention."""
    known = [
        (0.0, 0.0),
        *((r[steps], r["buffer/interventions"]) for r in results if _is_number(r.get("buffer/interventions"))),
    ]
    pieces = ((x0, x1, y1 - y0) for (x0, y0), (x1, y1) in pairwise(known))
    return [(x0, x1, min(more / (x1 - x0), 1.0)) for x0, x1, more in pieces if more > 0 and x1 > x0]


def plot_value_curves(curves: Sequence[ValueCurve], path: Path, most: int = 12) -> None:
    """The values along held-out demonstrations beside what these earned, over the steps that were left, as a PNG."""
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    for index, curve in enumerate(curves[:most]):
        steps_left = np.arange(len(curve.q))[::-1]
        axes.plot(steps_left, curve.q, color="C0", alpha=0.6, label=None if index else "Q of what was done")
        axes.plot(
            steps_left, curve.returns, color="black", linestyle="--", label=None if index else "discounted return"
        )
    axes.invert_xaxis()
    axes.set(title="values along held-out demonstrations", xlabel="steps to the end of the episode")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=110)


def plot_success_curves(outcomes: Sequence[dict[str, Any]], path: Path) -> None:
    """Success over env steps, a panel for each set-up, a line for each run, as a PNG.

    Args:
        outcomes: `env`, `setup_mode`, `label`, and `curve`, {env steps: success rate}.
        path: file of the plot.
    """
    set_ups = list(dict.fromkeys((outcome["env"], outcome["setup_mode"]) for outcome in outcomes))
    figure = Figure(figsize=(3.2 * len(set_ups), 3.2), layout="constrained")
    panels = figure.subplots(1, len(set_ups), sharey=True, squeeze=False)[0]
    for axes, (env, setup_mode) in zip(panels, set_ups, strict=True):
        for outcome in outcomes:
            if (outcome["env"], outcome["setup_mode"]) == (env, setup_mode):
                steps, rates = zip(*sorted((int(step), rate) for step, rate in outcome["curve"].items()), strict=True)
                axes.plot(steps, rates, marker="o", label=outcome["label"])
        axes.set(title=setup_mode if env == "tabletop" else env, xlabel="env steps", xlim=(0, None), ylim=(-0.03, 1.03))
        axes.grid(alpha=0.3)
        axes.legend()
    panels[0].set_ylabel("success")
    figure.savefig(path, dpi=110)


def plot_success_panels(panels: Mapping[str, Mapping[str, Band]], path: Path) -> None:
    """Success over env steps with its interval, a panel for each title, a line for each label, as a PNG."""
    columns = min(len(panels), 4)
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(max(3.4 * columns, 6), 3.4 * rows), layout="constrained")
    grid = figure.subplots(rows, columns, sharey=True, squeeze=False).flat
    for axes, (title, bands) in zip(grid, panels.items(), strict=False):
        for label, of_label in bands.items():
            steps = sorted(of_label)
            rates, lows, highs = zip(*(of_label[step] for step in steps), strict=True)
            axes.plot(steps, rates, marker="o", label=label)
            axes.fill_between(steps, lows, highs, alpha=0.2)
        axes.set(title=title, xlabel="env steps", ylabel="success", xlim=(0, None), ylim=(-0.03, 1.03))
        axes.grid(alpha=0.3)
        axes.legend()
    for axes in list(figure.axes)[len(panels) :]:
        axes.set_visible(False)
    figure.savefig(path, dpi=110)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
