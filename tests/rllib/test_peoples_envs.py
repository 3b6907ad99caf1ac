"""Envs as people have them, by a rollout worker's collector and in whole runs: the replay holds what happened."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from peoples_envs import ThreeCameras
from ray.rllib.env.env_context import EnvContext

from serl_ray.options.sets import HybridOptions
from serl_ray.rllib import SERLConfig
from serl_ray.rllib.buffers import make_buffer
from serl_ray.rllib.collector import Collector
from serl_ray.rllib.rollout_env import RolloutEnv
from serl_ray.types import ActionLayout

MODE = "single-arm-learned-gripper"
NUM_ENVS, STEPS, FRAGMENT = 2, 320, 16
ENVS = {
    "Contract": {},
    "PeoplesReach-v0": {},
    "AutoReset": {},
    "OldAutoReset": {},
    "Dense": {"max_return": None},
    "TwentyHz": {"control_hz": 20.0},
    "Horizon300": {},
    "ThreeCameras": {"image_keys": tuple(ThreeCameras.cameras), "augment_crops": 0},
    "FortyNumbers": {},
    "SlowReset": {},
    "LeRobotKeys": {},
}


class RandomPolicy:
    """Chooses uniformly random actions."""

    def __init__(self, options: HybridOptions) -> None:
        self.options, self.global_timestep, self.agent = options, 0, SimpleNamespace(seed=1)
        self._layout, self._rng = ActionLayout.from_setup(MODE, 7), np.random.default_rng(0)

    def act(self, observations):
        return self._layout.random(self._rng, len(observations["state"]))


@pytest.fixture
def clock(monkeypatch):
    """A clock that only sleep moves on."""
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    monkeypatch.setattr("time.sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))


def assert_holds_what_happened(replay, envs, name):
    """The replay has every step of the envs' diaries, and nothing else."""
    diary = {entry.observation["state"].tobytes(): entry for env in envs for entry in env.diary}
    assert len(diary) == len(replay)
    batch = replay.sample(3000, np.random.default_rng(0))
    true = [diary[state.tobytes()] for state in batch["observations"]["state"]]
    for role, entries in (
        ("observations", [entry.observation for entry in true]),
        ("next_observations", [entry.next_observation for entry in true]),
    ):
        for key in batch[role]:
            np.testing.assert_array_equal(batch[role][key], np.stack([entry[key] for entry in entries]))
    np.testing.assert_array_equal(batch["actions"], np.stack([entry.action for entry in true]))
    np.testing.assert_allclose(batch["rewards"], [entry.reward for entry in true], rtol=1e-6)
    np.testing.assert_array_equal(batch["masks"], [not entry.terminated for entry in true])
    np.testing.assert_array_equal(batch["intervened"], [entry.by_person for entry in true])
    if name != "PeoplesReach-v0":  # gymnasium counts this one's steps
        np.testing.assert_array_equal(batch["truncateds"], [entry.truncated for entry in true])
        np.testing.assert_array_equal(batch["dones"], [entry.terminated or entry.truncated for entry in true])
    else:
        assert batch["truncateds"].any()
    assert batch["dones"].any() and (batch["intervened"].any() == (name in ("LeRobotKeys", "OldAutoReset")))


@pytest.mark.parametrize("name", ENVS)
def test_the_replay_holds_what_happened(name, clock):
    options = HybridOptions.of(n_step=1, discount=0.95, env_name=f"peoples_envs:{name}", setup_mode=MODE, **ENVS[name])
    config = options.env_config() | options.deadlines()
    envs = [RolloutEnv(EnvContext(config, worker_index=0, vector_index=index)) for index in range(NUM_ENVS)]
    worker = SimpleNamespace(
        get_policy=lambda: policy, worker_index=0, async_env=SimpleNamespace(get_sub_environments=lambda: envs)
    )
    policy = RandomPolicy(options)
    for index, env in enumerate(envs):
        env.unwrapped.episode = 1000 * index  # no two episodes have one number
    collector, replay = Collector(worker), make_buffer(options, envs[0].observation_space, 7, 2000, "replay")
    for _ in range(STEPS // FRAGMENT):
        segments, faults = collector.collect(FRAGMENT)
        assert faults == []
        for segment in segments:
            replay.add(segment)

    assert len(replay) == NUM_ENVS * STEPS
    assert_holds_what_happened(replay, [env.unwrapped for env in envs], name)
    if name == "TwentyHz":
        times = [time for env in envs[:1] for time in env.unwrapped.times]
        assert min(np.diff(times)) == pytest.approx(0.05)


@pytest.mark.slow
@pytest.mark.parametrize("name", ENVS)
@pytest.mark.usefixtures("shared_ray")
def test_a_run_learns_from_what_happened(name, tmp_path):
    steps = 100 if name == "TwentyHz" else 300
    small = {"batch_size": 8, "hidden_dims": (16, 16), "image_size": (32, 32), "trunk_width": 8, "evaluate_every": 0}
    starts = {"n_step": 1, "training_starts": 50, "random_steps": 50, "max_steps": steps, "steps_per_iteration": steps}
    config = SERLConfig().training(env_name=f"peoples_envs:{name}", setup_mode=MODE, **small, **starts, **ENVS[name])
    algorithm = config.debugging(seed=1).keep_replay(tmp_path).build_algo()
    result = algorithm.train()
    envs = [env.unwrapped for env in algorithm.env_runner_group.local_env_runner.async_env.get_sub_environments()]
    assert_holds_what_happened(algorithm.online, envs, name)
    assert result["env/steps"] == len(algorithm.online) == steps and result["learner/steps"] == 2 * (steps - 50)
    assert np.isfinite([result["critic/loss"], result["actor/loss"]]).all()
    assert len(algorithm.demos) == result["buffer/interventions"] == sum(entry.by_person for entry in envs[0].diary)
    algorithm.stop()
