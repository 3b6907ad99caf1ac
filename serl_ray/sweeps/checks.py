"""A sweep is checked to its last value before anything starts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from serl_ray.classifier.scores import CLASSIFIER_METRICS
from serl_ray.files.uris import locate
from serl_ray.files.yaml import read_yaml
from serl_ray.rllib.metrics import METRICS
from serl_ray.sweeps.config import Sweep
from serl_ray.sweeps.draws import LISTS, check_draw
from serl_ray.utils.options import OptionError, Role, check_names, naming

SMOKE = "smoke"


def read_sweep(path: Path, smoke: bool = False) -> tuple[Sweep, dict[str, Any]]:
    """The sweep in a file, and what the file says; for a smoke run with what its `smoke` puts over it.

    Raises:
        FileNotFoundError: there is no such file.
        OptionError: a key or a value is wrong; the file, the key and the fix are named.
    """
    given = read_yaml(path)
    with naming(path):
        smaller = given.pop(SMOKE, {})
        if not isinstance(smaller, dict):
            raise OptionError(f"smoke is {smaller!r}; it must be a mapping of keys to their values in a smoke run.")
        whole = checked_sweep(given)
        merged = {**given, **{name: _over(given.get(name), value) for name, value in smaller.items()}}
        with naming(SMOKE):
            small = checked_sweep(merged)
    return (small, merged) if smoke else (whole, given)


def checked_sweep(given: dict[str, Any]) -> Sweep:
    """The sweep of a file's keys.

    Raises:
        OptionError: the first thing that is wrong.
    """
    sweep = Sweep(**given)
    with naming("storage"):
        _check_storage(sweep.storage)
    with naming("settings"):
        check_names(sweep.settings, sweep.options)
    _check_search(sweep)
    _check_scheduler(sweep)
    _check_metrics(sweep)
    _check_data(sweep)
    with naming("search and settings"):
        trials = [sweep.trial_options(values) for values in sweep.combinations()]
    if sweep.trains != "classifier":
        for options in trials:
            _check_steps(sweep, options)
    return sweep


def _over(value: Any, smaller: Any) -> Any:
    return {**value, **smaller} if isinstance(value, dict) and isinstance(smaller, dict) else smaller


def _check_storage(storage: str | None) -> None:
    try:
        locate(storage or "")
    except ValueError as error:
        raise OptionError(str(error)) from error


def _check_search(sweep: Sweep) -> None:
    if not sweep.search:
        raise OptionError("search is empty: name options to try, such as lr: {loguniform: [1e-4, 1e-3]}.")
    with naming("search"):
        check_names(sweep.search, sweep.options)
    for name, how in sweep.search.items():
        with naming(f"search: {name}"):
            check_draw(how)
    if both := sorted(sweep.settings.keys() & sweep.search.keys()):
        raise OptionError(f"{both[0]} is both set and searched: leave it out of settings or of search.")
    grids = [name for name in sweep.search if name not in sweep.drawn]
    if not sweep.drawn and sweep.trials > 1:
        raise OptionError(
            f"trials is {sweep.trials}, but {', '.join(grids)} are a grid, with its own number of trials: leave it out."
        )
    if sweep.searcher == "optuna" and grids:
        raise OptionError(
            f"searcher is optuna, which has no grid for {grids[0]}: make it a choice, or the searcher random."
        )
    for name in sweep.names(Role.DATA):
        if name in sweep.search and not set(sweep.search[name]) & set(LISTS):
            raise OptionError(
                f"search: {name} decides what is read and shared by the trials: list its values by choice or grid."
            )


def _check_scheduler(sweep: Sweep) -> None:
    """PBT changes options of trials that go on."""
    if sweep.scheduler.pbt is None:
        return
    if sweep.drawn != list(sweep.search) or sweep.searcher == "optuna":
        raise OptionError(
            "pbt changes options as trials go on: it needs a search without grids, and the searcher random."
        )
    if sweep.confirm:
        raise OptionError("pbt ends with options that no trial had from the start: leave confirm out.")
    fixed = {*sweep.names(Role.MUST_MATCH), *sweep.names(Role.DATA), *sweep.names(Role.FIXED), "seed"}
    if wrong := [name for name in sweep.search if name in fixed]:
        raise OptionError(
            f"search: {wrong[0]} cannot be changed in a run that goes on, as pbt does: search it by asha."
        )


def _check_metrics(sweep: Sweep) -> None:
    is_classifier = sweep.trains == "classifier"
    for where, given in (("metric", [sweep.metric]), ("stop", list(sweep.stop))):
        with naming(where):
            check_names(given, CLASSIFIER_METRICS if is_classifier else METRICS, "metric")
    if is_classifier and (sweep.scheduler.asha or sweep.scheduler.pbt or sweep.stop):
        raise OptionError("A classifier has its metrics only at its end: leave out scheduler and stop.")
    if is_classifier and sweep.preset != "none":
        raise OptionError(f"preset is {sweep.preset}, and presets are for policies: leave it out for a classifier.")
    if is_classifier and sweep.confirm:
        raise OptionError("A classifier's seed decides which images are held out: leave confirm out.")
    for name, value in sweep.stop.items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise OptionError(f"stop: {name} is {value!r}; it must be a number.")


def _check_data(sweep: Sweep) -> None:
    is_classifier = sweep.trains == "classifier"
    own = ("success_dir", "failure_dir") if is_classifier else ("demo_paths",)
    if sweep.record is None:
        if is_classifier and (missing := [name for name in own if name not in sweep.fixed]):
            raise OptionError(
                f"settings: {missing[0]} is missing. Name the images, or record some: record: {{episodes: 40}}."
            )
    elif given := [name for name in own if name in sweep.fixed or name in sweep.search]:
        raise OptionError(f"{given[0]} is given, and record too: leave one of them out.")
    if "demo_paths" in sweep.search:
        raise OptionError("search: demo_paths cannot be searched: run a sweep for each.")
    if sweep.trains == "offline" and sweep.record is None and not sweep.fixed.get("demo_paths"):
        raise OptionError("settings: demo_paths is missing: offline training learns from demonstrations alone.")


def _check_steps(sweep: Sweep, options: Any) -> None:
    """The metric must be known before a scheduler asks for it."""
    max_steps = options.schedule.max_steps
    first = options.evaluation.evaluate_every if sweep.metric.startswith(("evaluation/", "held_out/")) else 1
    if not first or first > max_steps:
        raise OptionError(
            f"metric {sweep.metric} is known after an evaluation only, and there is none: set evaluate_every."
        )
    if sweep.metric.startswith("evaluation/") and options.env.env_name is None:
        raise OptionError(f"metric {sweep.metric} needs an env to evaluate in: set env_name.")
    asha, pbt = sweep.scheduler.asha, sweep.scheduler.pbt
    for name, steps in (("grace", asha and asha.grace), ("every", pbt and pbt.every)):
        if steps is not None and not first <= steps <= max_steps:
            raise OptionError(
                f"scheduler: {name} is {steps}; it must be at least {first}, when {sweep.metric} is known first, and "
                f"at most max_steps, {max_steps}."
            )
