"""Recording of an operator or a scripted expert: demonstrations, or labelled images for a classifier."""

from __future__ import annotations

import itertools
import logging
import pickle
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Any

import gymnasium
import numpy as np

from serl_ray.data.episodes import EnvFault, EpisodeRecorder
from serl_ray.data.observations import Observation
from serl_ray.data.rewards import SUCCESS_RETURN, succeeded, unusual_reward
from serl_ray.data.schema import Segment
from serl_ray.files.atomic import write_file
from serl_ray.teleop.held import HeldEpisodes, operated
from serl_ray.teleop.wrapper import VERDICT, WAIT_SECONDS, Interrupted
from serl_ray.utils.errors import SetupError

logger = logging.getLogger(__name__)

MAX_FAILURES = 20
"""Number of consecutive episodes without success that ends recording."""
MAX_FAULTS = 5
"""Number of consecutive episodes with an env fault that ends recording."""
MOST_TRIES = MAX_FAILURES * MAX_FAULTS
"""Upper bound of the episodes that are played for one that is recorded."""

DISCARDED = "discarded by the operator"
LINGER = 10
"""Number of success images that an episode yields after its first one."""

Drive = Callable[[], np.ndarray]
"""Function that returns the next action (A + G,); zero on a robot that the operator drives, whose action the env
reports."""


@dataclass
class Recorder:
    """Recorder of successful episodes; an episode with an env fault is dropped.

    Attributes:
        env: env inside a `Guard`, which turns its faults into `EnvFault`.
        drive: source of the actions.
        by_operator: whether an operator drives through the env; an episode without `info["intervene_action"]` is then
            dropped.
        success_return: sum of rewards from which an episode is a success; None if `info["success"]` decides.
        interrupted: event that ends the recording after the current step, and drops its episode.
        dropped: number of dropped episodes by reason.
    """

    env: gymnasium.Env
    drive: Drive
    by_operator: bool = False
    success_return: float | None = SUCCESS_RETURN
    interrupted: Event = field(default_factory=Event)
    dropped: Counter[str] = field(default_factory=Counter)
    _faults_in_a_row: int = 0
    _has_person: bool = False
    _has_said_rule: bool = False

    def successes(self, episodes: int, seed: int, first: int = 0) -> Iterator[Segment]:
        """Plays episodes until enough have succeeded or it is interrupted, and yields the successful ones.

        Args:
            episodes: number of successful episodes.
            seed: seed of the first reset; each later reset adds 1.
            first: number of the first episode.

        Raises:
            SetupError: too many consecutive episodes failed, or had an env fault.
            ValueError: a whole episode passed without an action of the operator who should drive, or without a
                report of success where this decides.
        """
        recorded = in_a_row = 0
        for number in itertools.count(first):
            if recorded == episodes or self.interrupted.is_set():
                return
            segment = self._play(f"demo-{seed}-{number:05d}", seed + number)
            if segment is not None and self._is_success(segment):
                recorded, in_a_row = recorded + 1, 0
                yield segment
            elif segment is not None:
                in_a_row += 1
                self.dropped["failed"] += 1
            if in_a_row == MAX_FAILURES:
                fix = (
                    "Check how success is judged" if self.by_operator else "Lower the expert's noise, or check the env"
                )
                raise SetupError(f"{MAX_FAILURES} consecutive episodes have failed. {fix}.")

    def _is_success(self, segment: Segment) -> bool:
        if not self._has_said_rule and (unusual := unusual_reward(segment.rewards, self.success_return)):
            logger.warning(unusual)
            self._has_said_rule = True
        success = succeeded(float(segment.rewards.sum()), segment.success, self.success_return)
        if success is None:
            raise ValueError(
                "The env does not report info['success'], which decides whether an episode is kept: report it in the "
                "last step, or name the sum of rewards that is a success, --success_return."
            )
        return success

    def _play(self, name: str, seed: int) -> Segment | None:
        """An episode; None if it was interrupted, had an env fault, or was driven by nobody."""
        try:
            segment = self._episode(name, seed)
        except Interrupted:
            return None
        except EnvFault as fault:
            self.dropped["spoiled by the env"] += 1
            self._faults_in_a_row += 1
            logger.warning("An episode is dropped. %s", fault)
            if self._faults_in_a_row == MAX_FAULTS:
                message = f"The env has spoiled {MAX_FAULTS} consecutive episodes, the last one by this fault: {fault}"
                raise SetupError(message) from fault
            return None
        self._faults_in_a_row = 0
        if segment is not None and self.by_operator and not segment.intervened.any():
            self.dropped["driven by nobody"] += 1
            if not self._has_person:
                raise ValueError(
                    "A whole episode has passed without info['intervene_action']: the env must report the operator's "
                    "actions in it. Use an env that does so, or --driver expert."
                )
            return None
        self._has_person = self._has_person or segment is not None
        return segment

    def _episode(self, name: str, seed: int) -> Segment | None:
        held = HeldEpisodes(self.env)
        if robot := operated(self.env):
            robot.interrupted = self.interrupted
        observation, _ = self.env.reset(seed=seed)
        episode, done = EpisodeRecorder(name, observation, has_policy=False), False
        while not done:
            if self.interrupted.is_set():
                return None
            action = self.drive()
            observation, reward, terminated, truncated, info = self.env.step(action)
            if not self.by_operator:
                info = {"intervene_action": action, **info}
            done = VERDICT in info or episode.add(action, (observation, reward, terminated, truncated, info))
        held.end(episode)
        while held.waits:
            if settled := held.settled():
                return settled[0]
            time.sleep(WAIT_SECONDS)
        self.dropped[DISCARDED] += 1
        return None


def record_successes(env: gymnasium.Env, drive: Drive, episodes: int, seed: int) -> Iterator[Segment]:
    """Successful episodes of a scripted expert; see `Recorder.successes`."""
    return Recorder(env, drive).successes(episodes, seed)


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
    frames: dict[str, list[dict[str, Any]]] = {"success": [], "failure": []}
    for observation, is_success in labelled_images(env, drive, seed, linger, success_return):
        images = {key: np.array(observation[key]) for key in image_keys}
        kept = {"observations": images, "labels": int(is_success), "episode": name}
        frames["success" if is_success else "failure"].append(kept)
    for kind, kept_frames in frames.items():
        if kept_frames:
            (folder / kind).mkdir(parents=True, exist_ok=True)
            write_file(folder / kind / f"{name}.pkl", pickle.dumps(kept_frames, protocol=5))
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
