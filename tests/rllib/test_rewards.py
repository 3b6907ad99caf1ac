"""Whole runs and their rewards: what contradicts the bound ends them, and dense rewards are learned from."""

import numpy as np
import pytest
from dense_envs import Reach

from serl_ray.data.demos import write_demos
from serl_ray.data.episodes import EpisodeRecorder
from serl_ray.data.rewards import RewardError
from serl_ray.options.sets import HybridRun
from serl_ray.rllib import OfflineConfig, SERLConfig
from serl_ray.rllib.checkpoint import checkpoint_of, read_run
from serl_ray.runs.log import LOGS, read_results
from serl_ray.runs.train import train

pytestmark = pytest.mark.usefixtures("shared_ray")

MODE = "single-arm-fixed-gripper"
SMALL = {
    "setup_mode": MODE,
    "hidden_dims": (8,),
    "batch_size": 8,
    "training_starts": 20,
    "random_steps": 20,
    "evaluate_every": 0,
}
SMALL_OFFLINE = {name: value for name, value in SMALL.items() if name not in ("training_starts", "random_steps")}
LEARNING = {
    "setup_mode": MODE, "reward": "dense", "hidden_dims": (64, 64), "batch_size": 64, "training_starts": 200,
    "random_steps": 200, "lr": 1e-3, "tau": 0.02, "evaluate_every": 500, "evaluation_episodes": 10,
    "record_video": False,
}  # fmt: skip


def demonstration(reward):
    """An episode of a reach whose last step has this reward, and the others 0."""
    env = Reach()
    observation, _ = env.reset(seed=0)
    recorder, done = EpisodeRecorder("demo", observation), False
    while not done:
        action = np.clip(observation["state"][2:] / 0.2, -1, 1)
        observation, _, _, done, info = env.step(action)
        recorder.add(action, (observation, reward * done, done, False, info))
    return recorder.cut()


@pytest.fixture
def demos(tmp_path):
    write_demos(tmp_path / "ten.pkl", [demonstration(10.0)] * 2)
    return str(tmp_path / "ten.pkl")


@pytest.mark.parametrize("streaming", [False, True])
def test_a_reward_of_10_in_demonstrations_ends_an_offline_run(demos, streaming):
    config = OfflineConfig().training(demo_paths=(demos,), streaming=streaming, **SMALL_OFFLINE)
    with pytest.raises(
        RewardError, match=r"demonstration .*ten.pkl#0: a reward of 10 is above max_return, 1, .*--max_return 10 "
    ):
        config.build_algo()


def test_a_reward_of_10_in_demonstrations_ends_a_hybrid_run(demos):
    config = SERLConfig().training(demo_paths=(demos,), env_name="dense_envs:Reach", **SMALL)
    with pytest.raises(RewardError, match=r"demonstration .*ten.pkl#0: a reward of 10 is above max_return, 1,"):
        config.build_algo()
    config.training(max_return=10.0).build_algo().stop()


def test_a_reward_that_comes_ends_the_run_which_is_saved(tmp_path):
    options = HybridRun.of(
        env_name="dense_envs:Stages", max_steps=60, save_dir=tmp_path / "run", record_video=False, **SMALL
    )
    with pytest.raises(
        RewardError, match="steps 0 to 4 of an episode: rewards of up to 0.5 add up to a return of 1.41,"
    ):
        train(options)
    assert read_run(checkpoint_of(tmp_path / "run"))["counters"]["env_steps"] == 5
    result = train(options.replace(resume=True, max_return=None))
    assert result["env/steps"] == 60.0 and result["env/mean_return"] == pytest.approx(1.5)


def test_returns_and_reported_success_of_dense_rewards_are_in_the_results():
    options = SMALL | {"evaluate_every": 60, "evaluation_episodes": 2, "steps_per_iteration": 60}
    algorithm = SERLConfig().training(env_name="dense_envs:Reach", reward="dense", **options).build_algo()
    result = algorithm.train()
    algorithm.stop()
    assert result["env/mean_return"] < -5 and result["env/success_rate"] in (0.0, 0.5, 1.0)
    assert result["evaluation/mean_return"] < -5 and result["evaluation/success_rate"] in (0.0, 0.5, 1.0)


@pytest.mark.slow
def test_a_dense_reach_is_learned(tmp_path):
    options = HybridRun.of(env_name="dense_envs:Reach", max_steps=2500, save_dir=tmp_path / "run", **LEARNING)
    result = train(options)
    assert result["evaluation/mean_return"] > -8.0  # at random it is -45
    assert result["evaluation/success_rate"] >= 0.7


@pytest.mark.slow
def test_pendulum_is_learned(tmp_path):
    options = HybridRun.of(env_name="dense_envs:Pendulum", max_steps=4000, save_dir=tmp_path / "run", **LEARNING)
    train(options.replace(evaluate_every=1000))
    returns = [
        r["evaluation/mean_return"] for r in read_results(tmp_path / "run" / LOGS) if "evaluation/mean_return" in r
    ]
    assert max(returns) > -300.0  # at random it is -1,200
