"""The spaces of remote workers, of a simulator that this process may open as well."""

from __future__ import annotations

import pytest

from serl_ray.rllib import SERLConfig
from serl_ray.rllib.rollout_env import rollout_env, spaces_here

TABLETOP = {"env_name": "tabletop", "setup_mode": "single-arm-learned-gripper"}


@pytest.mark.parametrize("cameras", [(), ("image", "wrist")])
def test_the_spaces_of_a_simulator_are_known_before_its_workers_have_started(cameras):
    config = SERLConfig().training(**TABLETOP, image_keys=cameras, frame_stack=2 if cameras else 1)
    config.env_runners(num_env_runners=1)
    config.validate()
    env = rollout_env(config)
    assert spaces_here(config) == (env.observation_space, env.action_space)
    env.close()


def test_an_env_that_may_be_a_robot_is_not_opened_twice():
    config = SERLConfig().training(env_name="line_envs:LineEnv").env_runners(num_env_runners=1)
    config.validate()
    assert spaces_here(config) is None


def test_without_remote_workers_nothing_waits_for_their_spaces():
    config = SERLConfig().training(**TABLETOP)
    config.validate()
    assert spaces_here(config) is None
