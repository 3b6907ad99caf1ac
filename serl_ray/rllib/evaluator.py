"""Evaluation during training, on workers of its own."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, pairwise, takewhile
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event
from typing import Any

import gymnasium
import numpy as np
from ray.exceptions import RayError
from ray.rllib.env.env_runner_group import EnvRunnerGroup

from serl_ray.cluster.ray_private import TAG, ready_results, remote_workers
from serl_ray.data.episodes import StepResult
from serl_ray.data.rewards import SUCCESS_RETURN
from serl_ray.evaluation.rollouts import Act, Episode, Evaluation, deterministic, run_episodes
from serl_ray.evaluation.video import VideoFile
from serl_ray.rllib.callbacks import EpisodeMetrics
from serl_ray.rllib.failures import FaultLog, WorkerError, raise_failure, reporting
from serl_ray.rllib.worker import SERLWorker
from serl_ray.teleop.wrapper import VERDICT, Interrupted

logger = logging.getLogger(__name__)

Weights = dict[str, np.ndarray]
SEED = 10_000
"""Seed of an evaluation's first episode; the episodes are the same each time."""
POLL_SECONDS = 0.2
"""Polling interval, seconds."""


@dataclass
class Played:
    """A worker's share of an evaluation.

    Attributes:
        episodes: in their order.
        outcomes: the same in RLlib's words, with what callbacks wrote into them.
        video: an mp4 of the first; None where none was recorded.
        fault: why it was not, although it was wanted.
        is_stopped: whether an operator has stopped an episode, so that the evaluation does not count.
    """

    episodes: list[Episode] = field(default_factory=list)
    outcomes: list[EpisodeMetrics] = field(default_factory=list)
    video: bytes | None = None
    fault: str | None = None
    is_stopped: bool = False


class EpisodeStopped(Exception):
    """An operator has stopped an episode of an evaluation."""


class _WholeEpisodes(gymnasium.Wrapper):
    """An env whose episodes are played to their end, or raise `EpisodeStopped`."""

    def step(self, action: np.ndarray) -> StepResult:
        result = self.env.step(action)
        if VERDICT in result[-1]:
            raise EpisodeStopped
        return result


class Evaluator:
    """Plays deterministic episodes with given weights; beside the training where remote evaluation workers share them.

    Args:
        workers: RLlib's evaluation workers; None where no evaluation is wanted.
        episodes: number of episodes in an evaluation.
        faults: log of evaluations that did not end.
        records_video: whether the first episode is recorded as a video.
        should_stop: asked after each episode that is played in this process.
        success_return: sum of rewards from which an episode is a success; None if `info["success"]` decides.

    Attributes:
        last_episodes: those of the last evaluation that came to its end.
        last_outcomes: the same in RLlib's words.
    """

    def __init__(
        self,
        workers: EnvRunnerGroup | None,
        episodes: int,
        faults: FaultLog,
        records_video: bool = False,
        should_stop: Callable[[], bool] = lambda: False,
        success_return: float | None = SUCCESS_RETURN,
    ) -> None:
        self._workers, self._episodes, self._faults, self._should_stop = workers, episodes, faults, should_stop
        self._records_video, self._video, self._success_return = records_video, None, success_return
        self.last_episodes: list[Episode] = []
        self.last_outcomes: list[EpisodeMetrics] = []
        ids = remote_workers(workers)
        ends = np.linspace(0, episodes, len(ids) + 1).astype(int).tolist()
        self._shares = {
            worker: range(*share) for worker, share in zip(ids, pairwise(ends), strict=True) if share[0] < share[1]
        }
        self._playing: set[int] = set()
        self._played: dict[int, Played | None] = {}
        self._env_steps = 0
        self._finished: dict[str, float] | None = None

    @property
    def at_step(self) -> int | None:
        """The step whose policy is being evaluated, or has been evaluated without the outcome being taken."""
        return self._env_steps if self._playing or self._finished is not None else None

    @property
    def is_playing(self) -> bool:
        """True while remote workers play."""
        return bool(self._playing)

    def start(self, weights: Weights, env_steps: int) -> None:
        """Starts an evaluation of the policy after `env_steps`; does nothing while the one before is running."""
        if self._playing or self._workers is None:
            return
        self._env_steps, self._played = env_steps, {}
        if self._shares:
            play = partial(
                _play, weights=weights, records_video=self._records_video, success_return=self._success_return
            )
            plays = [partial(play, episodes=share) for share in self._shares.values()]
            self._workers.foreach_env_runner_async(
                plays, tag=TAG, remote_worker_ids=list(self._shares), healthy_only=False
            )
            self._playing = set(self._shares)
        else:
            worker, episodes = self._workers.local_env_runner, range(self._episodes)
            outcome = _play(worker, weights, episodes, self._records_video, self._success_return, self._should_stop)
            self._finished = self._metrics([self._take(outcome)])

    def interrupt_by(self, interrupted: Event) -> None:
        """From now on, an evaluation in this process waits for no operator any longer once the event is set."""
        if self._workers is not None and not self._shares:
            self._workers.local_env_runner.interrupt_by(interrupted)

    def finished(self, timeout: float = 0.0) -> dict[str, float] | None:
        """The metrics of an evaluation that has ended within `timeout` seconds, once."""
        if self._playing:
            for worker, outcome in ready_results(self._workers, timeout):
                if worker in self._playing:
                    self._playing.remove(worker)
                    self._played[worker] = self._take(outcome)
            if not self._playing:
                self._finished = self._metrics([self._played[worker] for worker in self._shares])
        finished, self._finished = self._finished, None
        return finished

    def wait(self) -> dict[str, float]:
        """The metrics of the evaluation that runs or has just ended; none where it did not come to its end."""
        outcome = self.finished()
        while outcome is None and self._playing and not self._should_stop():
            outcome = self.finished(POLL_SECONDS)
        return outcome or {}

    def take_video(self) -> tuple[int, bytes] | None:
        """The step whose policy the last video shows, and the mp4; once."""
        video, self._video = self._video, None
        return video

    def _take(self, outcome: Any) -> Played | None:
        """A worker's evaluation; None where it failed."""
        try:
            if isinstance(outcome, RayError):
                raise outcome
            played: Played | None = raise_failure(outcome)
        except (RayError, WorkerError) as error:
            self._faults.lose("evaluations_lost", f"An evaluation has failed; training goes on. {error}")
            return None
        if played and played.is_stopped:
            text = "An operator has stopped an evaluation, which does not count. The next one waits for the re-arming."
            self._faults.lose("evaluations_lost", text)
            return None
        return played

    def _metrics(self, shares: list[Played | None]) -> dict[str, float] | None:
        if None in shares:
            return None
        first = shares[0]
        if first.video:
            self._video = self._env_steps, first.video
        if first.fault:
            logger.warning("Evaluations have no video, as the first could not be recorded: %s", first.fault)
            self._records_video = False
        self.last_episodes = list(chain.from_iterable(share.episodes for share in shares))
        self.last_outcomes = list(chain.from_iterable(share.outcomes for share in shares))
        return {"evaluation/at_step": float(self._env_steps), **Evaluation(self.last_episodes).metrics()}


@reporting
def _play(
    worker: SERLWorker,
    weights: Weights,
    episodes: range,
    records_video: bool,
    success_return: float | None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Played | None:
    policy = worker.get_policy()
    policy.set_weights(weights)
    act, env, played = deterministic(policy.agent), _WholeEpisodes(worker.env), Played()
    worker.take_played()  # of an evaluation that did not come to its end
    try:
        first = [_recorded(act, env, played, success_return)] if records_video and episodes.start == 0 else []
        seed = SEED + episodes.start + len(first)
        others = run_episodes(act, env, len(episodes) - len(first), seed, success_return=success_return)
        played.episodes = list(takewhile(lambda _: not should_stop(), chain(first, others)))
    except EpisodeStopped:
        return Played(is_stopped=True)
    except Interrupted:
        return None
    played.outcomes = worker.take_played()
    return played if len(played.episodes) == len(episodes) else None


def _recorded(act: Act, env: gymnasium.Env, played: Played, success_return: float | None) -> Episode:
    """Plays an episode and records a video of it; where that fails, the evaluation goes on."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "video.mp4"
        with VideoFile(path) as video:

            def take(env: gymnasium.Env, intervened: bool) -> None:
                if played.fault is None:
                    try:
                        video.take(env, intervened)
                    except Exception as error:  # of whatever the env renders with
                        played.fault = f"{type(error).__name__}: {error}"

            [episode] = run_episodes(act, env, 1, SEED, take, success_return)
        if played.fault is None:
            played.video = path.read_bytes()
    return episode
