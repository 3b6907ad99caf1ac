"""The parts of a sweep: what stops trials, what they have to themselves, and what is recorded for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from serl_ray.settings import check_names, names_of
from serl_ray.yaml_options import checked, naming

ABOVE_ZERO = ("grace", "reduction", "every", "quantile", "episodes")


@dataclass
class Asha:
    """Trials stop early that are not among the best (arXiv 1810.05934)."""

    grace: int
    """Steps that every trial makes."""
    reduction: float = 2.0
    """Of the trials that come to a rung, one in so many goes on; the next rung is at so many times the steps."""


@dataclass
class Pbt:
    """Trials that do badly go on from the checkpoint of one that does well, with options nearby (arXiv 1711.09846)."""

    every: int
    """Steps between comparisons."""
    quantile: float = 0.25
    """Share of the trials that copies, and share that is copied."""


@dataclass
class Resources:
    """What a trial has to itself."""

    cpu: float = 1.0
    """Cores of its learner."""
    gpu: float = 0.0
    """GPUs of its learner."""
    rollout_workers: int = 0
    """Processes that step envs beside the learner, a core each; with none, runs of one seed are equal."""


@dataclass
class Recording:
    """Episodes of the env's scripted expert, recorded once for all trials."""

    episodes: int = 20
    """Demonstrations that succeed, or episodes of frames."""
    noise: float = 0.2
    """Of the expert, as a share of full scale."""
    seed: int = 0
    """Of the env and the noise."""


def part_of(kind: type[Any], given: Mapping[str, Any], where: str) -> Any:
    """One of these from a mapping; ValueError where it is not right."""
    with naming(where):
        options = checked(given, kind)
        if missing := [name for name in names_of(kind) if name not in options and not hasattr(kind, name)]:
            raise ValueError(f"{missing[0]} is missing.")
        for name, value in options.items():
            if value < 0 or (name in ABOVE_ZERO and value == 0):
                raise ValueError(f"{name} is {value}; it must be {'above' if name in ABOVE_ZERO else 'at least'} 0.")
        return kind(**options)


def scheduler_of(given: Mapping[str, Any]) -> Asha | Pbt | None:
    """The scheduler that {asha: {...}} or {pbt: {...}} describes; None where it is empty."""
    if not given:
        return None
    kinds = {"asha": Asha, "pbt": Pbt}
    with naming("scheduler"):
        check_names(given, kinds)
        [name, *others], [options, *_] = given, given.values()
        if others:
            raise ValueError(f"choose one of {', '.join(given)}.")
        if not isinstance(options, dict):
            raise ValueError(
                f"{name} is {options!r}; it must be a mapping such as {{{'grace' if name == 'asha' else 'every'}: 500}}."
            )
    part = part_of(kinds[name], options, f"scheduler: {name}")
    if isinstance(part, Asha) and part.reduction <= 1:
        raise ValueError(f"scheduler: asha: reduction is {part.reduction}; it must be above 1.")
    if isinstance(part, Pbt) and part.quantile > 0.5:
        raise ValueError(f"scheduler: pbt: quantile is {part.quantile}; it must be at most 0.5.")
    return part
