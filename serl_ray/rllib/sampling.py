"""Rollout workers as a stream of segments: in process without remote workers, else asynchronously."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from threading import Event
from typing import Any

import ray
from ray.exceptions import RayError
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.env.env_runner_group import EnvRunnerGroup

from serl_ray.cluster.ray_private import TAG, has_forgotten, ready_results, remote_workers
from serl_ray.cluster.start import places
from serl_ray.data.schema import Segment
from serl_ray.rllib.callbacks import EpisodeMetrics
from serl_ray.rllib.failures import Fault, FaultLog, WorkerError, raise_failure, reporting
from serl_ray.rllib.worker import SERLWorker
from serl_ray.teleop.held import NOTHING_HELD, HeldBack
from serl_ray.teleop.report import OperatorReport

logger = logging.getLogger(__name__)

IN_FLIGHT = 2
"""Requests a rollout worker has at a time: one that it works on, and one to go on with."""
MAX_IN_FLIGHT = 16
"""Most requests where the learner takes longer than a request and the worker must not wait for it."""
FETCH_SECONDS = 0.005
"""Seconds that a fetch waits for a result when none is ready; the workers are busy meanwhile."""
RETRY_SECONDS = 1.0
"""Seconds between requests to a worker that is being replaced."""


def say_what_waits(config: AlgorithmConfig) -> None:
    """Says that some workers have no node yet: the others begin without them."""
    if not ray.is_initialized():
        return  # Ray starts with the workers, on this machine
    needs = {"CPU": config.num_cpus_per_env_runner, **config.custom_resources_per_env_runner}
    wanted, there = config.num_env_runners + config.evaluation_num_env_runners, places(needs)
    if wanted > there:
        text = "The nodes of this cluster have room for %d of %d workers, each with %s; the others wait for more nodes."
        logger.warning(text, there, wanted, ", ".join(f"{name} {amount:g}" for name, amount in needs.items()))


@dataclass
class Fragment:
    """Result of one request to a rollout worker.

    Attributes:
        segments: consecutive transitions, a segment an episode.
        faults: episodes that were dropped.
        number: number of the request, counted from 0 for each worker.
        learner_steps: learner steps behind the weights that acted.
        worker: index of the worker.
        seconds: duration of the request.
        episodes: those that have come to their end.
        operators: report of the operators' part; None without operators.
        held: experience that the worker still holds back for operators.
    """

    segments: list[Segment]
    faults: list[Fault]
    number: int
    learner_steps: int
    worker: int = 0
    seconds: float = 0.0
    episodes: list[EpisodeMetrics] = field(default_factory=list)
    operators: OperatorReport | None = None
    held: HeldBack = NOTHING_HELD


@dataclass
class _Requests:
    """The requests of one worker.

    Attributes:
        asked: how many there were.
        delivered: how many of them need not be waited for any more.
        in_flight: how many it has at the moment.
        lost: when a request to it last failed, while it is being replaced.
        has_started: whether it has brought something.
        seconds: duration of the last request.
        held: experience that the worker held back when it last reported.
    """

    asked: int = 0
    delivered: int = 0
    in_flight: int = 0
    lost: float | None = None
    has_started: bool = False
    seconds: float = math.inf
    held: HeldBack = NOTHING_HELD

    def wanting(self, pause: float) -> int:
        """Requests it may have beside those it has, to have work for `pause` seconds; one at a time, and not at once,
        while it is being replaced."""
        if self.lost is None:
            in_flight = 1 + math.ceil(pause / self.seconds)
            return min(max(in_flight, IN_FLIGHT), MAX_IN_FLIGHT) - (self.asked - self.delivered)
        return int(self.in_flight == 0 and time.monotonic() - self.lost > RETRY_SECONDS)


class Sampler:
    """Keeps requests with every rollout worker, so that none waits for the learner, and hands over what they bring.

    Each request carries the acting weights of its time: a worker swaps them between two steps, and one that has been
    replaced has them before its first. Without remote workers a fetch steps the local one.

    Args:
        workers: RLlib's rollout workers.
        faults: log of lost workers and dropped episodes.
        may_wait: whether workers may be out of work while the learner makes a step; otherwise they have as many more
            requests as that takes.
    """

    def __init__(self, workers: EnvRunnerGroup, faults: FaultLog, may_wait: bool = True) -> None:
        self._workers, self._faults, self._may_wait = workers, faults, may_wait
        self._asked_at = time.monotonic()
        ids = remote_workers(workers)
        self.is_remote = bool(ids)
        self._requests = {worker: _Requests() for worker in ids}
        self._waiting: dict[tuple[int, int], Fragment] = {}
        self._weights: tuple[int, ray.ObjectRef] | None = None

    @property
    def in_flight(self) -> int:
        """Requests that are not answered."""
        return sum(requests.in_flight for requests in self._requests.values())

    @property
    def started(self) -> list[int]:
        """Workers that have brought something; others may wait for a node with room for them."""
        return [worker for worker, requests in self._requests.items() if requests.has_started]

    def request(self, env_steps: int, learner_steps: int) -> None:
        """Gives every worker as many requests as it may have.

        Args:
            env_steps: how many the run has made so far.
            learner_steps: learner steps so far; the weights are taken anew when it has grown.
        """
        now = time.monotonic()
        pause, self._asked_at = 0.0 if self._may_wait else now - self._asked_at, now
        wanting = [worker for worker, requests in self._requests.items() for _ in range(requests.wanting(pause))]
        if not wanting:
            return
        if self._weights is None or self._weights[0] != learner_steps:
            self._weights = learner_steps, ray.put(self._workers.local_env_runner.get_policy().get_weights())
        collect = []
        for worker in wanting:
            order = {"number": self._requests[worker].asked, "learner_steps": learner_steps}
            collect.append(partial(_collect_remotely, weights=self._weights[1], env_steps=env_steps, **order))
            self._requests[worker].asked += 1
            self._requests[worker].in_flight += 1
        self._workers.foreach_env_runner_async(collect, tag=TAG, remote_worker_ids=wanting, healthy_only=False)

    def fetch(self, learner_steps: int, wait: bool) -> list[Fragment]:
        """Fragments that are ready, those of one worker in their order; at first there are none.

        Args:
            learner_steps: how many the run has made so far.
            wait: for a moment, where not all requests are answered yet.

        Raises:
            WorkerError: something has failed in a worker that is no fault of its env, or its env is at fault all the
                time.
        """
        if not self.is_remote:
            segments, faults = raise_failure(_collect_reporting(self._workers.local_env_runner, 1))
            self._faults.add(0, faults)
            local = self._workers.local_env_runner
            told = {"episodes": local.take_played(), "operators": local.take_operator_report()}
            return [Fragment(segments, faults, 0, learner_steps, **told)]
        if wait and not self.in_flight:  # there is nothing that RLlib could wait for
            time.sleep(FETCH_SECONDS)
        for worker, outcome in ready_results(self._workers, FETCH_SECONDS if wait else 0.0):
            if worker in self._requests:
                self._take(worker, outcome)
        return [fragment for worker in self._requests for fragment in self._in_order(worker)]

    def interrupt_by(self, interrupted: Event) -> None:
        """From now on, a robot of this process that waits for an operator waits no longer once the event is set."""
        if not self.is_remote:
            self._workers.local_env_runner.interrupt_by(interrupted)

    def rest(self, seconds: float) -> list[Segment]:
        """All that workers still hold back for operators at the run's end, if it comes within some seconds."""
        if not self.is_remote:
            _, held = raise_failure(_rest_reporting(self._workers.local_env_runner))
            return held
        answers = self._workers.foreach_env_runner(
            _rest_reporting, local_env_runner=False, timeout_seconds=max(seconds, 1.0)
        )
        rests = dict(map(raise_failure, answers))
        for worker, requests in self._requests.items():
            if worker in rests:
                requests.held = NOTHING_HELD
            self._lose_held(worker)
        return [segment for rest in rests.values() for segment in rest]

    def lose_forgotten(self) -> None:
        """Gives up requests that RLlib has dropped, as it does where somebody else's call finds a worker dead."""
        for worker, requests in list(self._requests.items()):
            if has_forgotten(self._workers, worker, requests.in_flight):
                self._lose(worker, RayError("Another call to it has failed."))

    def _take(self, worker: int, outcome: Any) -> None:
        requests = self._requests[worker]
        requests.in_flight = max(requests.in_flight - 1, 0)
        if isinstance(outcome, RayError):
            self._lose(worker, outcome)
            return
        fragment = raise_failure(outcome)
        requests.has_started, requests.seconds = True, max(fragment.seconds, FETCH_SECONDS)
        if requests.lost is not None and fragment.number >= requests.delivered:
            requests.lost = None
            logger.warning("Rollout worker %d is back.", worker)
        if fragment.number >= requests.delivered:
            self._faults.add(worker, fragment.faults)
            self._waiting[worker, fragment.number] = fragment

    def _lose(self, worker: int, error: RayError) -> None:
        """Gives up the worker's requests in flight; Ray replaces its process as soon as there is room for one."""
        requests = self._requests[worker]
        self._lose_held(worker)
        if getattr(error, "actor_init_failed", False):
            self._give_up(worker, error)
            return
        if requests.lost is None:
            reason = str(error).splitlines()[0]
            self._faults.lose("workers_lost", f"Rollout worker {worker} is lost, and is being replaced. {reason}")
        self._waiting = {key: fragment for key, fragment in self._waiting.items() if key[0] != worker}
        requests.delivered, requests.in_flight = requests.asked, 0  # RLlib has forgotten the others, too
        requests.lost = time.monotonic()

    def _lose_held(self, worker: int) -> None:
        """Counts what a worker has held back and does not hand over any more."""
        self._faults.lose_held(worker, self._requests[worker].held)
        self._requests[worker].held = NOTHING_HELD

    def _give_up(self, worker: int, error: RayError) -> None:
        """A worker whose env cannot be made is not tried again by Ray."""
        del self._requests[worker]
        self._waiting = {key: fragment for key, fragment in self._waiting.items() if key[0] != worker}
        self._faults.lose("workers_lost", f"Rollout worker {worker} cannot start, and is left out. {error}")
        if not self._requests:
            raise WorkerError("No rollout worker is left; the messages above say why.")

    def _in_order(self, worker: int) -> Iterator[Fragment]:
        """A large fragment may arrive after the smaller one that followed it."""
        requests = self._requests[worker]
        while (fragment := self._waiting.pop((worker, requests.delivered), None)) is not None:
            requests.delivered += 1
            requests.held = fragment.held
            yield fragment


@reporting
def _collect_remotely(
    worker: SERLWorker, weights: ray.ObjectRef, env_steps: int, number: int, learner_steps: int
) -> Fragment:
    policy = worker.get_policy()
    policy.set_weights(ray.get(weights))
    policy.global_timestep = env_steps
    started = time.monotonic()
    segments, faults = worker.collect(policy.options.collecting.fragment_length)
    seconds = time.monotonic() - started
    told = {"episodes": worker.take_played(), "operators": worker.take_operator_report(), "held": worker.held_back()}
    return Fragment(segments, faults, number, learner_steps, worker.worker_index, seconds, **told)


_collect_reporting = reporting(SERLWorker.collect)


@reporting
def _rest_reporting(worker: SERLWorker) -> tuple[int, list[Segment]]:
    return worker.worker_index, worker.rest()
