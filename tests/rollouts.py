"""Rollouts of the tabletop that are told apart by a hash."""

from __future__ import annotations

import hashlib

import numpy as np

from serl_ray.envs.tabletop import TabletopEnv
from serl_ray.types import ActionLayout


def layout_of(env: TabletopEnv, mode: str) -> ActionLayout:
    return ActionLayout.from_setup(mode, env.action_space.shape[0])


def rollout_digest(mode: str, num_steps: int = 40) -> str:
    """A hash of all observations and rewards of a seeded rollout, in which the expert and random actions take turns."""
    env = TabletopEnv(mode)
    actions = layout_of(env, mode).random(np.random.default_rng(3), num_steps)
    digest = hashlib.sha256()
    observation, _ = env.reset(seed=11)
    for step, random_action in enumerate(actions):
        digest.update(observation["state"].tobytes() + observation["object_state"].tobytes())
        observation, reward, terminated, _, _ = env.step(env.expert_action() if step % 3 else random_action)
        digest.update(np.float64(reward).tobytes())
        if terminated:
            observation, _ = env.reset()
    return digest.hexdigest()
