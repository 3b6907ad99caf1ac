"""How a rollout worker gathers experience: its policy acts in its envs, and what was executed comes out as segments."""

from __future__ import annotations

import uuid
from collections import deque
from collections.abc import Sequence

import gymnasium
from ray.rllib.evaluation.rollout_worker import RolloutWorker

from serl_ray.data.maps import FrameEncoder
from serl_ray.data.observations import Observation, stack_observations
from serl_ray.data.recorder import EpisodeRecorder
from serl_ray.data.schema import Segment


class Collector:
    """Steps the envs of a rollout worker. Their frames are one batch of the trunk, whose maps are acted on and stored, and their
    actions are chosen at once.

    RLlib's own sampler builds batches of what a policy was told to do; here the replay gets what was executed.
    """

    def __init__(self, worker: RolloutWorker) -> None:
        self._policy = worker.get_policy()
        self._name = f"worker-{worker.worker_index}"
        settings = self._policy.settings
        encoding = settings.encoding()
        self._encoder = FrameEncoder(**encoding, seed=1000 * worker.worker_index) if encoding else None
        self._envs: list[gymnasium.Env] = worker.async_env.get_sub_environments()
        self._newest: list[deque[Observation]] = [deque(maxlen=settings.frame_stack) for _ in self._envs]
        self._episodes: dict[int, EpisodeRecorder] = {}
        for index in range(len(self._envs)):
            self._begin(index)

    def collect(self, steps: int) -> list[Segment]:
        """The next `steps` steps of every env, a segment an episode; where a person intervened, with the person's actions."""
        segments = []
        for _ in range(steps):
            actions, _, _ = self._policy.compute_actions_from_input_dict({"obs": self._stacked()})
            results = [env.step(action) for env, action in zip(self._envs, actions, strict=True)]
            observations = self._encode([observation for observation, *_ in results])
            for index, (action, observation, result) in enumerate(zip(actions, observations, results, strict=True)):
                self._newest[index].append(observation)
                if self._episodes[index].add(action, (observation, *result[1:])):
                    segments.append(self._episodes[index].cut())
                    self._begin(index)
        return segments + [episode.cut() for episode in self._episodes.values() if len(episode)]

    def _begin(self, index: int) -> None:
        first, _ = self._envs[index].reset()
        [observation] = self._encode([first])
        self._newest[index].extend([observation] * self._newest[index].maxlen)
        self._episodes[index] = EpisodeRecorder(f"{self._name}-{uuid.uuid4().hex}", observation)

    def _encode(self, observations: Sequence[Observation]) -> list[Observation]:
        """Observations of some envs, with maps in place of frames where the replay holds maps."""
        if self._encoder is None:
            return list(observations)
        encoded = self._encoder(stack_observations(observations))
        return [{key: rows[index] for key, rows in encoded.items()} for index in range(len(observations))]

    def _stacked(self) -> Observation:
        """What the policy sees of every env: (B, ...), or with a frame stack (B, T, ...)."""
        return stack_observations([stack_observations(newest) if newest.maxlen > 1 else newest[0] for newest in self._newest])
