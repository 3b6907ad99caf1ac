"""Requests of the sampler that RLlib has dropped."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import ray

from serl_ray.cluster.ray_private import TAG
from serl_ray.rllib import sampling
from serl_ray.rllib.failures import FaultLog
from serl_ray.rllib.sampling import IN_FLIGHT, Fragment, Sampler


class Workers:
    """Two remote workers, as RLlib's group keeps them."""

    local_env_runner = SimpleNamespace(get_policy=lambda: SimpleNamespace(get_weights=dict))

    def __init__(self):
        self._worker_manager, self.under_way, self.ready = self, {1: 0, 2: 0}, []
        count = lambda worker: SimpleNamespace(get_num_in_flight_requests=lambda tag: self.under_way[worker])  # noqa: E731
        self._remote_actor_states = {worker: count(worker) for worker in self.under_way}

    def actor_ids(self):
        return list(self.under_way)

    def foreach_env_runner_async(self, tasks, tag, remote_worker_ids, healthy_only):
        assert tag == TAG
        for worker in remote_worker_ids:
            self.under_way[worker] += 1

    def fetch_ready_async_reqs(self, tags, timeout_seconds, mark_healthy):
        assert tags == TAG
        ready, self.ready = self.ready, []
        for worker, _ in ready:
            self.under_way[worker] -= 1
        return [SimpleNamespace(actor_id=worker, get=lambda outcome=outcome: outcome) for worker, outcome in ready]


@pytest.fixture
def workers(monkeypatch):
    monkeypatch.setattr(ray, "put", lambda weights: weights)
    monkeypatch.setattr(sampling, "RETRY_SECONDS", 0.0)
    return Workers()


def test_requests_that_rllib_has_dropped_are_made_again(workers):
    faults = FaultLog()
    sampler = Sampler(workers, faults)
    sampler.request(env_steps=0, learner_steps=0)
    assert workers.under_way == {1: IN_FLIGHT, 2: IN_FLIGHT} and sampler.in_flight == 2 * IN_FLIGHT
    sampler.lose_forgotten()
    assert sampler.in_flight == 2 * IN_FLIGHT and faults.counts["faults/workers_lost"] == 0
    workers.under_way[2] = 0  # somebody's own call has found the worker dead
    sampler.lose_forgotten()
    assert sampler.in_flight == IN_FLIGHT and faults.counts["faults/workers_lost"] == 1
    sampler.request(env_steps=0, learner_steps=0)
    workers.ready = [(2, Fragment([], [], IN_FLIGHT, 0, 2))]
    assert [fragment.worker for fragment in sampler.fetch(learner_steps=0, wait=False)] == [2]
