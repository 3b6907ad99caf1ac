"""Offline training: the algorithm without rollout workers, on demonstrations alone."""

from __future__ import annotations

from ray.rllib.algorithms.algorithm import Algorithm
from ray.rllib.utils.annotations import override

from serl_ray.data.replay.ring import ReplayBuffer
from serl_ray.evaluation.held_out import judge
from serl_ray.rllib.algorithm import SERL
from serl_ray.rllib.config import SERLConfig
from serl_ray.rllib.offline_data import demo_spaces, load_offline_data
from serl_ray.settings import OfflineSettings
from serl_ray.types import Batch

STEPS_AT_ONCE = 25
"""Learner steps for which batches are prepared ahead, and after which an interrupt is looked for."""


class OfflineConfig(SERLConfig):
    """`OfflineSettings` as attributes beside RLlib's own.

    Without an env, its spaces are those of the demonstrations; with one, it is what evaluations are played in.
    """

    settings_class = OfflineSettings

    def __init__(self, algo_class: type | None = None) -> None:
        super().__init__(algo_class=algo_class or OfflineSERL)

    def _prepare(self, settings: OfflineSettings) -> None:
        if not settings.demo_paths:
            raise ValueError("demo_paths is empty: offline training learns from demonstrations alone. Name some.")
        if settings.env_name is None:
            observation_space, action_space = demo_spaces(settings)
            self.environment(env=None, observation_space=observation_space, action_space=action_space)


class OfflineSERL(SERL):
    """`objective` on demonstrations, until `max_steps` learner steps are made.

    `train()` makes `steps_per_iteration` learner steps. An evaluation judges actions and values on the episodes that were held
    out and, where there is an env, plays it.
    """

    @classmethod
    @override(Algorithm)
    def get_default_config(cls) -> OfflineConfig:
        return OfflineConfig()

    @override(SERL)
    def _prepare(self) -> None:
        space, action_dim = self.policy.observation_space, self.policy.layout.action_dim
        self._prepares_ahead = False
        self.logs = {}
        self.data = load_offline_data(self.settings, space, action_dim, self.config.seed or 0, self.config.shared_demos)
        self._reads_batches = self.data.stream is not None

    @property
    def steps(self) -> int:
        return self.learner_steps

    @property
    def buffers(self) -> dict[str, ReplayBuffer]:
        return {}

    @override(SERL)
    def training_step(self) -> None:
        """Some learner steps, none beyond a result: no batch lies ready then, and a restored run goes on as it would have."""
        per_iteration = self.settings.steps_per_iteration
        left = min(per_iteration - self.steps % per_iteration, max(self.settings.max_steps - self.steps, 1))
        self._learn(min(left, STEPS_AT_ONCE))

    @override(SERL)
    def imitation_share(self) -> float:
        return float(self.settings.objective != "sac")

    def _evaluate(self) -> None:
        if self.data.held_out:
            self.metrics_log.set(judge(self.agent, self.data.held_out, self.settings.discount).metrics())
        super()._evaluate()

    def _sample_batch(self) -> Batch:
        return self.data.sample(self.settings.batch_size, self.rng)

    def _counts(self) -> dict[str, float]:
        return {"buffer/demo_size": float(self.data.num_transitions)}

    @override(SERL)
    def cleanup(self) -> None:
        super().cleanup()
        if self.data.stream:
            self.data.stream.close()
