"""How a rollout worker gathers experience: its policy acts in its envs, and what was executed comes out as segments."""

from __future__ import annotations

import uuid

import gymnasium
import numpy as np
from ray.rllib.evaluation.rollout_worker import RolloutWorker

from serl_ray.data.recorder import EpisodeRecorder, Observation
from serl_ray.data.schema import Segment


class Collector:
    """Steps the envs of a rollout worker, one after the other; the actions of all are chosen at once.

    RLlib's own sampler builds batches of what a policy was told to do; here the replay gets what was executed.
    """

    def __init__(self, worker: RolloutWorker) -> None:
        self._policy = worker.get_policy()
        self._name = f"worker-{worker.worker_index}"
        self._is_stacked = self._policy.settings.frame_stack > 1
        self._envs: list[gymnasium.Env] = worker.async_env.get_sub_environments()
        self._observations: list[Observation] = [{}] * len(self._envs)
        self._episodes = [self._begin(index) for index in range(len(self._envs))]

    def collect(self, steps: int) -> list[Segment]:
        """The next `steps` steps of every env, a segment an episode; where a person intervened, with the person's actions."""
        segments = []
        for _ in range(steps):
            batch = {key: np.stack([o[key] for o in self._observations]) for key in self._observations[0]}
            actions, _, _ = self._policy.compute_actions_from_input_dict({"obs": batch})
            for index, action in enumerate(actions):
                if self._step(index, action):
                    segments.append(self._episodes[index].cut())
                    self._episodes[index] = self._begin(index)
        return segments + [episode.cut() for episode in self._episodes if len(episode)]

    def _begin(self, index: int) -> EpisodeRecorder:
        self._observations[index], _ = self._envs[index].reset()
        return EpisodeRecorder(f"{self._name}-{uuid.uuid4().hex}", self._newest(self._observations[index]))

    def _step(self, index: int, action: np.ndarray) -> bool:
        """Whether the episode has ended."""
        observation, *rest = self._envs[index].step(action)
        self._observations[index] = observation
        return self._episodes[index].add(action, (self._newest(observation), *rest))

    def _newest(self, observation: Observation) -> Observation:
        """Of stacked frames (T, ...) the newest: the replay stacks them again."""
        return {key: rows[-1] for key, rows in observation.items()} if self._is_stacked else observation
