"""Runs a sweep over options of training, as a YAML file describes it."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import tyro

from serl_ray.sweeps.config import read_sweep
from serl_ray.sweeps.plots import short
from serl_ray.sweeps.report import BEST, TABLE, Outcome
from serl_ray.sweeps.run import run_sweep

SCRIPTS = {"hybrid": "train_hybrid.py", "offline": "train_offline.py", "classifier": "train_classifier.py"}
SHOWN = 20
"""Configurations in the table that is printed."""


@dataclass
class Tune:
    """Runs a sweep over options of training, as a YAML file describes it."""

    sweep: tyro.conf.Positional[Path]
    """The file, such as tune_configs/hybrid.yaml."""
    output: Path | None = None
    """Folder for what comes out; by default runs/tune-NAME, or runs/tune-NAME-smoke."""
    smoke: bool = False
    """The small run that the file describes under `smoke`: to see that everything works."""
    resume: bool = False
    """Go on with a sweep that was stopped; its finished trials stay, others go on from their checkpoints."""
    track: tuple[str, ...] = ()
    """Where trials are logged beside TensorBoard's folders: wandb:PROJECT, wandb:TEAM/PROJECT, mlflow:URI of a server or data
    base."""


def main(args: Tune) -> None:
    """Runs, and prints the configurations, the best first, how the best compares with the default, and what to do next."""
    sweep, _ = read_sweep(args.sweep, args.smoke)
    output = args.output or Path("runs") / f"tune-{args.sweep.stem}{'-smoke' if args.smoke else ''}"
    outcome = run_sweep(args.sweep, output, args.smoke, args.resume, args.track)
    print_table(outcome, sweep.metric)
    if failed := [trial for trial in outcome.trials if trial.error]:
        print(f"{len(failed)} of {len(outcome.trials)} trials have failed: {failed[0].error} See {output / TABLE}.")
    if outcome.default is None:
        print("The default configuration is not among those tried.")
    elif outcome.default is outcome.ranked[0]:
        print(f"The default stands: none has a better {sweep.metric}.")
    else:
        print(f"{sweep.metric}: best {outcome.ranked[0].spread()}, default {outcome.default.spread()}.")
    for one in outcome.confirmed:
        print(f"With other seeds, {'default' if one.values == outcome.default.values else 'the best other'}: {one.spread()}.")
    if outcome.overhead is not None:
        print(f"A trial takes at most {outcome.overhead:.1f} s beside its training: its start, its data, its checkpoints.")
    print(f"All trials {output / TABLE}, pictures {output}/parallel_coordinates.png and {output}/curves.png")
    print(f"Next: python scripts/{SCRIPTS[sweep.trains]} --config {output / BEST}")


def print_table(outcome: Outcome, metric: str) -> None:
    """The best configurations, as Markdown."""
    names = list(outcome.ranked[0].values)
    print(f"\n| {' | '.join([*names, metric, 'trials'])} |\n|{'---|' * (len(names) + 2)}")
    for one in outcome.ranked[:SHOWN]:
        print(f"| {' | '.join([*map(short, one.values.values()), one.spread(), str(len(one.trials))])} |")


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    main(tyro.cli(Tune, use_underscores=True))
