"""Evaluation during training, on workers of its own."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import chain, pairwise, takewhile
from typing import Any

import numpy as np
from ray.exceptions import RayError
from ray.rllib.env.env_runner_group import EnvRunnerGroup
from ray.rllib.evaluation.rollout_worker import RolloutWorker

from serl_ray.evaluate import Episode, Evaluation, deterministic, run_episodes
from serl_ray.rllib.failures import FaultLog, WorkerError, raise_failure, reporting
from serl_ray.rllib.sampling import answers

Weights = dict[str, np.ndarray]
SEED = 10_000
"""Of an evaluation's episodes, which are the same each time."""
POLL_SECONDS = 0.2
"""Between looks at whether an evaluation has ended, or shall."""


class Evaluator:
    """Plays deterministic episodes with given weights; beside the training where remote evaluation workers share them.

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
        ids = list(workers._worker_manager.actor_ids()) if workers is not None else []
        ends = np.linspace(0, episodes, len(ids) + 1).astype(int).tolist()
        self._shares = {worker: range(*share) for worker, share in zip(ids, pairwise(ends), strict=True) if share[0] < share[1]}
        self._playing: set[int] = set()
        self._played: dict[int, list[Episode]] = {}
        self._env_steps = 0
        self._finished: dict[str, float] | None = None

    def start(self, weights: Weights, env_steps: int) -> None:
        """Starts an evaluation of the policy after `env_steps`; does nothing while the one before is running."""
        if self._playing or self._workers is None:
            return
        self._env_steps, self._played = env_steps, {}
        if self._shares:
            plays = [partial(_play, weights=weights, episodes=episodes) for episodes in self._shares.values()]
            self._workers.foreach_env_runner_async(plays, remote_worker_ids=list(self._shares), healthy_only=False)
            self._playing = set(self._shares)
        else:
            outcome = _play(self._workers.local_env_runner, weights, range(self._episodes), self._should_stop)
            self._finished = self._metrics([self._take(outcome)])

    def finished(self, timeout: float = 0.0) -> dict[str, float] | None:
        """The metrics of an evaluation that has ended within `timeout` seconds, once."""
        if self._playing:
            for worker, outcome in answers(self._workers, timeout):
                if worker in self._playing:
                    self._playing.remove(worker)
                    self._played[worker] = self._take(outcome)
            if not self._playing:
                self._finished = self._metrics([self._played[worker] for worker in self._shares])
        finished, self._finished = self._finished, None
        return finished

    def wait(self) -> dict[str, float]:
        """The metrics of the evaluation that runs or has just ended; none where it did not come to its end."""
        outcome = self.finished()
        while outcome is None and self._playing and not self._should_stop():
            outcome = self.finished(POLL_SECONDS)
        return outcome or {}

    def _take(self, outcome: Any) -> list[Episode] | None:
        """The episodes that a worker has played; None where it did not come to its end."""
        try:
            if isinstance(outcome, RayError):
                raise outcome
            return raise_failure(outcome)
        except (RayError, WorkerError) as error:
            self._faults.lose("evaluations_lost", f"An evaluation has failed; training goes on. {error}")
            return None

    def _metrics(self, played: list[list[Episode] | None]) -> dict[str, float] | None:
        if not all(played):
            return None
        return {"evaluation/at_step": float(self._env_steps), **Evaluation(list(chain(*played))).metrics()}


@reporting
def _play(
    worker: RolloutWorker, weights: Weights, episodes: range, should_stop: Callable[[], bool] = lambda: False
) -> list[Episode] | None:
    policy = worker.get_policy()
    policy.set_weights(weights)
    playing = run_episodes(deterministic(policy.agent), worker.env, len(episodes), SEED + episodes.start)
    played = list(takewhile(lambda _: not should_stop(), playing))
    return played if len(played) == len(episodes) else None
