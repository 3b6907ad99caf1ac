"""`serl tune`: a sweep over options of training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

from serl_ray.cli.parser import given_options
from serl_ray.utils.options import Options, Role

if TYPE_CHECKING:
    from serl_ray.sweeps.outcome import Outcome

TRAINERS = {"hybrid": "train", "offline": "train-offline", "classifier": "train-classifier"}
NUM_SHOWN = 20
"""Configurations in the table that is printed."""


class Tune(Options):
    """Run a sweep over options of training, as a YAML file describes it."""

    title: ClassVar[str] = "sweep"

    sweep: Annotated[Path, Role.POSITIONAL]
    """File of the sweep, such as tune_configs/hybrid.yaml."""
    save_dir: Path | None = None
    """Folder for results; by default runs/tune-NAME, or runs/tune-NAME-smoke."""
    smoke: bool = False
    """Run the small version that the file describes under `smoke`, to see that everything works."""
    resume: bool = False
    """Go on with a sweep that was stopped: finished trials stay, others go on from their checkpoints."""
    track: tuple[str, ...] = ()
    """Trackers of the trials beside TensorBoard: wandb:PROJECT, wandb:TEAM/PROJECT, mlflow:URI of a server or
    database."""


def main(argv: Sequence[str]) -> None:
    """Runs the sweep, and prints the configurations, the best first, the comparison with the default, and the next
    command."""
    options = Tune(**given_options("serl tune", argv, Tune))

    from serl_ray.sweeps.checks import read_sweep
    from serl_ray.sweeps.report import BEST, TABLE
    from serl_ray.sweeps.run import run_sweep

    sweep, _ = read_sweep(options.sweep, options.smoke)
    folder = options.save_dir or Path("runs") / f"tune-{options.sweep.stem}{'-smoke' if options.smoke else ''}"
    outcome = run_sweep(options.sweep, folder, options.smoke, options.resume, options.track)
    print("\n".join(_table(outcome, sweep.metric)))
    if failed := [trial for trial in outcome.trials if trial.error]:
        print(f"{len(failed)} of {len(outcome.trials)} trials have failed: {failed[0].error} See {folder / TABLE}.")
    print("\n".join(_comparison(outcome, sweep.metric)))
    print(f"All trials {folder / TABLE}, plots {folder}/parallel_coordinates.png and {folder}/curves.png")
    print(f"Next: serl {TRAINERS[sweep.trains]} --config {folder / BEST}")


def _table(outcome: Outcome, metric: str) -> list[str]:
    """The best configurations, as Markdown."""
    from serl_ray.sweeps.plots import short

    names = list(outcome.ranked[0].values)
    lines = ["", f"| {' | '.join([*names, metric, 'trials'])} |", f"|{'---|' * (len(names) + 2)}"]
    for one in outcome.ranked[:NUM_SHOWN]:
        lines.append(f"| {' | '.join([*map(short, one.values.values()), one.spread(), str(len(one.trials))])} |")
    return lines


def _comparison(outcome: Outcome, metric: str) -> list[str]:
    if len({one.score for one in outcome.ranked}) == 1 < len(outcome.ranked):
        lines = [f"{metric} is {outcome.ranked[0].score:.3g} everywhere and tells nothing: give the trials more steps."]
    elif outcome.default is None:
        lines = ["The default configuration was not tried."]
    elif outcome.default is outcome.ranked[0]:
        lines = [f"The default stands: no other configuration has a better {metric}."]
    else:
        lines = [f"{metric}: best {outcome.ranked[0].spread()}, default {outcome.default.spread()}."]
    for one in outcome.confirmed:
        name = "default" if outcome.default and one.values == outcome.default.values else "the best other"
        lines.append(f"With other seeds, {name}: {one.spread()}.")
    if outcome.overhead is not None:
        lines.append(
            f"A trial takes at most {outcome.overhead:.1f} s beside its training: its start, its data, its checkpoints."
        )
    return lines
