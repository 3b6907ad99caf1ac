"""A whole run whose learner is on a GPU, from its first step to the policy that is played on the CPU."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from fake_gpu import NAME, fake_gpu
from small_runs import SMALL

from serl_ray.evaluation.rollouts import deterministic, evaluate
from serl_ray.rllib import config, policy
from serl_ray.rllib.config import SERLConfig
from serl_ray.runs.policy import load_policy

ENV = "line_envs:LineEnv"
RUN = (
    SMALL
    | {"max_steps": 60, "demo_fraction": 0.0, "steps_per_iteration": 30}
    | {"evaluate_every": 30, "evaluation_episodes": 1}
)


def build(folder):
    training = SERLConfig().training(env_name=ENV, setup_mode="single-arm-learned-gripper", **RUN)
    return training.debugging(seed=3).keep_replay(folder / "replay").build_algo()


@pytest.mark.slow
@pytest.mark.usefixtures("shared_ray")
def test_a_run_on_a_gpu_comes_to_its_end_and_goes_on_on_the_cpu(tmp_path, monkeypatch):
    with fake_gpu() as name, monkeypatch.context() as patch:
        for module in (policy, config):
            patch.setattr(module, "device_named", lambda asked: torch.device(name))
        algorithm = build(tmp_path)
        results = [algorithm.train() for _ in range(2)]
        assert algorithm.agent.device.type == NAME and math.isfinite(results[-1]["critic/loss"])
        assert math.isfinite(algorithm.evaluate()["evaluation/success_rate"])
        algorithm.save_checkpoint(str(tmp_path / "checkpoint"))
        trained = {key: tensor.cpu() for key, tensor in algorithm.agent.state.acting_tensors().items()}
        algorithm.stop()
    agent, env = load_policy(tmp_path / "checkpoint", env_name=ENV)
    assert all(torch.equal(tensor, trained[key]) for key, tensor in agent.state.acting_tensors().items())
    assert len(evaluate(deterministic(agent), env, episodes=1).episodes) == 1
    resumed = build(tmp_path / "elsewhere")
    resumed.load_checkpoint(str(tmp_path / "checkpoint"))
    assert resumed.agent.device.type == "cpu" and resumed.env_steps == 60
    assert np.isfinite(resumed.train()["critic/loss"])
    resumed.stop()
