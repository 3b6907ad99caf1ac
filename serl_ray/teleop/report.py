"""Counts of the acts of operators and the fate of their commands."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from serl_ray.data.episodes import HELD_ACTION, TAIL
from serl_ray.data.schema import EXECUTED
from serl_ray.teleop.events import Decision, StepActor

COUNTED = ("stale", "holds", "losses", "discards", "vetoes", "stops", "refused")
"""The counts of a session that a run's results have."""


@dataclass
class OperatorReport:
    """The operators' part in some steps of one worker.

    Attributes:
        counts: numbers of stale commands, holds and others by name, of `COUNTED`.
        loop_ages: ages in seconds of the frames that persons acted on.
        operator_seconds: duration of all steps in which a person acted.
        steps: number of all steps.
        reset_seconds: seconds for which the robot has waited for persons to put the scene in order.
    """

    counts: Counter[str] = field(default_factory=Counter)
    loop_ages: list[float] = field(default_factory=list)
    operator_seconds: float = 0.0
    steps: int = 0
    reset_seconds: float = 0.0

    @classmethod
    def join(cls, reports: Sequence[OperatorReport]) -> Self:
        """One report of several."""
        return cls(
            counts=sum((report.counts for report in reports), Counter()),
            loop_ages=[age for report in reports for age in report.loop_ages],
            operator_seconds=sum(report.operator_seconds for report in reports),
            steps=sum(report.steps for report in reports),
            reset_seconds=sum(report.reset_seconds for report in reports),
        )


def actor_in_info(decision: Decision) -> dict[str, Any]:
    """The part of a step's `info` that says who acted."""
    if decision.actor is StepActor.PERSON:
        return {
            EXECUTED: decision.action,
            "intervene_source": decision.source,
            "intervention": decision.intervention,
            TAIL: decision.tail,
        }
    return {HELD_ACTION: decision.action} if decision.actor is StepActor.HOLD else {}
