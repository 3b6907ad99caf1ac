"""The declaration of a sweep in YAML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice, product
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Ge
from pydantic import Field

from serl_ray.classifier.config import ClassifierOptions
from serl_ray.options.groups import RecordOptions
from serl_ray.options.presets import PresetName, preset
from serl_ray.options.sets import HybridOptions, OfflineOptions
from serl_ray.sweeps.draws import can_draw
from serl_ray.sweeps.parts import Resources, Scheduler
from serl_ray.utils.options import Options, Role, names_of, options_of

OPTIONS: dict[str, type[Options]] = {
    "hybrid": HybridOptions,
    "offline": OfflineOptions,
    "classifier": ClassifierOptions,
}
STEPS = {"hybrid": "env/steps", "offline": "learner/steps"}
"""The metric that counts what `max_steps` counts."""
CONFIRMING_SEED = 1000
MOST_CHECKED = 2000
"""Combinations of values and bounds that are checked before a sweep starts."""


class Sweep(Options):
    """The keys of a sweep's file."""

    trains: Literal["hybrid", "offline", "classifier"]
    """Kind of training of a trial: a hybrid run, an offline run, or a reward classifier."""
    search: dict[str, Any]
    """Options that differ among trials: {lr: {loguniform: [1e-4, 1e-3]}, seed: {grid: [0, 1]}}."""
    metric: str
    """Metric by which trials are compared."""
    mode: Literal["max", "min"] = "max"
    """Direction of the metric: max where the greatest value is the best, min where the least is."""
    preset: PresetName = "none"
    """Preset from which every trial starts."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """Options that are the same in all trials."""
    trials: Annotated[int, Ge(1)] = 1
    """Number of draws; each is tried with every combination of the grids."""
    concurrent: Annotated[int, Ge(1)] = 2
    """Number of trials that run at a time."""
    resources: Resources = Field(default_factory=Resources)
    """Resources of one trial."""
    searcher: Literal["random", "optuna"] = "random"
    """Method of drawing values: at random, or by Optuna from the results of earlier trials."""
    scheduler: Scheduler = Field(default_factory=Scheduler)
    """Scheduler that ends or redirects trials: {asha: {grace: 500}} or {pbt: {every: 500}}."""
    stop: dict[str, Any] = Field(default_factory=dict)
    """Metrics that end a trial once one of them reaches its value; max_steps ends it in any case."""
    confirm: Annotated[int, Ge(0)] = 0
    """Other seeds with which the default and the best of the others run again, since the best of many is partly
    luck."""
    checkpoint_every: Annotated[int, Ge(1)] = 1000
    """Steps between the checkpoints of a trial, from which it can be resumed."""
    storage: str | None = None
    """Folder that all nodes see, or URI such as s3://bucket/sweep, for the checkpoints and logs of trials on several
    nodes; by default the folder of the sweep."""
    record: RecordOptions | None = None
    """Demonstrations or images to record first; by default the settings name them."""
    seed: Annotated[int, Ge(0)] = 0
    """Seed of the draws, and of every trial unless `search` has a seed."""

    @property
    def options(self) -> tuple[str, ...]:
        """The names that may be set and searched."""
        return tuple(name for name in dict.fromkeys((*names_of(OPTIONS[self.trains]), "seed")) if name != "save_dir")

    def names(self, role: Role) -> tuple[str, ...]:
        """The names of the trial's options that have a role."""
        return names_of(OPTIONS[self.trains], role)

    @property
    def fixed(self) -> dict[str, Any]:
        """The options that all trials have in common, the preset's among them."""
        return {**preset(self.preset, OPTIONS[self.trains]), **self.settings}

    @property
    def drawn(self) -> list[str]:
        """Options that are searched otherwise than by a grid."""
        return [name for name, how in self.search.items() if "grid" not in how]

    def trial_options(self, values: Mapping[str, Any]) -> Any:
        """The options of a trial with these values of the searched ones.

        Raises:
            OptionError: they do not fit.
        """
        options = OPTIONS[self.trains]
        required = {option.name: "" for option in options_of(options) if option.field.is_required()}
        given = {**required, **self.fixed, **values}
        return options.of(**{name: value for name, value in given.items() if name in names_of(options)})

    def plain(self, found: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """All options as they are without a sweep; those that a run finds itself as they were `found`."""
        plain = {option.name: option.default for option in options_of(OPTIONS[self.trains])}
        return plain | preset(self.preset, OPTIONS[self.trains]) | dict(found or {})

    def default(self, found: Mapping[str, Any] | None = None) -> dict[str, Any] | None:
        """The drawn options as they are without a sweep, as for `plain`; None where the search leaves these values
        out."""
        plain = self.plain(found)
        default = {name: plain[name] for name in self.drawn if name in plain}
        is_in = len(default) == len(self.drawn) and all(
            can_draw(self.search[name], value) for name, value in default.items()
        )
        return default if is_in else None

    def combinations(self) -> list[dict[str, Any]]:
        """Values that trials may have: every listed one, and the ends of every range."""
        ends = [next(iter(how.values())) for how in self.search.values()]
        return [dict(zip(self.search, values, strict=True)) for values in islice(product(*ends), MOST_CHECKED)]

    def shared_by(self) -> list[dict[str, Any]]:
        """The combinations of those searched values that decide how the data look to a trial."""
        decisive = self.names(Role.DATA)
        lists = {name: how.get("choice") or how["grid"] for name, how in self.search.items() if name in decisive}
        return [dict(zip(lists, values, strict=True)) for values in product(*lists.values())]

    def confirming(self, configurations: Sequence[Mapping[str, Any]]) -> Sweep:
        """The sweep in which some configurations run with other seeds, to their end."""
        seeds = [CONFIRMING_SEED + self.seed + index for index in range(self.confirm)]
        search: dict[str, Any] = {"seed": {"choice": seeds}}
        for name in configurations[0]:
            values = [one[name] for one in configurations]
            search[name] = {"choice": [value for index, value in enumerate(values) if value not in values[:index]]}
        trials = len(configurations) * self.confirm
        whole = {
            "search": search,
            "trials": trials,
            "scheduler": Scheduler(),
            "stop": {},
            "searcher": "random",
            "confirm": 0,
        }
        return type(self)(**{**dict(self), **whole})

    def recorded_in(self, values: Mapping[str, Any], folder: Path) -> dict[str, Any]:
        """The options that say where the recorded demonstrations or images are."""
        if self.trains == "classifier":
            return {
                "success_dir": str(folder / "frames" / "success"),
                "failure_dir": str(folder / "frames" / "failure"),
            }
        return {"demo_paths": (str(folder / "demos" / f"{self.trial_options(values).env.setup_mode}.pkl"),)}
