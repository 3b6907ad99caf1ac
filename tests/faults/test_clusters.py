"""Nodes that are gone, and memory that is full."""

import logging

import numpy as np
import pytest
import ray
from ray.cluster_utils import Cluster
from small_runs import train_until

from serl_ray.cluster.start import MIN_OBJECT_STORE, start_here

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("own_cluster")]


@pytest.fixture
def cluster(own_cluster):
    """A cluster with a head for the learner."""
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    yield cluster
    ray.shutdown()
    cluster.shutdown()


def test_a_node_that_is_lost_takes_its_workers_along_and_a_new_one_brings_others(cluster, build, caplog):
    caplog.set_level(logging.WARNING)
    node = cluster.add_node(num_cpus=1, resources={"robot": 1})
    ray.init(cluster.address)
    algorithm = build(workers=1, resources={"robot": 1}, training_starts=4000)
    algorithm.train()
    cluster.remove_node(node)
    train_until(algorithm, lambda: algorithm.faults.counts["faults/workers_lost"] == 1)
    before = algorithm.env_steps
    cluster.add_node(num_cpus=1, resources={"robot": 1})
    train_until(algorithm, lambda: "is back" in caplog.text)
    assert algorithm.faults.counts["faults/workers_lost"] == 1
    assert algorithm.env_steps > before and len(algorithm.online) == algorithm.env_steps


def test_a_node_that_joins_later_brings_its_worker_and_one_that_leaves_takes_only_its_own(cluster, build, caplog):
    caplog.set_level(logging.WARNING)
    first = cluster.add_node(num_cpus=1, resources={"robot": 1})
    ray.init(cluster.address)
    algorithm = build(workers=2, resources={"robot": 1}, training_starts=4000)
    assert "room for 1 of 2 workers, each with CPU 1, robot 1;" in caplog.text
    algorithm.train()
    assert algorithm.sampler.started == [1]
    cluster.add_node(num_cpus=1, resources={"robot": 1})
    train_until(algorithm, lambda: algorithm.sampler.started == [1, 2])
    nodes = algorithm.env_runner_group.foreach_env_runner(node_of, local_env_runner=False)
    assert len({ray.get_runtime_context().get_node_id(), *nodes}) == 3
    cluster.remove_node(first)
    train_until(algorithm, lambda: algorithm.faults.counts["faults/workers_lost"] == 1)
    before = algorithm.env_steps
    for _ in range(3):
        algorithm.train()
    assert algorithm.env_steps >= before + 150 and len(algorithm.online) == algorithm.env_steps


def node_of(worker):
    return ray.get_runtime_context().get_node_id()


def test_a_full_object_store_does_not_stop_a_run(build):
    start_here(num_cpus=4, object_store_memory=MIN_OBJECT_STORE)
    algorithm = build(workers=2)
    held = [ray.put(np.full(2**20, index, np.uint8)) for index in range(200)]  # more than the store has
    for _ in range(3):
        result = algorithm.train()
    assert [int(ray.get(reference)[0]) for reference in held[::50]] == [0, 50, 100, 150]
    assert result["env/steps"] >= 150 and result["learner/steps"] > 0 and not result["faults/workers_lost"]
