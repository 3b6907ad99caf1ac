"""A LeRobot robot that is served, stepped by the trainer's side."""

from __future__ import annotations

from contextlib import contextmanager

import numpy as np
import pytest
from lerobot_fakes import FakeArm, FakeKeys, FakeLeader
from remote_robots import SETUP, TOKEN, free_port, served
from serl_robot.lerobot import LeRobotEnv, LeRobotSettings

from serl_ray.data.episodes import EnvFault, EpisodeRecorder
from serl_ray.envs.guard import Guard
from serl_ray.envs.remote import RemoteEnv

pytestmark = pytest.mark.slow  # a step each second, so that none is late on a machine that is busy


@pytest.fixture
def arm(monkeypatch):
    """The robot's env, its arm and its keys."""
    monkeypatch.setenv("SERL_ROBOT_TOKEN", TOKEN)
    robot, keys = FakeArm(cameras={"front": (24, 32)}), FakeKeys()
    settings = LeRobotSettings(hz=1000.0, rest_speed=5000.0, limits={"shoulder_pan": [-6, 6]}, step=4.0)
    return LeRobotEnv(robot, FakeLeader(), settings, keys=keys, tell=lambda sentence: None), robot, keys


@contextmanager
def trained(env):
    """The trainer's side of an env."""
    port = free_port()
    with served(env, port, hz=1.0):
        remote = RemoteEnv(SETUP, port=port, connect_seconds=60.0)
        try:
            yield Guard(remote, 60.0, 60.0)
        finally:
            remote.close()


def test_what_the_arm_did_reaches_the_recorder(arm):
    env, _, keys = arm
    with trained(env) as guarded:
        observation, _ = guarded.reset(seed=0)
        recorder = EpisodeRecorder("a", observation)
        wanted = np.array([1, 0.25, 0, 0, 0, 0], np.float32)
        for press in ("", "", " ", "s"):
            keys.pressed = press
            is_end = recorder.add(wanted, guarded.step(wanted))
        segment = recorder.cut()
    assert is_end and segment.rewards.tolist() == [0, 0, 0, 1]
    np.testing.assert_allclose(segment.actions[:, 0], [1, 0.5, -1, -0.5], atol=1e-6)
    np.testing.assert_allclose(segment.actors.policy_actions[:, 0], np.ones(4))
    assert segment.actors.sources.tolist() == ["policy", "policy", "so_leader", "so_leader"]
    assert segment.observations["front"].shape == (5, 128, 128, 3)


def test_an_overload_is_one_sentence_at_the_trainer_and_the_next_episode_runs(arm):
    env, robot, _ = arm
    with trained(env) as guarded:
        guarded.reset(seed=0)
        robot.faults = [None, RuntimeError("[RxPacketError] Overload error!")]
        with pytest.raises(EnvFault, match="A motor protects itself: let it cool"):
            for _ in range(3):
                guarded.step(np.zeros(6, np.float32))
        guarded.reset(seed=0)
        guarded.step(np.zeros(6, np.float32))
