"""The sampler's bookkeeping, with rollout workers whose answers come as a test wants them."""

from types import SimpleNamespace

import pytest
import ray

from serl_ray.rllib.sampling import IN_FLIGHT, Fragment, Sampler


class Workers:
    """One remote worker; `ready` is what the next fetch finds."""

    local_env_runner = SimpleNamespace(get_policy=lambda: SimpleNamespace(get_weights=dict))

    def __init__(self):
        self.ready, self.asked = [], []

    def healthy_env_runner_ids(self):
        return [1]

    def num_remote_env_runners(self):
        return 1

    def foreach_env_runner_async(self, tasks, remote_worker_ids):
        assert len(tasks) == len(remote_worker_ids)
        self.asked += [task.keywords["number"] for task in tasks]

    def fetch_ready_async_reqs(self, timeout_seconds):
        ready, self.ready = self.ready, []
        return [(1, Fragment([], number, 0)) for number in ready]


@pytest.fixture
def workers(monkeypatch):
    monkeypatch.setattr(ray, "put", lambda weights: weights)
    return Workers()


def test_fragments_that_overtake_wait_for_the_one_before(workers):
    sampler, delivered = Sampler(workers), []
    for ready in ([1], [0], [3], [], [2]):
        sampler.request(env_steps=0, learner_steps=0)
        workers.ready = ready
        delivered.append([fragment.number for fragment in sampler.fetch(learner_steps=0, wait=False)])
    assert delivered == [[], [0, 1], [], [], [2, 3]]
    assert workers.asked == [0, 1, 2, 3]


def test_a_worker_has_no_more_requests_than_it_may(workers):
    sampler = Sampler(workers)
    for _ in range(3):
        sampler.request(env_steps=0, learner_steps=0)
    assert workers.asked == list(range(IN_FLIGHT))
