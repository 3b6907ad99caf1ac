"""What a sweep is, in YAML: checked to the last value before anything starts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice, product
from pathlib import Path
from typing import Any, Literal

from serl_ray.classifier.scores import METRICS as CLASSIFIER_METRICS
from serl_ray.classifier.train import FRAME_OPTIONS, ClassifierSettings
from serl_ray.files.uris import locate
from serl_ray.rllib.buffers import DEMO_OPTIONS
from serl_ray.rllib.checkpoint import MUST_MATCH
from serl_ray.rllib.metrics import METRICS
from serl_ray.settings import HybridSettings, OfflineSettings, check_names, names_of, preset
from serl_ray.sweeps.draws import LISTS, check_draw, holds
from serl_ray.sweeps.parts import Pbt, Recording, Resources, part_of, scheduler_of
from serl_ray.yaml_options import checked, naming, read_yaml

SETTINGS = {"hybrid": HybridSettings, "offline": OfflineSettings, "classifier": ClassifierSettings}
STEPS = {"hybrid": "env/steps", "offline": "learner/steps"}
"""The metric that counts what `max_steps` counts."""
FOLDERS = {"success_dir": "", "failure_dir": ""}
CONFIRMING_SEED = 1000
SMOKE = "smoke"
MOST_CHECKED = 2000
"""Combinations of values and bounds that are checked before a sweep starts."""


@dataclass
class Sweep:
    """The keys of a sweep's file."""

    trains: Literal["hybrid", "offline", "classifier"]
    """What a trial is: what train_hybrid.py, train_offline.py or train_classifier.py does."""
    search: dict[str, Any]
    """Options that differ among trials: {lr: {loguniform: [1e-4, 1e-3]}, seed: {grid: [0, 1]}}."""
    metric: str
    """What trials are compared by."""
    mode: Literal["max", "min"] = "max"
    """Whether more of it is better."""
    preset: Literal["none", "hil-serl", "tabletop"] = "none"
    """As of the script."""
    settings: dict[str, Any] = field(default_factory=dict)
    """Options that are the same for all trials."""
    trials: int = 1
    """Draws; each is tried with every combination of what is a grid."""
    concurrent: int = 2
    """Trials at a time."""
    resources: dict[str, Any] = field(default_factory=dict)
    """See `Resources`."""
    searcher: Literal["random", "optuna"] = "random"
    """optuna: draws by what earlier trials have come to."""
    scheduler: dict[str, Any] = field(default_factory=dict)
    """{asha: see `Asha`} or {pbt: see `Pbt`}; by default every trial comes to its end."""
    stop: dict[str, float] = field(default_factory=dict)
    """Metrics that end a trial once one of them is at least so great; max_steps does in any case."""
    confirm: int = 0
    """Other seeds with which the default configuration and the best of the others are run again, to the end: the best of many is
    in part the luckiest."""
    checkpoint_every: int = 1000
    """Steps after which a trial is saved, to be resumed."""
    storage: str | None = None
    """Where trials leave checkpoints and logs, where they run on several nodes: a URI such as s3://bucket/sweep, or a folder that
    all nodes see; by default the folder of the sweep."""
    record: dict[str, Any] | None = None
    """See `Recording`; by default demonstrations and frames are where the settings say."""
    seed: int = 0
    """Of the draws, and of every trial unless `search` has a seed."""

    def __post_init__(self) -> None:
        self.parts = {"resources": part_of(Resources, self.resources, "resources")}
        self.parts["record"] = None if self.record is None else part_of(Recording, self.record, "record")
        self.parts["scheduler"] = scheduler_of(self.scheduler)
        self.check()

    @property
    def options(self) -> tuple[str, ...]:
        """What may be set and searched."""
        return tuple(name for name in dict.fromkeys((*names_of(SETTINGS[self.trains]), "seed")) if name != "output_dir")

    @property
    def fixed(self) -> dict[str, Any]:
        """What all trials have in common, the preset's options included."""
        return {**preset(self.preset, SETTINGS[self.trains]), **_tuples(self.settings)}

    @property
    def drawn(self) -> list[str]:
        """Options that are searched but by a grid."""
        return [name for name, how in self.search.items() if "grid" not in how]

    def settings_of(self, values: Mapping[str, Any]) -> Any:
        """The settings of a trial with these values of what is searched."""
        settings = SETTINGS[self.trains]
        given = {**(FOLDERS if self.trains == "classifier" else {}), **self.fixed, **_tuples(values)}
        return settings(**{name: value for name, value in given.items() if name in names_of(settings)})

    def default(self) -> dict[str, Any] | None:
        """What is drawn, as it is without a sweep; None where the search leaves that out."""
        plain = {**vars(_plain(self.trains)), **preset(self.preset, SETTINGS[self.trains])}
        default = {name: plain[name] for name in self.drawn if name in plain}
        is_in = len(default) == len(self.drawn) and all(holds(self.search[name], value) for name, value in default.items())
        return default if is_in else None

    def combinations(self) -> list[dict[str, Any]]:
        """Values that trials may come to have: every listed one, and the ends of every range."""
        ends = [next(iter(how.values())) for how in self.search.values()]
        return [dict(zip(self.search, values, strict=True)) for values in islice(product(*ends), MOST_CHECKED)]

    def shared_by(self) -> list[dict[str, Any]]:
        """Values of those searched options on which it depends what the demonstrations or frames look like to a trial."""
        lists = {name: how.get("choice") or how["grid"] for name, how in self.search.items() if name in self._decides_on_data()}
        return [dict(zip(lists, values, strict=True)) for values in product(*lists.values())]

    def _decides_on_data(self) -> tuple[str, ...]:
        return FRAME_OPTIONS if self.trains == "classifier" else DEMO_OPTIONS

    def check(self) -> None:
        """Raises ValueError for the first thing that is wrong."""
        for name, least in (("trials", 1), ("concurrent", 1), ("checkpoint_every", 1), ("confirm", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least {least}.")
        with naming("storage"):
            locate(self.storage or "")
        with naming("settings"):
            check_names(self.settings, self.options)
        if not self.search:
            raise ValueError("search is empty: name options to try, such as lr: {loguniform: [1e-4, 1e-3]}.")
        with naming("search"):
            check_names(self.search, self.options)
        for name, how in self.search.items():
            with naming(f"search: {name}"):
                check_draw(how)
        if both := sorted(self.settings.keys() & self.search.keys()):
            raise ValueError(f"{both[0]} is among both the settings and what is searched: leave it out of one.")
        self._check_search()
        self._check_metrics()
        self._check_data()
        for values in self.combinations():
            with naming("search and settings"):
                settings = self.settings_of(values)
                settings.check_options() if self.trains == "classifier" else settings.check()
        self._check_steps()

    def _check_search(self) -> None:
        grids = [name for name in self.search if name not in self.drawn]
        if not self.drawn and self.trials > 1:
            raise ValueError(
                f"trials is {self.trials}, but {', '.join(grids)} are a grid, with its own number of trials: leave it out."
            )
        if self.searcher == "optuna" and grids:
            raise ValueError(f"searcher is optuna, which has no grid for {grids[0]}: make it a choice, or the searcher random.")
        for name in self._decides_on_data():
            if name in self.search and not set(self.search[name]) & set(LISTS):
                raise ValueError(
                    f"search: {name} decides what is read and shared by the trials: list its values by choice or grid."
                )
        if isinstance(self.parts["scheduler"], Pbt):
            if grids or self.searcher == "optuna":
                raise ValueError("pbt changes options as trials go on: it wants no grid, and the searcher random.")
            fixed = {*MUST_MATCH, *DEMO_OPTIONS, "max_steps", "capacity", "demo_capacity", "seed"}
            if self.confirm:
                raise ValueError("pbt ends with no options that were there from the start: leave confirm out.")
            if wrong := [name for name in self.search if name in fixed]:
                raise ValueError(f"search: {wrong[0]} cannot be changed in a run that goes on, as pbt does: search it by asha.")

    def _check_metrics(self) -> None:
        known = CLASSIFIER_METRICS if self.trains == "classifier" else METRICS
        for where, given in (("metric", [self.metric]), ("stop", self.stop)):
            with naming(where):
                check_names(given, known, "metric")
        if self.trains == "classifier" and (self.scheduler or self.stop):
            raise ValueError("A classifier says how good it is once, when it is trained: leave out scheduler and stop.")
        if self.trains == "classifier" and self.confirm:
            raise ValueError("A classifier's seed decides which frames are held out: leave confirm out.")
        for name, value in self.stop.items():
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise ValueError(f"stop: {name} is {value!r}; it must be a number.")

    def _check_data(self) -> None:
        record, kind = self.parts["record"], self.trains
        own = ("success_dir", "failure_dir") if kind == "classifier" else ("demo_paths",)
        if record is None:
            if kind == "classifier" and (missing := [name for name in own if name not in self.fixed]):
                raise ValueError(
                    f"settings: {missing[0]} is missing. Name the frames, or have them recorded: record: {{episodes: 40}}."
                )
        elif given := [name for name in own if name in self.fixed or name in self.search]:
            raise ValueError(f"{given[0]} is given, and record too: leave one of them out.")
        if "demo_paths" in self.search:
            raise ValueError("search: demo_paths cannot be searched: run a sweep for each.")
        if kind == "offline" and record is None and not self.fixed.get("demo_paths"):
            raise ValueError("settings: demo_paths is missing: offline training learns from demonstrations alone.")

    def _check_steps(self) -> None:
        if self.trains == "classifier":
            return
        scheduler = self.parts["scheduler"]
        for values in self.combinations():
            settings = self.settings_of(values)
            first = settings.evaluate_every if self.metric.startswith(("evaluation/", "held_out/")) else 1
            if not first or first > settings.max_steps:
                raise ValueError(
                    f"metric {self.metric} is not known before an evaluation, and there is none: set evaluate_every."
                )
            if self.metric.startswith("evaluation/") and settings.env_name is None:
                raise ValueError(f"metric {self.metric} wants an env to evaluate in: set env_name.")
            for name, steps in (("grace", getattr(scheduler, "grace", None)), ("every", getattr(scheduler, "every", None))):
                if steps is not None and not first <= steps <= settings.max_steps:
                    raise ValueError(
                        f"scheduler: {name} is {steps}; it must be at least {first}, when {self.metric} is known first, and at "
                        f"most max_steps, {settings.max_steps}."
                    )

    def confirming(self, configurations: Sequence[Mapping[str, Any]]) -> Sweep:
        """The sweep in which some configurations are run with other seeds, and with nothing that stops them."""
        seeds = [CONFIRMING_SEED + self.seed + index for index in range(self.confirm)]
        search: dict[str, Any] = {"seed": {"choice": seeds}}
        for name in configurations[0]:
            values = [one[name] for one in configurations]
            search[name] = {"choice": [value for index, value in enumerate(values) if value not in values[:index]]}
        trials = len(configurations) * self.confirm
        return replace(self, search=search, trials=trials, scheduler={}, stop={}, searcher="random", confirm=0)

    def recorded_in(self, values: Mapping[str, Any], folder: Path) -> dict[str, Any]:
        """The settings that say where the recorded demonstrations or frames are."""
        settings = self.settings_of(values)
        if self.trains == "classifier":
            return {"success_dir": str(folder / "frames" / "success"), "failure_dir": str(folder / "frames" / "failure")}
        return {"demo_paths": (str(folder / "demos" / f"{settings.setup_mode}.pkl"),)}


def read_sweep(path: Path, smoke: bool = False) -> tuple[Sweep, dict[str, Any]]:
    """The sweep in a file, and what the file says; for a smoke run with what its `smoke` puts over it.

    Raises:
        FileNotFoundError, ValueError: of the file, with its name, the key and the mend.
    """
    given = read_yaml(path)
    with naming(path):
        smaller = given.pop(SMOKE, {})
        if not isinstance(smaller, dict):
            raise ValueError(f"smoke is {smaller!r}; it must be a mapping of keys to what they are in a smoke run.")
        whole = _sweep(given)
        merged = {**given, **{name: _over(given.get(name), value) for name, value in smaller.items()}}
        with naming(SMOKE):
            small = _sweep(merged)
    return (small, merged) if smoke else (whole, given)


def _over(value: Any, smaller: Any) -> Any:
    return {**value, **smaller} if isinstance(value, dict) and isinstance(smaller, dict) else smaller


def _sweep(given: Mapping[str, Any]) -> Sweep:
    options = checked(given, Sweep)
    for name in ("trains", "search", "metric"):
        if name not in given:
            raise ValueError(f"{name} is missing.")
    return Sweep(**options)


def _plain(trains: str) -> Any:
    return ClassifierSettings("", "") if trains == "classifier" else SETTINGS[trains]()


def _tuples(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
