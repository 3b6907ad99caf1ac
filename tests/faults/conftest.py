"""Runs that are hurt."""

import pytest
from small_runs import SMALL

from serl_ray.rllib import SERLConfig


@pytest.fixture
def build(build, tmp_path):
    """Builds an algorithm from options."""

    def build_run(env="line_envs:LineEnv", workers=0, evaluators=0, resources=None, **options):
        options = SMALL | {"steps_per_iteration": 50, "evaluate_every": 0, "fragment_length": 5} | options
        config = SERLConfig().training(env_name=env, **options).debugging(seed=3).keep_replay(tmp_path / "replay")
        config.env_runners(num_env_runners=workers, custom_resources_per_env_runner=resources or {})
        config.evaluation(evaluation_num_env_runners=evaluators)
        return build(config)

    return build_run
