"""Recording of labelled images for a reward classifier."""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from serl_ray.data.episodes import EnvFault
from serl_ray.data.observations import Observation
from serl_ray.data.rewards import SUCCESS_RETURN
from serl_ray.envs.recording import Drive
from serl_ray.files.atomic import write_file

LINGER = 10
"""Number of success images that an episode yields after its first one."""


def record_frames(
    env: gymnasium.Env,
    drive: Drive,
    image_keys: Sequence[str],
    folder: Path,
    name: str,
    seed: int,
    linger: int = LINGER,
    success_return: float | None = SUCCESS_RETURN,
) -> dict[str, int]:
    """Plays an episode and writes its images as `folder/success/NAME.pkl` and `folder/failure/NAME.pkl`.

    Args:
        env: env to play in.
        drive: source of the actions.
        image_keys: cameras to write.
        folder: folder of the images.
        name: name of the episode.
        seed: seed of the reset.
        linger, success_return: arguments of `labelled_images`.

    Returns:
        The number of images by class.
    """
    labelled = (
        ({key: np.array(observation[key]) for key in image_keys}, is_success)
        for observation, is_success in labelled_images(env, drive, seed, linger, success_return)
    )
    return write_images(folder, name, labelled)


def write_images(folder: Path, name: str, labelled: Iterable[tuple[dict[str, np.ndarray], bool]]) -> dict[str, int]:
    """Writes the images (H, W, 3) uint8 of an episode, by camera, as `folder/success/NAME.pkl` and
    `folder/failure/NAME.pkl`.

    Args:
        folder: folder of the images.
        name: name of the episode.
        labelled: images in their order, and whether they show a success.

    Returns:
        The number of images by class.

    Raises:
        OSError: a file cannot be written; the episode then has none.
    """
    frames: dict[str, list[dict[str, Any]]] = {"success": [], "failure": []}
    for images, is_success in labelled:
        kept = {"observations": images, "labels": int(is_success), "episode": name}
        frames["success" if is_success else "failure"].append(kept)
    files = {folder / kind / f"{name}.pkl": kept_frames for kind, kept_frames in frames.items() if kept_frames}
    try:
        for file, kept_frames in files.items():
            file.parent.mkdir(parents=True, exist_ok=True)
            write_file(file, pickle.dumps(kept_frames, protocol=5))
    except OSError:
        for file in files:
            file.unlink(missing_ok=True)  # half an episode would be taken for a whole one
        raise
    return {kind: len(kept_frames) for kind, kept_frames in frames.items()}


def labelled_images(
    env: gymnasium.Env, drive: Drive, seed: int, linger: int, success_return: float | None = SUCCESS_RETURN
) -> Iterator[tuple[Observation, bool]]:
    """Observations of an episode, and whether each is a success by the reward of its step or by `info["success"]`.

    Args:
        env: env to play in.
        drive: source of the actions.
        seed: seed of the reset.
        linger: number of success images after the first one.
        success_return: reward of a step from which its image is a success; None if `info["success"]` alone decides.

    The episode goes on until `linger` successes follow the first one. An env that ends at success is stepped past its
    end while it reports success: once it does not, or takes no further step, it may be in another episode.
    """
    observation, _ = env.reset(seed=seed)
    yield observation, False
    successes, has_ended = 0, False
    while successes <= linger:
        try:
            observation, reward, terminated, truncated, info = env.step(drive())
        except EnvFault:
            if has_ended:
                return
            raise
        is_rewarded = success_return is not None and float(reward) >= success_return
        is_success = is_rewarded or bool(info.get("success", False))
        if has_ended and not is_success:
            return
        yield observation, is_success
        successes += is_success
        has_ended = has_ended or terminated
        if truncated or (has_ended and not is_success):
            return
