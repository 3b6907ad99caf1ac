"""Evaluation during training, on a worker of its own."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from ray.rllib.env.env_runner_group import EnvRunnerGroup
from ray.rllib.evaluation.rollout_worker import RolloutWorker

from serl_ray.evaluate import deterministic, evaluate
from serl_ray.rllib.failures import raise_failure, reporting

Weights = dict[str, np.ndarray]


class Evaluator:
    """Plays deterministic episodes with given weights; beside the training where there is a remote evaluation worker.

    Args:
        workers: RLlib's evaluation workers; None where no evaluation is wanted.
        episodes: of one evaluation.
    """

    def __init__(self, workers: EnvRunnerGroup | None, episodes: int) -> None:
        self._workers = workers
        self._episodes = episodes
        self._is_remote = workers is not None and workers.num_remote_env_runners() > 0
        self._is_running = False
        self._finished: dict[str, float] | None = None

    def start(self, weights: Weights, env_steps: int) -> None:
        """Starts an evaluation of the policy after `env_steps`; does nothing while the one before is running."""
        if self._is_running or self._workers is None:
            return
        play = partial(_play, weights=weights, env_steps=env_steps, episodes=self._episodes)
        if self._is_remote:
            self._workers.foreach_env_runner_async(play, remote_worker_ids=self._workers.healthy_env_runner_ids()[:1])
            self._is_running = True
        else:
            self._finished = raise_failure(play(self._workers.local_env_runner))

    def finished(self, timeout: float | None = 0.0) -> dict[str, float] | None:
        """The metrics of an evaluation that has ended within `timeout` seconds (None: wait), once."""
        if self._is_running and (ready := self._workers.fetch_ready_async_reqs(timeout_seconds=timeout)):
            [(_, outcome)] = ready
            self._finished = raise_failure(outcome)
            self._is_running = False
        finished, self._finished = self._finished, None
        return finished

    def wait(self) -> dict[str, float]:
        """The metrics of the evaluation that runs or has just ended."""
        return self.finished(timeout=None) or {}


@reporting
def _play(worker: RolloutWorker, weights: Weights, env_steps: int, episodes: int) -> dict[str, Any]:
    policy = worker.get_policy()
    policy.set_weights(weights)
    outcome = evaluate(deterministic(policy.agent), worker.env, episodes)
    return {"evaluation/at_step": float(env_steps), **outcome.metrics()}
