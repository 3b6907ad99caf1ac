"""Offline training: the algorithm without rollout workers, on demonstrations alone."""

from __future__ import annotations

from ray.rllib.algorithms.algorithm import Algorithm
from ray.rllib.utils.annotations import override

from serl_ray.data.replay.ring import ReplayBuffer
from serl_ray.evaluation.held_out import ValueCurve, judge
from serl_ray.options.sets import OfflineOptions
from serl_ray.rllib.base import TrainingAlgorithm
from serl_ray.rllib.config import SERLConfig
from serl_ray.rllib.normalising import fit_normaliser
from serl_ray.rllib.offline_data import demo_spaces, load_offline_data
from serl_ray.types import Batch

STEPS_AT_ONCE = 25
"""Learner steps for which batches are prepared ahead, and after which an interrupt is looked for."""


class OfflineConfig(SERLConfig):
    """`OfflineOptions` as attributes beside RLlib's own.

    Without an env, its spaces are those of the demonstrations; with one, it is what evaluations are played in.
    """

    options_class = OfflineOptions

    def _prepare(self, options: OfflineOptions) -> None:
        if not options.demos.demo_paths:
            raise ValueError("demo_paths is empty: offline training learns from demonstrations alone. Name some.")
        if options.env.env_name is None:
            observation_space, action_space = demo_spaces(options)
            self._check_spaces(observation_space, action_space)
            self.environment(env=None, observation_space=observation_space, action_space=action_space)
        else:
            self._check_spaces(None, None)


class OfflineSERL(TrainingAlgorithm):
    """`objective` on demonstrations, until `max_steps` learner steps are made.

    `train()` makes `steps_per_iteration` learner steps. An evaluation judges actions and values on the episodes that
    were held out and, where there is an env, plays it.
    """

    steps_metric = "learner/steps"

    @classmethod
    @override(Algorithm)
    def get_default_config(cls) -> OfflineConfig:
        return OfflineConfig()

    @override(TrainingAlgorithm)
    def _prepare(self) -> None:
        space, action_dim = self.policy.observation_space, self.policy.layout.action_dim
        self.data = load_offline_data(self.options, space, action_dim, self.config.seed or 0, self.config.shared_demos)
        self._reads_batches = self.data.stream is not None
        fit_normaliser(self.agent, self.data.sample, self.config.seed)

    @property
    def steps(self) -> int:
        return self.learner_steps

    @override(TrainingAlgorithm)
    def training_step(self) -> None:
        """Some learner steps, none beyond a result: no batch lies ready then, and a restored run goes on as it would
        have."""
        per_iteration = self.options.schedule.steps_per_iteration
        left = min(per_iteration - self.steps % per_iteration, max(self.options.schedule.max_steps - self.steps, 1))
        self._learn(min(left, STEPS_AT_ONCE))

    @override(TrainingAlgorithm)
    def imitation_share(self) -> float:
        return float(self.options.agent.objective != "sac")

    @property
    def can_evaluate(self) -> bool:
        return bool(self.data.held_out) or super().can_evaluate

    def _judge(self) -> None:
        if self.data.held_out:
            self.metrics_log.set(judge(self.agent, self.data.held_out, self.options.discount).metrics())

    def value_curves(self) -> list[ValueCurve]:
        """Values along held-out episodes, beside what these earned."""
        held_out = self.data.held_out
        return list(judge(self.agent, held_out, self.options.discount).curves) if held_out else []

    @override(TrainingAlgorithm)
    def _sampled(self) -> list[ReplayBuffer]:
        return [self.data.buffer]

    def _sample_batch(self) -> Batch:
        return self.data.sample(self.options.learning.batch_size, self.rng)

    def _counts(self) -> dict[str, float]:
        return {"buffer/demo_size": float(self.data.num_transitions)}

    @override(TrainingAlgorithm)
    def cleanup(self) -> None:
        super().cleanup()
        if self.data.stream:
            self.data.stream.close()


OfflineConfig.algorithm_class = OfflineSERL
