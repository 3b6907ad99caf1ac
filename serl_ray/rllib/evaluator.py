"""Evaluation during training, on a worker of its own."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import takewhile
from typing import Any

import numpy as np
from ray.exceptions import RayError
from ray.rllib.env.env_runner_group import EnvRunnerGroup
from ray.rllib.evaluation.rollout_worker import RolloutWorker

from serl_ray.evaluate import Evaluation, deterministic, run_episodes
from serl_ray.rllib.failures import FaultLog, WorkerError, raise_failure, reporting
from serl_ray.rllib.sampling import answers

Weights = dict[str, np.ndarray]
SEED = 10_000
"""Of an evaluation's episodes, which are the same each time."""
POLL_SECONDS = 0.2
"""Between looks at whether an evaluation has ended, or shall."""


class Evaluator:
    """Plays deterministic episodes with given weights; beside the training where there is a remote evaluation worker.

    Args:
        workers: RLlib's evaluation workers; None where no evaluation is wanted.
        episodes: of one evaluation.
        faults: where an evaluation that did not come to its end is noted.
        should_stop: asked after each episode that is played in this process.
    """

    def __init__(
        self, workers: EnvRunnerGroup | None, episodes: int, faults: FaultLog, should_stop: Callable[[], bool] = lambda: False
    ) -> None:
        self._workers, self._episodes, self._faults, self._should_stop = workers, episodes, faults, should_stop
        self._is_remote = workers is not None and workers.num_remote_env_runners() > 0
        self._is_running = False
        self._finished: dict[str, float] | None = None

    def start(self, weights: Weights, env_steps: int) -> None:
        """Starts an evaluation of the policy after `env_steps`; does nothing while the one before is running."""
        if self._is_running or self._workers is None:
            return
        play = partial(_play, weights=weights, env_steps=env_steps, episodes=self._episodes)
        if self._is_remote:
            [worker, *_] = self._workers._worker_manager.actor_ids()
            self._workers.foreach_env_runner_async(play, remote_worker_ids=[worker], healthy_only=False)
            self._is_running = True
        else:
            self._finished = self._outcome(play(self._workers.local_env_runner, should_stop=self._should_stop))

    def finished(self, timeout: float = 0.0) -> dict[str, float] | None:
        """The metrics of an evaluation that has ended within `timeout` seconds, once."""
        if self._is_running:
            for _, outcome in answers(self._workers, timeout):
                self._finished = self._outcome(outcome)
                self._is_running = False
        finished, self._finished = self._finished, None
        return finished

    def wait(self) -> dict[str, float]:
        """The metrics of the evaluation that runs or has just ended; none where it did not come to its end."""
        outcome = self.finished()
        while outcome is None and self._is_running and not self._should_stop():
            outcome = self.finished(POLL_SECONDS)
        return outcome or {}

    def _outcome(self, outcome: Any) -> dict[str, float] | None:
        try:
            if isinstance(outcome, RayError):
                raise outcome
            return raise_failure(outcome)
        except (RayError, WorkerError) as error:
            self._faults.lose("evaluations_lost", f"An evaluation has failed; training goes on. {error}")
            return None


@reporting
def _play(
    worker: RolloutWorker, weights: Weights, env_steps: int, episodes: int, should_stop: Callable[[], bool] = lambda: False
) -> dict[str, Any] | None:
    policy = worker.get_policy()
    policy.set_weights(weights)
    played = list(takewhile(lambda _: not should_stop(), run_episodes(deterministic(policy.agent), worker.env, episodes, SEED)))
    if len(played) < episodes:
        return None
    return {"evaluation/at_step": float(env_steps), **Evaluation(played).metrics()}
