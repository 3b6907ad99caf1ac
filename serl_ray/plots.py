"""Pictures of a run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

Panel = tuple[str, Sequence[tuple[str, str]]]
PANELS: tuple[Panel, ...] = (
    (
        "success rate",
        (
            ("env/success_rate", "training"),
            ("evaluation/success_rate", "evaluation"),
            ("evaluation/true_success_rate", "evaluation, in truth"),
        ),
    ),
    ("steps an episode", (("env/mean_steps", "training"), ("evaluation/mean_steps", "evaluation"))),
    ("Q (1 is the most that 0/1 rewards allow)", (("critic/q_mean", "mean"), ("critic/q_max", "greatest"))),
    ("entropy", (("actor/entropy", "policy"),)),
)


def plot_learning_curve(results: Sequence[dict[str, Any]], path: Path) -> None:
    """Success, episode length, Q and entropy over env steps, as a PNG."""
    figure = Figure(figsize=(11, 7), layout="constrained")
    for axes, (title, lines) in zip(figure.subplots(2, 2).flat, PANELS, strict=True):
        for key, label in lines:
            at = "evaluation/at_step" if key.startswith("evaluation/") else "env/steps"
            points = sorted({(r[at], r[key]) for r in results if _is_number(r.get(at)) and _is_number(r.get(key))})
            axes.plot([x for x, _ in points], [y for _, y in points], label=label)
        axes.set(title=title, xlabel="env steps")
        axes.grid(alpha=0.3)
        axes.legend()
    figure.savefig(path, dpi=110)


def plot_success_curves(outcomes: Sequence[dict[str, Any]], path: Path) -> None:
    """Success over env steps, a panel for each set-up, a line for each run of the benchmark section `learn`, as a PNG."""
    set_ups = list(dict.fromkeys((outcome["env"], outcome["setup_mode"]) for outcome in outcomes))
    figure = Figure(figsize=(3.2 * len(set_ups), 3.2), layout="constrained")
    panels = figure.subplots(1, len(set_ups), sharey=True, squeeze=False)[0]
    for axes, (env, setup_mode) in zip(panels, set_ups, strict=True):
        for outcome in outcomes:
            if (outcome["env"], outcome["setup_mode"]) == (env, setup_mode):
                steps, rates = zip(*sorted((int(step), rate) for step, rate in outcome["curve"].items()), strict=True)
                axes.plot(steps, rates, marker="o", label=f"seed {outcome['seed']}")
        axes.set(title=setup_mode if env == "tabletop" else env, xlabel="env steps", xlim=(0, None), ylim=(-0.03, 1.03))
        axes.grid(alpha=0.3)
        axes.legend()
    panels[0].set_ylabel("success")
    figure.savefig(path, dpi=110)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
