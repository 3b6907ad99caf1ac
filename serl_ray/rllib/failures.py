"""Failures of a run: those that it survives, counted by name, and those that end it.

RLlib writes a remote worker's exception into that worker's log and ends the process; so it is carried over as a value
instead.
"""

from __future__ import annotations

import functools
import logging
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, get_args

from ray.rllib.evaluation.rollout_worker import RolloutWorker

from serl_ray.data.episodes import EnvFault, FaultKind
from serl_ray.teleop.held import HeldBack

ENV_FAULTS: dict[FaultKind, str] = {"timeout": "is late", "lost": "loses its robot"}
"""Verbs of a `BrokenEnvError` for an env whose results are not wrong."""
T = TypeVar("T")
logger = logging.getLogger(__name__)


class WorkerError(RuntimeError):
    """A rollout worker has failed; the message ends with the traceback of what happened there."""


class BrokenEnvError(WorkerError, ValueError):
    """An env breaks the contract, or is late, again and again; the message is one line for its author."""


class LearnerError(RuntimeError):
    """The learner's numbers became NaN or infinite; go on from a checkpoint from before."""


def diverged(what: str, learner_steps: int) -> LearnerError:
    """The error of metrics that are no numbers any more."""
    return LearnerError(
        f"{what} is NaN or infinite after {learner_steps} learner steps. The run ends here; its last checkpoint is "
        "from before. Go on from it with a smaller --lr, or look for odd values in the data."
    )


@dataclass(frozen=True)
class Fault:
    """An episode that was dropped.

    Attributes:
        steps: number of lost steps; those handed over before are kept.
        interventions: number of lost steps that the operator made.
        text: what happened, with a traceback where the env raised.
    """

    kind: FaultKind
    steps: int
    interventions: int
    text: str

    @classmethod
    def of(cls, error: EnvFault, steps: int, interventions: int) -> Fault:
        text = str(error)
        if error.__cause__ is not None:
            text += "\n" + "".join(traceback.format_exception(error.__cause__)).rstrip()
        return cls(error.kind, steps, interventions, text)


class FaultLog:
    """Counts what a run has survived, and says it at once."""

    def __init__(self) -> None:
        self.counts = {f"faults/env_{kind}": 0 for kind in get_args(FaultKind)}
        others = ("steps_dropped", "interventions_dropped", "workers_lost", "evaluations_lost")
        held = ("held_episodes_lost", "held_steps_lost")
        self.counts |= {f"faults/{name}": 0 for name in (*others, *held)}

    def add(self, worker: int, faults: Iterable[Fault]) -> None:
        """Episodes that a worker dropped."""
        for fault in faults:
            self.counts[f"faults/env_{fault.kind}"] += 1
            self.counts["faults/steps_dropped"] += fault.steps
            self.counts["faults/interventions_dropped"] += fault.interventions
            logger.warning("Rollout worker %d dropped an episode (%d steps). %s", worker, fault.steps, fault.text)

    def lose_held(self, worker: int, held: HeldBack) -> None:
        """A worker is lost with what it held back for operators when it last reported."""
        if held.episodes:
            self.counts["faults/held_episodes_lost"] += held.episodes
            self.counts["faults/held_steps_lost"] += held.steps
            logger.warning(
                "Rollout worker %d held back %d episodes with %d steps for its operators when it last reported: they "
                "are lost, and so are its steps since then.",
                worker,
                *held,
            )

    def lose(self, what: Literal["workers_lost", "evaluations_lost"], text: str) -> None:
        self.counts[f"faults/{what}"] += 1
        logger.warning(text)


@dataclass
class Failure:
    """A remote task's exception, in place of its result.

    Attributes:
        text: what is wrong with an env's result, or the exception's traceback.
        env_fault: words that say what an env does, whose author needs no traceback; empty where there is one.
    """

    worker: int
    text: str
    env_fault: str = ""


def reporting(task: Callable[..., T]) -> Callable[..., T | Failure]:
    """A task for a remote worker that hands its exception over in place of a result; see `raise_failure`."""

    @functools.wraps(task)
    def run(worker: RolloutWorker, *args: Any, **kwargs: Any) -> T | Failure:
        try:
            return task(worker, *args, **kwargs)
        except EnvFault as fault:
            if fault.kind == "error":  # its traceback tells where
                return Failure(worker.worker_index, traceback.format_exc())
            return Failure(worker.worker_index, str(fault), ENV_FAULTS.get(fault.kind, "breaks the contract"))
        except Exception:
            return Failure(worker.worker_index, traceback.format_exc())

    return run


def raise_failure(result: T | Failure) -> T:
    """The result of a `reporting` task.

    Raises:
        BrokenEnvError: an env breaks the contract, is late or loses its robot again and again.
        WorkerError: the task has failed otherwise.
    """
    if isinstance(result, Failure) and result.env_fault:
        raise BrokenEnvError(
            f"The env of rollout worker {result.worker} {result.env_fault} again and again. {result.text}"
        )
    if isinstance(result, Failure):
        raise WorkerError(f"Rollout worker {result.worker} has failed:\n{result.text}")
    return result
