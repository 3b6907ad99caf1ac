"""Runs whose robots are served by serl_robot: what they store, what they survive, and what they refuse."""

import logging
import os
import signal
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import pytest
from line_envs import LineEnv
from remote_robots import SETUP, TOKEN, free_port, served
from small_runs import SMALL, train_until

from serl_ray.data.episodes import EnvFault
from serl_ray.data.replay.log import read_shards
from serl_ray.evaluation.rollouts import run_episodes
from serl_ray.options.sets import HybridRun
from serl_ray.rllib import SERLConfig
from serl_ray.runs.warnings import doubts
from serl_ray.utils.options import OptionError

ROOT = Path(__file__).parents[2]


def config(tmp_path, port, workers, **options):
    options = SMALL | {"evaluate_every": 0, "fragment_length": 5, "max_faults": 10**6} | options
    config = SERLConfig().training(env_name="remote", env_kwargs={"port": port}, setup_mode=SETUP, **options)
    return config.env_runners(num_env_runners=workers).keep_replay(tmp_path / "replay").debugging(seed=3)


@contextmanager
def robots(port, count):
    """So many robots, each in a process of its own, which all dial the first port."""
    words = [sys.executable, "-m", "serl_robot.cli", f"ws://127.0.0.1:{port}", "line_envs:LineEnv", "--hz", "10"]
    path = os.pathsep.join(map(str, (ROOT / "tests", ROOT / "robot", ROOT)))
    environment = os.environ | {"PYTHONPATH": path, "SERL_ROBOT_TOKEN": TOKEN}
    with ExitStack() as stack:
        for number in range(count):
            process = subprocess.Popen([*words, "--setup_mode", SETUP, "--name", f"arm-{number}"], env=environment)
            stack.callback(process.wait)
            stack.callback(process.terminate)
        yield


@pytest.mark.usefixtures("shared_ray")
def test_a_run_stores_what_the_robot_has_executed(build, tmp_path, monkeypatch):
    monkeypatch.setattr("serl_robot.control.HOLD_PERIODS", 10**4)
    port, executed = free_port(), []

    class Kept(LineEnv):
        def step(self, action):
            executed.append(np.array(action))
            return super().step(action)

        def hold(self):
            """Keeps the robot still at the end, in place of a step of zeros."""

    with served(Kept(), port, hz=200):
        algorithm = build(config(tmp_path, port, workers=0, steps_per_iteration=60))
        result, made = algorithm.train(), list(executed)  # afterwards the robot holds by zeros
        algorithm.stop()
    assert result["env/steps"] == len(made) == 60 and result["learner/steps"] > 0
    segments = list(read_shards(algorithm.logs["online"].shards))
    np.testing.assert_array_equal(np.concatenate([segment.actions for segment in segments]), made)
    assert not any(count for name, count in result.items() if name.startswith("faults/"))


@pytest.mark.slow
@pytest.mark.usefixtures("own_cluster")
def test_two_robots_teach_one_learner_and_a_killed_worker_gets_its_robot_back(build, tmp_path, caplog):
    caplog.set_level(logging.WARNING)
    port = free_port()
    with robots(port, 2):
        algorithm = build(config(tmp_path, port, workers=2, max_steps=10**6))
        train_until(algorithm, lambda: len(algorithm.sampler.started) == 2 and algorithm.learner_steps > 5)
        [victim, _] = algorithm.env_runner_group.foreach_env_runner(lambda worker: os.getpid(), local_env_runner=False)
        os.kill(victim, signal.SIGKILL)
        train_until(algorithm, lambda: algorithm.faults.counts["faults/workers_lost"] == 1)
        train_until(algorithm, lambda: "is back" in caplog.text)
        steps = algorithm.env_steps
        train_until(algorithm, lambda: algorithm.env_steps > steps + 20)
        algorithm.stop()


def test_a_run_never_waits_for_a_robot_that_it_cannot_have(tmp_path):
    with pytest.raises(
        OptionError, match="evaluate_every is 50, .* a second env of the same robot: .*--evaluate_every 0"
    ):
        config(tmp_path, 8765, workers=1, evaluate_every=50).validate()
    vectorised = config(tmp_path, 8765, workers=1).env_runners(num_envs_per_env_runner=2)
    with pytest.raises(OptionError, match="envs_per_worker is 2, .*--num_workers for several robots"):
        vectorised.validate()
    with pytest.raises(OptionError, match="expert_interventions is 0.1, .* not asked for over the network"):
        config(tmp_path, 8765, workers=1, expert_interventions=0.1).validate()
    config(tmp_path, 8765, workers=1, evaluate_every=50).evaluation(evaluation_num_env_runners=1).validate()


def test_a_robot_never_waits_for_the_learner():
    assert not HybridRun.of(env_name="remote").may_wait
    [doubt] = doubts(HybridRun.of(env_name="remote", evaluate_every=0))
    assert "robot's rate cannot be held" in doubt and "--num_workers 1" in doubt


class FaultyTwice(LineEnv):
    """Its first two episodes are broken off."""

    def __init__(self):
        super().__init__()
        self.faults = 0

    def step(self, action):
        if self.faults < 2:
            self.faults += 1
            raise EnvFault("lost", "The link to the robot is lost.")
        return super().step(action)


def test_an_evaluation_plays_an_episode_again_that_a_fault_has_spoilt(caplog):
    def act(observation):
        return np.zeros(7, np.float32)

    [episode] = run_episodes(act, FaultyTwice(), 1, seed=0, max_faults=2)
    assert episode.steps == 20 and caplog.text.count("Episode 1 is played again. The link to the robot is lost.") == 2
    with pytest.raises(EnvFault, match="is lost"):
        list(run_episodes(act, FaultyTwice(), 1, seed=0, max_faults=1))
