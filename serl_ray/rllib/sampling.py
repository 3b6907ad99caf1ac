"""Rollout workers as a stream of segments: in process without remote workers, else asynchronously."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import gymnasium
import ray
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.env.env_context import EnvContext
from ray.rllib.env.env_runner_group import EnvRunnerGroup
from ray.rllib.evaluation.rollout_worker import RolloutWorker

from serl_ray.data.schema import Segment
from serl_ray.envs import make_env
from serl_ray.envs.wrappers import ExpertIntervention, RecordEpisodes
from serl_ray.rllib.collector import Collector
from serl_ray.rllib.failures import raise_failure, reporting
from serl_ray.types import ActionLayout

IN_FLIGHT = 2
"""Requests a rollout worker has at a time: one that it works on, and one to go on with."""
POLL_SECONDS = 0.005
"""For how long a fetch waits where all that is asked for is not there yet; the workers are busy meanwhile."""


class RolloutEnv(gymnasium.Wrapper):
    """The env of a rollout worker, made from its `env_config` (see `HybridSettings.env_config`)."""

    def __init__(self, context: EnvContext) -> None:
        config = dict(context)
        interventions, episodes_dir = config.pop("interventions", None), config.pop("episodes_dir", None)
        seed = 1000 * context.worker_index + context.vector_index
        env = make_env(**config)
        if interventions:
            layout = ActionLayout.from_setup(config["setup_mode"], env.action_space.shape[0])
            env = ExpertIntervention(env, layout, seed=seed, **interventions)
        if episodes_dir:
            env = RecordEpisodes(env, episodes_dir, f"worker-{context.worker_index}-{context.vector_index}")
        super().__init__(env)


def rollout_env(algorithm_config: AlgorithmConfig, worker_index: int = 0) -> RolloutEnv:
    """The env that a rollout worker of this config steps."""
    return RolloutEnv(EnvContext(algorithm_config.env_config, worker_index))


@dataclass
class Fragment:
    """What one request to a rollout worker brings.

    Attributes:
        segments: consecutive transitions, a segment an episode.
        number: of the request, counted from 0 for each worker.
        learner_steps: how many the learner had made when it gave the weights that acted.
    """

    segments: list[Segment]
    number: int
    learner_steps: int


class Sampler:
    """Keeps `IN_FLIGHT` requests with every rollout worker, so that none waits for the learner, and hands over what they bring.

    Each request carries the acting weights of its time: a worker swaps them between two steps. Without remote workers a fetch
    steps the local one.
    """

    def __init__(self, workers: EnvRunnerGroup) -> None:
        self._workers = workers
        ids = list(workers.healthy_env_runner_ids()) if workers.num_remote_env_runners() else []
        self.is_remote = bool(ids)
        self._requested, self._delivered = dict.fromkeys(ids, 0), dict.fromkeys(ids, 0)
        self._waiting: dict[tuple[int, int], Fragment] = {}
        self._weights: tuple[int, ray.ObjectRef] | None = None

    def request(self, env_steps: int, learner_steps: int) -> None:
        """Gives every worker as many requests as it may have.

        Args:
            env_steps: how many the run has made so far.
            learner_steps: likewise; the weights are taken anew when it has grown.
        """
        wanting = [
            worker
            for worker, requested in self._requested.items()
            for _ in range(IN_FLIGHT - (requested - self._delivered[worker]))
        ]
        if not wanting:
            return
        if self._weights is None or self._weights[0] != learner_steps:
            self._weights = learner_steps, ray.put(self._workers.local_env_runner.get_policy().get_weights())
        collect = []
        for worker in wanting:
            order = {"number": self._requested[worker], "learner_steps": learner_steps}
            collect.append(partial(_collect_remotely, weights=self._weights[1], env_steps=env_steps, **order))
            self._requested[worker] += 1
        self._workers.foreach_env_runner_async(collect, remote_worker_ids=wanting)

    def fetch(self, learner_steps: int, wait: bool) -> list[Fragment]:
        """Fragments that are ready, those of one worker in their order; at first there are none.

        Args:
            learner_steps: how many the run has made so far.
            wait: for a moment, where not all requests are answered yet.

        Raises:
            WorkerError: a worker has failed.
        """
        if not self.is_remote:
            return [Fragment(_collect(self._workers.local_env_runner, 1), 0, learner_steps)]
        for worker, outcome in self._workers.fetch_ready_async_reqs(timeout_seconds=POLL_SECONDS if wait else 0.0):
            fragment = raise_failure(outcome)
            self._waiting[worker, fragment.number] = fragment
        return [fragment for worker in self._delivered for fragment in self._in_order(worker)]

    def _in_order(self, worker: int) -> Iterator[Fragment]:
        """A large fragment may arrive after the smaller one that followed it."""
        while (fragment := self._waiting.pop((worker, self._delivered[worker]), None)) is not None:
            self._delivered[worker] += 1
            yield fragment


@reporting
def _collect_remotely(worker: RolloutWorker, weights: ray.ObjectRef, env_steps: int, number: int, learner_steps: int) -> Fragment:
    policy = worker.get_policy()
    policy.set_weights(ray.get(weights))
    policy.global_timestep = env_steps
    return Fragment(_collect(worker, policy.settings.fragment_length), number, learner_steps)


def _collect(worker: RolloutWorker, steps: int) -> list[Segment]:
    if not hasattr(worker, "collector"):
        worker.collector = Collector(worker)
    return worker.collector.collect(steps)
