"""A Ray cluster for runs that are hurt, and the runs."""

import time
from pathlib import Path

import pytest
import ray

from serl_ray.rllib import SERLConfig

TESTS = str(Path(__file__).parents[1])
SMALL = {"training_starts": 20, "random_steps": 20, "max_steps": 5000, "batch_size": 16, "hidden_dims": (16, 16)}


def train_until(algorithm, condition, seconds=120):
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends, "it has not come to pass"
        algorithm.train()


@pytest.fixture(scope="module")
def local_ray():
    ray.init("local", num_cpus=6, include_dashboard=False, runtime_env={"env_vars": {"PYTHONPATH": TESTS}})
    yield
    ray.shutdown()


@pytest.fixture
def build(tmp_path):
    """Algorithms that end with the test."""
    algorithms = []

    def build(env="line_envs:LineEnv", workers=0, evaluators=0, resources=None, **settings):
        settings = SMALL | {"steps_per_iteration": 50, "evaluate_every": 0, "fragment_length": 5} | settings
        config = SERLConfig().training(env_name=env, **settings).debugging(seed=3).keep_replay(tmp_path / "replay")
        config.env_runners(num_env_runners=workers, custom_resources_per_env_runner=resources or {})
        config.evaluation(evaluation_num_env_runners=evaluators)
        algorithms.append(config.build_algo())
        return algorithms[-1]

    yield build
    for algorithm in algorithms:
        algorithm.stop()
