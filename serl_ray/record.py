"""Demonstrations from a scripted expert."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import gymnasium

from serl_ray.data.recorder import EpisodeRecorder
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
    episode, done = EpisodeRecorder(name, observation), False
    while not done:
        action = expert.act()
        observation, reward, terminated, truncated, info = env.step(action)
        done = episode.add(action, (observation, reward, terminated, truncated, {**info, "intervene_action": action}))
    return episode.cut()
