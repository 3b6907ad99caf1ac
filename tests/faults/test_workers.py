"""Processes that are gone: the run goes on, and what replaces them has the weights of the day."""

import logging
import os
import signal

import numpy as np
import pytest
import torch
from small_runs import train_until

from serl_ray.rllib.failures import WorkerError

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("shared_ray")]


def kill_processes(workers):
    """Ends the remote workers' processes, as the system does where memory is short."""
    for pid in workers.foreach_env_runner(lambda worker: os.getpid(), local_env_runner=False):
        os.kill(pid, signal.SIGKILL)


def test_a_worker_that_is_killed_is_replaced_and_acts_with_current_weights(build, caplog, tmp_path):
    caplog.set_level(logging.WARNING)
    folder = tmp_path / "first actions"
    folder.mkdir()
    algorithm = build(
        "faulty_envs:ReportingEnv", 2, env_kwargs={"folder": str(folder)}, random_steps=0, steps_per_iteration=20
    )
    train_until(algorithm, lambda: len(list(folder.iterdir())) == 2)
    first = set(folder.iterdir())
    with torch.no_grad():  # from now on the policy wants 1 in every dimension
        algorithm.agent.networks.actor.mean.bias += 20.0
    before = algorithm.env_steps
    train_until(algorithm, lambda: algorithm.env_steps >= before + 100)  # what was asked for with the weights before
    kill_processes(algorithm.env_runner_group)
    train_until(algorithm, lambda: len(list(folder.iterdir())) == 4)
    train_until(algorithm, lambda: caplog.text.count("is back") == 2)
    for file in set(folder.iterdir()) - first:
        np.testing.assert_allclose(np.load(file)[4:10], 1.0, atol=0.01)
    assert all(np.abs(np.load(file)[4:10]).mean() < 0.99 for file in first)
    assert algorithm.faults.counts["faults/workers_lost"] == 2
    assert algorithm.env_steps > before and len(algorithm.online) == algorithm.env_steps


def test_a_worker_whose_env_cannot_be_made_is_left_out_and_the_last_one_ends_the_run(build, caplog, tmp_path):
    caplog.set_level(logging.WARNING)
    algorithm = build("faulty_envs:SwitchedEnv", 2, env_kwargs={"off": str(tmp_path / "off")}, training_starts=4000)
    train_until(algorithm, lambda: algorithm.sampler.started == [1, 2])
    (tmp_path / "off").touch()
    [_, second] = algorithm.env_runner_group.foreach_env_runner(lambda worker: os.getpid(), local_env_runner=False)
    os.kill(second, signal.SIGKILL)
    train_until(algorithm, lambda: "cannot start, and is left out" in caplog.text)
    assert "the robot is switched off" in caplog.text and algorithm.sampler.started == [1]
    before = algorithm.env_steps
    assert algorithm.train()["env/steps"] >= before + 50
    kill_processes(algorithm.env_runner_group)
    with pytest.raises(WorkerError, match="No rollout worker is left"):
        train_until(algorithm, lambda: False)


def test_a_worker_that_blocks_for_good_is_ended_and_replaced(build, tmp_path):
    options = {"step_deadline": 0.5, "reset_deadline": 5.0, "env_kwargs": {"marker": str(tmp_path / "blocked")}}
    algorithm = build("faulty_envs:BlockedEnv", 1, **options)
    algorithm.train()
    assert (tmp_path / "blocked").exists() and algorithm.env_steps >= 50
    assert algorithm.faults.counts["faults/workers_lost"] == 1


def test_an_evaluation_worker_that_is_killed_costs_one_evaluation(build, caplog):
    algorithm = build(evaluators=1, evaluate_every=50, evaluation_episodes=50, training_starts=4000)  # takes a while
    algorithm.train()
    kill_processes(algorithm.eval_env_runner_group)
    algorithm.evaluator.wait()
    algorithm.train()
    result = algorithm.evaluate_now()
    assert result["faults/evaluations_lost"] >= 1 and result["evaluation/at_step"] == algorithm.env_steps == 100
    assert "An evaluation has failed; training goes on." in caplog.text


def test_evaluation_workers_share_the_episodes_that_one_would_play(build):
    outcomes = []
    for evaluators in (0, 1, 3):
        algorithm = build(evaluators=evaluators, evaluate_every=50, evaluation_episodes=5, training_starts=4000)
        outcomes.append(
            {name: value for name, value in algorithm.evaluate_now().items() if name.startswith("evaluation/")}
        )
        algorithm.stop()
    assert outcomes[0] == outcomes[1] == outcomes[2] and outcomes[0]["evaluation/episodes"] == 5
