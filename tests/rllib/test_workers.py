"""What the start of rollout workers prints and imports, and requests to them that are not ours."""

from __future__ import annotations

import sys

import pytest
from small_runs import SMALL, train_until

from serl_ray.rllib import SERLConfig

UNUSED = ("torch._dynamo", "torchvision", "mujoco", "matplotlib", "sklearn", "tensorflow", "aiohttp", "av", "wandb")


@pytest.mark.slow
def test_workers_start_in_silence_import_little_and_answer_others(real_workers, tmp_path, capfd):
    config = SERLConfig().training(env_name="line_envs:LineEnv", evaluate_every=0, steps_per_iteration=10, **SMALL)
    algorithm = config.env_runners(num_env_runners=1).keep_replay(tmp_path).build_algo()
    group = algorithm.env_runner_group
    group.foreach_env_runner_async(lambda worker: [name for name in UNUSED if name in sys.modules], tag="mine")
    train_until(algorithm, lambda: algorithm.env_steps >= 50)
    assert group.fetch_ready_async_reqs(tags="mine", timeout_seconds=60.0) == [(1, [])]
    assert algorithm.faults.counts["faults/workers_lost"] == 0
    algorithm.stop()
    assert "constructor arguments" not in capfd.readouterr().err
