"""The parts of a sweep: what stops trials, and what a trial has to itself."""

from __future__ import annotations

from typing import Annotated, Self

from annotated_types import Ge, Gt, Interval
from pydantic import FiniteFloat, model_validator

from serl_ray.utils.options import Options


class Asha(Options):
    """Trials that are not among the best stop early (arXiv 1810.05934)."""

    grace: Annotated[int, Gt(0)]
    """Steps that every trial makes."""
    reduction: Annotated[FiniteFloat, Gt(1.0)] = 2.0
    """Trials at a rung for each one that goes on; the next rung is at this many times the steps."""


class Pbt(Options):
    """Trials that do badly go on from the checkpoint of one that does well, with options nearby (arXiv 1711.09846)."""

    every: Annotated[int, Gt(0)]
    """Steps between comparisons."""
    quantile: Annotated[FiniteFloat, Interval(gt=0.0, le=0.5)] = 0.25
    """Share of the trials that copies, and share that is copied."""


class Scheduler(Options):
    """One of the two ways to end or redirect trials; by default every trial runs to its end."""

    asha: Asha | None = None
    """Stop trials that are not among the best."""
    pbt: Pbt | None = None
    """Let trials that do badly go on from better ones."""

    @model_validator(mode="after")
    def _check_choice(self) -> Self:
        if empty := [name for name in self.model_fields_set if getattr(self, name) is None]:
            raise ValueError(f"{empty[0]} is None; it must be a mapping of its options.")
        if self.asha and self.pbt:
            raise ValueError("choose one of asha and pbt.")
        return self


class Resources(Options):
    """Resources of one trial."""

    cpu: Annotated[FiniteFloat, Ge(0.0)] = 1.0
    """Cores of its learner."""
    gpu: Annotated[FiniteFloat, Ge(0.0)] = 0.0
    """GPUs of its learner."""
    rollout_workers: Annotated[int, Ge(0)] = 0
    """Processes that step envs beside the learner, with one core each; without them, runs of one seed are equal."""
