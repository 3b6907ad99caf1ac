"""The sampler's bookkeeping, with rollout workers whose answers come as a test wants them."""

from types import SimpleNamespace

import pytest
import ray
from ray.exceptions import RayActorError

from serl_ray.rllib import sampling
from serl_ray.rllib.failures import Fault, FaultLog
from serl_ray.rllib.sampling import IN_FLIGHT, MAX_IN_FLIGHT, Fragment, Sampler
from serl_ray.teleop.held import HeldBack


class Workers:
    """One remote worker; `ready` is what the next fetch finds."""

    local_env_runner = SimpleNamespace(get_policy=lambda: SimpleNamespace(get_weights=dict))

    def __init__(self):
        self.ready, self.asked = [], []
        self._worker_manager = self

    def actor_ids(self):
        return [1]

    def foreach_env_runner_async(self, tasks, tag, remote_worker_ids, healthy_only):
        assert len(tasks) == len(remote_worker_ids) and not healthy_only
        self.asked += [task.keywords["number"] for task in tasks]

    def fetch_ready_async_reqs(self, tags, timeout_seconds, mark_healthy):
        ready, self.ready = self.ready, []
        outcomes = [Fragment([], [], answer, 0, 1) if isinstance(answer, int) else answer for answer in ready]
        return [SimpleNamespace(actor_id=1, get=lambda outcome=outcome: outcome) for outcome in outcomes]


@pytest.fixture
def workers(monkeypatch):
    monkeypatch.setattr(ray, "put", lambda weights: weights)
    monkeypatch.setattr(sampling, "RETRY_SECONDS", 0.0)
    return Workers()


@pytest.fixture
def ask(workers):
    """Requests, answers, and the numbers of what is handed over."""
    faults = FaultLog()
    sampler = Sampler(workers, faults)

    def ask(*ready):
        sampler.request(env_steps=0, learner_steps=0)
        workers.ready = ready
        return [fragment.number for fragment in sampler.fetch(learner_steps=0, wait=False)]

    ask.counts, ask.sampler = faults.counts, sampler
    return ask


def test_fragments_that_overtake_wait_for_the_one_before(workers, ask):
    assert [ask(1), ask(0), ask(3), ask(), ask(2)] == [[], [0, 1], [], [], [2, 3]]
    assert workers.asked == [0, 1, 2, 3]


def test_a_worker_has_no_more_requests_than_it_may(workers, ask):
    for _ in range(3):
        ask()
    assert workers.asked == list(range(IN_FLIGHT))


def test_a_worker_that_must_not_wait_has_work_for_as_long_as_the_learner_takes(workers, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(sampling, "time", SimpleNamespace(monotonic=lambda: clock[0]))

    def asked_after(may_wait, pause):
        workers.asked = []
        sampler = Sampler(workers, FaultLog(), may_wait)
        sampler.request(0, 0)
        workers.ready = [Fragment([], [], 0, 0, 1, seconds=1.0)]
        sampler.fetch(0, wait=False)
        clock[0] += pause
        sampler.request(0, 0)
        return len(workers.asked) - 1  # the first is done

    assert [asked_after(may_wait=True, pause=pause) for pause in (0.1, 6.3)] == [IN_FLIGHT, IN_FLIGHT]
    assert [asked_after(may_wait=False, pause=pause) for pause in (0.1, 6.3, 1000.0)] == [IN_FLIGHT, 8, MAX_IN_FLIGHT]


def test_a_lost_worker_is_asked_again_until_it_is_back(workers, ask, caplog):
    dead = RayActorError()
    assert ask(0) == [0]  # 1 and 2 are in flight
    assert ask(dead) == [] and workers.asked == [0, 1, 2]
    assert ask(dead) == [] and workers.asked == [0, 1, 2, 3], (
        "one at a time; of what it had in hand nothing more is heard"
    )
    assert ask() == [] and workers.asked == [0, 1, 2, 3, 4]
    assert ask(4) == [4] and workers.asked == [0, 1, 2, 3, 4]
    assert ask(6, 5) == [5, 6] and workers.asked == [0, 1, 2, 3, 4, 5, 6]
    assert ask.counts["faults/workers_lost"] == 1
    assert "Rollout worker 1 is lost" in caplog.text and "Rollout worker 1 is back" in caplog.text


def test_what_a_lost_worker_held_back_when_it_last_reported_is_counted_once(workers, ask, caplog):
    dead = RayActorError()
    for number, held in enumerate([HeldBack(1, 7), HeldBack(2, 30)]):
        assert ask(Fragment([], [], number, 0, 1, held=held)) == [number]
    ask(dead)
    ask(dead)
    assert (ask.counts["faults/held_episodes_lost"], ask.counts["faults/held_steps_lost"]) == (2, 30)
    assert caplog.text.count("Rollout worker 1 held back 2 episodes with 30 steps for its operators") == 1


def test_a_worker_that_holds_nothing_back_loses_nothing_more_than_its_requests(workers, ask, caplog):
    ask(Fragment([], [], 0, 0, 1, held=HeldBack(1, 7)))
    ask(Fragment([], [], 1, 0, 1))
    ask(RayActorError())
    assert ask.counts["faults/held_episodes_lost"] == 0 and "held back" not in caplog.text


def test_at_the_end_a_worker_that_does_not_hand_over_what_it_holds_is_counted(workers, ask):
    ask(Fragment([], [], 0, 0, 1, held=HeldBack(1, 7)))
    workers.foreach_env_runner = lambda *args, **kwargs: [(1, [])]
    assert ask.sampler.rest(1.0) == []
    assert ask.counts["faults/held_steps_lost"] == 0
    ask(Fragment([], [], 1, 0, 1, held=HeldBack(1, 7)))
    workers.foreach_env_runner = lambda *args, **kwargs: []
    assert ask.sampler.rest(1.0) == []
    assert ask.counts["faults/held_steps_lost"] == 7


def test_what_a_lost_worker_had_answered_late_is_left_alone(workers, ask):
    dead = RayActorError()
    ask()
    assert ask(dead, 0) == []
    assert ask(2) == [2]


def test_dropped_episodes_are_counted_by_name_and_reported(workers, ask, caplog):
    fragment = Fragment(
        [], [Fault("timeout", 7, 2, "The env's step took longer"), Fault("error", 3, 0, "Broken")], 0, 0, 1
    )
    assert ask(fragment) == [0]
    assert {name: count for name, count in ask.counts.items() if count} == {
        "faults/env_timeout": 1,
        "faults/env_error": 1,
        "faults/steps_dropped": 10,
        "faults/interventions_dropped": 2,
    }
    assert "Rollout worker 1 dropped an episode (7 steps). The env's step took longer" in caplog.text
