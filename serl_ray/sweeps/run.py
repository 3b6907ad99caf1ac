"""A sweep by Ray Tune, from its file to a table, plots and the best configuration."""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.tune.schedulers import ASHAScheduler, PopulationBasedTraining, TrialScheduler
from ray.tune.search import ConcurrencyLimiter
from ray.tune.search.basic_variant import BasicVariantGenerator

from serl_ray.cluster.ray_private import replace_callbacks
from serl_ray.cluster.start import start_ray
from serl_ray.files.atomic import write_file
from serl_ray.files.uris import locate
from serl_ray.files.yaml import read_yaml, write_yaml
from serl_ray.rllib.buffers import Shared
from serl_ray.runs.tracking import check_tracks
from serl_ray.sweeps.checks import read_sweep
from serl_ray.sweeps.config import STEPS, Sweep
from serl_ray.sweeps.draws import domain, within
from serl_ray.sweeps.outcome import Outcome
from serl_ray.sweeps.plots import short
from serl_ray.sweeps.report import configurations, report, write_best
from serl_ray.sweeps.shared import find_options, share
from serl_ray.sweeps.tracking import Tracked
from serl_ray.sweeps.trials import HybridTrial, OfflineTrial, classifier_trial

logger = logging.getLogger(__name__)

SWEEP = "sweep.yaml"
TUNE, CONFIRM = "tune", "confirm"
"""Names in the folder of a sweep."""
SLOT = "trial"
"""A resource of which there are as many as trials of a population may run at a time; the others pause. Where Ray was
started by somebody else and has none, as many run as there are cores for."""


def run_sweep(
    file: Path, output: Path, smoke: bool = False, resume: bool = False, track: Sequence[str] = ()
) -> Outcome:
    """Runs what is left of a sweep, and writes its table, its plots and its best configuration to a folder.

    Args:
        file: file of the sweep.
        output: the folder.
        smoke: whether it is the small one.
        resume: whether it goes on.
        track: trackers beside TensorBoard's folders: wandb:PROJECT, mlflow:URI.

    Raises:
        ValueError: the file or `track` is wrong, or the file not the one with which the sweep began.
        FileExistsError, FileNotFoundError: there is a sweep in `output`, or none to resume.
        SetupError: no trial has come to a result.
    """
    check_tracks(track)
    sweep, given = read_sweep(file, smoke)
    check_searcher(sweep)
    _enter(sweep, output, given, resume)
    os.environ.setdefault("RAY_CHDIR_TO_TRIAL_DIR", "0")  # paths among the settings are those of this folder
    start_ray(math.ceil(sweep.concurrent * processes(sweep)), resources={SLOT: sweep.concurrent})
    shared, started = share(sweep, output), time.monotonic()
    found = find_options(sweep, output, shared)
    default = sweep.default(found)  # tried first, where the search has it: it is what the others must beat
    fit = partial(_fit, output=output, track=track)
    results = fit(sweep, param_space(sweep, shared, output), TUNE, [default] if default else None)
    outcome = report(sweep, results, output, None if resume else time.monotonic() - started, found)
    if sweep.confirm and outcome.rivals:
        rivals = [one.values for one in outcome.rivals]
        again = sweep.confirming(rivals)
        points = [values | {"seed": seed} for values in rivals for seed in again.search["seed"]["choice"]]
        outcome.confirmed = configurations(again, fit(again, param_space(again, shared, output), CONFIRM, points))
        if outcome.confirmed:
            write_best(sweep, outcome.confirmed[0], output)
    return outcome


def _fit(
    sweep: Sweep,
    space: dict[str, Any],
    name: str,
    first: list[dict[str, Any]] | None,
    output: Path,
    track: Sequence[str],
) -> tune.ResultGrid:
    """Runs the trials of a folder in the output or storage, the `first` before others; goes on where there are some."""
    trainable, (files, folder) = _trainable(sweep), locate(sweep.storage or output)
    callbacks = [_Progress(sweep), *(Tracked(each, sweep, output) for each in track)]
    if _has_begun(sweep, output, name):
        options = {"param_space": space, "resume_errored": True, "storage_filesystem": files}
        tuner = tune.Tuner.restore(f"{folder}/{name}", trainable, **options)
        replace_callbacks(tuner, callbacks)
        return tuner.fit()
    config = replace(_run_config(sweep), name=name, storage_path=folder, storage_filesystem=files, callbacks=callbacks)
    return tune.Tuner(trainable, param_space=space, tune_config=_tune_config(sweep, first), run_config=config).fit()


def _has_begun(sweep: Sweep, output: Path, name: str) -> bool:
    files, folder = locate(sweep.storage or output)
    return tune.Tuner.can_restore(f"{folder}/{name}", storage_filesystem=files)


def check_searcher(sweep: Sweep) -> None:
    """Raises ValueError where what draws is not installed."""
    if sweep.searcher == "optuna":
        try:
            import optuna  # noqa: F401
        except ImportError as error:
            raise ValueError("searcher is optuna, which is not installed: pip install -e .[optuna]") from error


def processes(sweep: Sweep) -> float:
    """Cores that a trial has to itself."""
    own = sweep.resources
    return own.cpu + (1 if sweep.trains == "classifier" else own.rollout_workers)  # Ray Train's worker is one more


def param_space(sweep: Sweep, shared: Shared, output: Path) -> dict[str, Any]:
    """The space from which Tune draws a trial's configuration."""
    space = {"seed": sweep.seed, **sweep.fixed, **{name: domain(how) for name, how in sweep.search.items()}}
    if sweep.record:
        space |= sweep.recorded_in(sweep.shared_by()[0], output)
    if sweep.trains == "classifier":
        return space | {"shared": shared, "folder": str((output / "classifiers").absolute())}
    own = sweep.resources
    resources = {"num_cpus_for_main_process": own.cpu, "num_gpus": own.gpu, "num_env_runners": own.rollout_workers}
    if sweep.scheduler.pbt and SLOT in ray.cluster_resources():
        resources["custom_resources_for_main_process"] = {SLOT: 1}
    return space | resources | {"shared_demos": shared or None}


def _enter(sweep: Sweep, output: Path, given: Mapping[str, Any], resume: bool) -> None:
    """Makes the folder of a sweep, or finds the same sweep in it."""
    file = output / SWEEP
    if not resume:
        if output.exists() and any(output.iterdir()):
            raise FileExistsError(
                f"{output} is there and not empty. Choose another --save_dir, or go on with its sweep by --resume."
            )
        if _has_begun(sweep, output, TUNE):
            raise FileExistsError(f"{sweep.storage} holds a sweep already. Choose another storage.")
        output.mkdir(parents=True, exist_ok=True)
        write_file(file, write_yaml(dict(given)))
    elif not file.exists():
        raise FileNotFoundError(f"There is no sweep in {output} to resume. Check --save_dir, or leave --resume out.")
    elif (before := read_yaml(file)) != given:
        changed = sorted(name for name in {*before, *given} if before.get(name) != given.get(name))
        raise ValueError(
            f"The sweep in {output} began with another {', '.join(changed)}: take {file}, or another --save_dir."
        )


def _trainable(sweep: Sweep) -> Any:
    if sweep.trains == "classifier":
        own = sweep.resources
        return tune.with_resources(classifier_trial, {"cpu": own.cpu, "gpu": own.gpu})
    return HybridTrial if sweep.trains == "hybrid" else OfflineTrial


def _tune_config(sweep: Sweep, first: list[dict[str, Any]] | None) -> tune.TuneConfig:
    return tune.TuneConfig(
        metric=sweep.metric,
        mode=sweep.mode,
        num_samples=sweep.trials,
        search_alg=_searcher(sweep, first),
        scheduler=_scheduler(sweep),
        trial_dirname_creator=_name,
    )


class _Progress(tune.Callback):
    """A line for each trial that ends."""

    def __init__(self, sweep: Sweep) -> None:
        self._search, self._metric, self._steps = list(sweep.search), sweep.metric, STEPS.get(sweep.trains)
        self._ended = 0

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        result = trial.last_result
        self._say(
            trial, f"{self._metric} {result.get(self._metric, math.nan):.3g} after {result.get(self._steps, 1):g} steps"
        )

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._say(trial, f"failed, see {trial.error_file}")

    def _say(self, trial: Any, outcome: str) -> None:
        self._ended += 1
        values = ", ".join(f"{name} {short(trial.config[name])}" for name in self._search)
        logger.info("Trial %d, %s: %s", self._ended, values, outcome)


def _name(trial: Any) -> str:
    return trial.trial_id


def _searcher(sweep: Sweep, first: list[dict[str, Any]] | None) -> Any:
    if sweep.searcher == "random":
        return BasicVariantGenerator(
            points_to_evaluate=first,
            max_concurrent=0 if sweep.scheduler.pbt else sweep.concurrent,  # a population is there at once
            constant_grid_search=True,
            random_state=sweep.seed,
        )
    from optuna.samplers import TPESampler
    from ray.tune.search.optuna import OptunaSearch

    searcher = OptunaSearch(points_to_evaluate=first, sampler=TPESampler(seed=sweep.seed))
    return ConcurrencyLimiter(searcher, max_concurrent=sweep.concurrent)


def _scheduler(sweep: Sweep) -> TrialScheduler | None:
    if asha := sweep.scheduler.asha:
        longest = max(sweep.trial_options(values).schedule.max_steps for values in sweep.combinations())
        return ASHAScheduler(
            STEPS[sweep.trains], max_t=longest, grace_period=asha.grace, reduction_factor=asha.reduction
        )
    if pbt := sweep.scheduler.pbt:
        return PopulationBasedTraining(
            STEPS[sweep.trains],
            perturbation_interval=pbt.every,
            hyperparam_mutations={name: how.get("choice") or domain(how) for name, how in sweep.search.items()},
            quantile_fraction=pbt.quantile,
            custom_explore_fn=partial(_within_bounds, search=sweep.search),
        )
    return None


def _within_bounds(config: dict[str, Any], search: Mapping[str, Any]) -> dict[str, Any]:
    return {**config, **{name: within(how, config[name]) for name, how in search.items()}}


def _run_config(sweep: Sweep) -> tune.RunConfig:
    checkpoints, stop = None, None
    if sweep.trains != "classifier":
        schedule = sweep.trial_options(sweep.combinations()[0]).schedule
        checkpoints = tune.CheckpointConfig(
            checkpoint_frequency=math.ceil(sweep.checkpoint_every / schedule.steps_per_iteration),
            checkpoint_at_end=True,
            # One that another trial takes over, or that a killed sweep's state names, must still be there.
            num_to_keep=3 if sweep.scheduler.pbt else 2,
        )
        stop = partial(_is_over, steps=STEPS[sweep.trains], limits=sweep.stop)
    return tune.RunConfig(stop=stop, checkpoint_config=checkpoints, verbose=0)


def _is_over(trial_id: str, result: Mapping[str, Any], steps: str, limits: Mapping[str, float]) -> bool:
    reached = [name for name, limit in limits.items() if result[name] >= limit]
    return bool(reached) or result[steps] >= result["config"]["max_steps"]
