"""What a person or a scripted expert leaves behind while driving: demonstrations, or labelled frames for a classifier."""

from __future__ import annotations

import itertools
import pickle
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from serl_ray.data.episodes import EpisodeRecorder
from serl_ray.data.schema import Segment
from serl_ray.evaluation.rollouts import SUCCESS_RETURN

MAX_FAILURES = 20
"""Episodes in a row without success after which recording gives up."""

Drive = Callable[[], np.ndarray]
"""The next action; on a robot that a person drives, standing still, since the env reports the person's own actions."""


def record_successes(env: gymnasium.Env, drive: Drive, episodes: int, seed: int) -> Iterator[Segment]:
    """Plays until `episodes` have succeeded, and yields those; failed ones are dropped, as in the original.

    Raises:
        RuntimeError: `MAX_FAILURES` episodes in a row have failed.
    """
    recorded = failures_in_a_row = 0
    for episode in itertools.count():
        segment = _play(env, drive, seed + episode, name=f"demo-{seed}-{episode}")
        succeeded = segment.rewards.sum() >= SUCCESS_RETURN
        failures_in_a_row = 0 if succeeded else failures_in_a_row + 1
        if failures_in_a_row == MAX_FAILURES:
            raise RuntimeError(f"{MAX_FAILURES} episodes in a row have failed. Lower the expert's noise, or check the env.")
        if succeeded:
            recorded += 1
            yield segment
        if recorded == episodes:
            return


def record_frames(
    env: gymnasium.Env, drive: Drive, image_keys: Sequence[str], folder: Path, name: str, seed: int, linger: int = 10
) -> dict[str, int]:
    """Plays an episode and writes its frames as `folder/success/NAME.pkl` and `folder/failure/NAME.pkl`.

    A frame is a success where the reward of the step that led to it, or `info["success"]`, says so. The episode goes on for
    `linger` steps after its first success, if the env lets it.

    Returns:
        How many frames of either kind there were.
    """
    observation, _ = env.reset(seed=seed)
    frames: dict[str, list[dict[str, Any]]] = {"success": [], "failure": []}
    is_success, done = False, False
    while True:
        kept = {"observations": {key: observation[key] for key in image_keys}, "labels": int(is_success), "episode": name}
        frames["success" if is_success else "failure"].append(kept)
        if done or len(frames["success"]) > linger:
            break
        observation, reward, terminated, truncated, info = env.step(drive())
        is_success = reward >= SUCCESS_RETURN or bool(info.get("success", False))
        done = terminated or truncated
    for kind, kept in frames.items():
        if kept:
            (folder / kind).mkdir(parents=True, exist_ok=True)
            with (folder / kind / f"{name}.pkl").open("wb") as file:
                pickle.dump(kept, file, protocol=5)
    return {kind: len(kept) for kind, kept in frames.items()}


def _play(env: gymnasium.Env, drive: Drive, seed: int, name: str) -> Segment:
    observation, _ = env.reset(seed=seed)
    episode, done = EpisodeRecorder(name, observation), False
    while not done:
        action = drive()
        observation, reward, terminated, truncated, info = env.step(action)
        done = episode.add(action, (observation, reward, terminated, truncated, {"intervene_action": action, **info}))
    return episode.cut()
