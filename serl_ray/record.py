"""Demonstrations from a scripted expert."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import gymnasium
import numpy as np

from serl_ray.data.schema import Segment
from serl_ray.envs.expert import ScriptedExpert
from serl_ray.evaluate import SUCCESS_RETURN

MAX_FAILURES = 20
"""An expert that fails as often as this in a row will not get there."""


def record_successes(env: gymnasium.Env, expert: ScriptedExpert, episodes: int, seed: int) -> Iterator[Segment]:
    """Plays until `episodes` have succeeded, and yields those; failed ones are dropped, as in the original.

    Raises:
        RuntimeError: the expert has failed `MAX_FAILURES` times in a row.
    """
    recorded = failures_in_a_row = 0
    for episode in itertools.count():
        segment = _play(env, expert, seed + episode, name=f"demo-{seed}-{episode}")
        succeeded = segment.rewards.sum() >= SUCCESS_RETURN
        failures_in_a_row = 0 if succeeded else failures_in_a_row + 1
        if failures_in_a_row == MAX_FAILURES:
            raise RuntimeError(f"The expert has failed {MAX_FAILURES} times in a row. Lower its noise, or check the env.")
        if succeeded:
            recorded += 1
            yield segment
        if recorded == episodes:
            return


def _play(env: gymnasium.Env, expert: ScriptedExpert, seed: int, name: str) -> Segment:
    observation, _ = env.reset(seed=seed)
    observations, steps, done = [observation], [], False
    while not done:
        action = expert.act()
        observation, reward, terminated, truncated, info = env.step(action)
        observations.append(observation)
        steps.append((action, reward, terminated, truncated, info.get("grasp_penalty", 0.0)))
        done = terminated or truncated
    actions, rewards, terminateds, truncateds, penalties = (np.array(column) for column in zip(*steps, strict=True))
    return Segment(
        observations={key: np.stack([o[key] for o in observations]) for key in observations[0]},
        actions=actions,
        rewards=rewards,
        masks=1.0 - terminateds,
        dones=terminateds | truncateds,
        truncateds=truncateds,
        grasp_penalty=penalties,
        intervened=np.ones(len(steps), bool),
        episode=name,
    )
