"""RLlib's rollout worker, with a collector in the place of its sampler."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable
from functools import cached_property
from threading import Event
from typing import Any

from ray.rllib.evaluation.rollout_worker import RolloutWorker
from ray.rllib.utils.annotations import override

from serl_ray.data.schema import Segment
from serl_ray.rllib.callbacks import EpisodeMetrics, tell_sample_end
from serl_ray.rllib.collector import Collector
from serl_ray.rllib.failures import Fault, WorkerError
from serl_ray.rllib.refusals import ONE_POLICY, Refusal, RefusedError, refuses
from serl_ray.teleop.held import HeldBack, operated
from serl_ray.teleop.report import OperatorReport
from serl_ray.teleop.terminal_resets import waiting

logger = logging.getLogger(__name__)

STEPS_THE_ENV = (
    "it would step the env of the run. Call train() to gather experience, evaluate() to play episodes in another env."
)
LEARNS = "learner steps are counted, and made by train() alone."
WORKER_STATE = "a worker's state is a part of the run's. Call the algorithm's save() and restore()."


@refuses(
    {
        **dict.fromkeys(
            ("sample", "sample_with_count", "sample_and_learn", "sample_get_state_and_metrics"), STEPS_THE_ENV
        ),
        **dict.fromkeys(("learn_on_batch", "compute_gradients", "apply_gradients"), LEARNS),
        **dict.fromkeys(("add_policy", "remove_policy"), ONE_POLICY),
        **dict.fromkeys(("get_state", "set_state"), WORKER_STATE),
        "get_metrics": "episodes are in the algorithm's results, under env_runners.",
        "set_global_vars": "the run counts its env steps itself.",
    }
)
class SERLWorker(RolloutWorker):
    """A rollout worker whose envs are stepped by its collector alone, or by the evaluator."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._envs = self.async_env.get_sub_environments() if self.async_env else []
        for index, env in enumerate(self._envs):
            env.get_wrapper_attr("join")(self, index)
        self._operated = [found for env in self._envs if (found := operated(env))]
        self._waiting = [found for env in self._envs if (found := waiting(env))]

    @cached_property
    def _collector(self) -> Collector:
        return Collector(self)

    def collect(self, steps: int) -> tuple[list[Segment], list[Fault]]:
        """The next `steps` steps of every env; see `Collector.collect`."""
        segments, faults = self._collector.collect(steps)
        tell_sample_end(self, segments)
        return segments, faults

    def rest(self) -> list[Segment]:
        """All that is still held back for operators, at the end of the run; see `Collector.rest`."""
        segments = self._collector.rest()
        tell_sample_end(self, segments)
        return segments

    def held_back(self) -> HeldBack:
        """All that a loss of this worker would take along; see `Collector.held_back`."""
        return self._collector.held_back()

    def interrupt_by(self, interrupted: Event) -> None:
        """From now on, a robot that waits for a person waits no longer once the event is set."""
        for env in self._waiting:
            env.interrupted = interrupted

    def take_played(self) -> list[EpisodeMetrics]:
        """The episodes that have come to their end since they were last taken."""
        return [played for env in self._envs for played in env.get_wrapper_attr("take_played")()]

    def take_operator_report(self) -> OperatorReport | None:
        """The operators' part in the steps since this was last asked; None without operators."""
        return OperatorReport.join([env.take_report() for env in self._operated]) if self._operated else None

    @override(RolloutWorker)
    def apply(self, func: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Calls `func` with this worker; where it is refused or raises, the answer is a `Refusal`, and the worker works
        on."""

        def call(worker: SERLWorker, *args: Any, **kwargs: Any) -> Any:
            try:
                return func(worker, *args, **kwargs)
            except RefusedError as error:
                return Refusal(str(error))
            except Exception:
                text = (
                    f"A function that was called on rollout worker {worker.worker_index} has "
                    f"failed:\n{traceback.format_exc()}"
                )
                logger.error(text)
                return Refusal(text, WorkerError)

        return super().apply(call, *args, **kwargs)
