"""Base of hybrid and offline training: an agent that learns in iterations, is evaluated, saved and restored."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterable
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
from ray.rllib.algorithms.algorithm import Algorithm
from ray.rllib.callbacks.callbacks import RLlibCallback
from ray.rllib.utils.annotations import override

from serl_ray.cluster.ray_private import configs_by_value, spaces_given
from serl_ray.cluster.start import start_ray
from serl_ray.data.observations import squeezed_cameras
from serl_ray.data.replay.log import LogWriter, ReplayLog
from serl_ray.data.replay.ring import ReplayBuffer
from serl_ray.evaluation.held_out import ValueCurve
from serl_ray.options.sets import options_in
from serl_ray.rllib import checkpoint
from serl_ray.rllib.action_scale import explanation, from_contract, to_contract
from serl_ray.rllib.agreement import described_observations
from serl_ray.rllib.buffers import horizon_of
from serl_ray.rllib.callbacks import NO_LOGGER
from serl_ray.rllib.checkpoint import COUNTERS, RunState
from serl_ray.rllib.config import SERLConfig
from serl_ray.rllib.entropy import EntropyWatch
from serl_ray.rllib.evaluated import EvaluatedRun
from serl_ray.rllib.evaluator import Evaluator
from serl_ray.rllib.fade import FADE_COUNTERS, Fade
from serl_ray.rllib.failures import FaultLog, WorkerError, diverged
from serl_ray.rllib.feed import BatchFeed
from serl_ray.rllib.gauges import Gauges
from serl_ray.rllib.metrics import METRICS, EpisodeLog, MetricsLog
from serl_ray.rllib.policy import SERLPolicy
from serl_ray.rllib.public_methods import PublicMethods
from serl_ray.rllib.results import RunResults
from serl_ray.rllib.rollout_env import spaces_here
from serl_ray.rllib.sampling import say_what_waits
from serl_ray.types import Batch

logger = logging.getLogger(__name__)


class TrainingAlgorithm(EvaluatedRun, PublicMethods):
    """The loop of training; `SERL` and `OfflineSERL` say where batches come from and what a step is."""

    steps_metric: str
    """Metric that counts the steps of a run."""
    _is_set_up = False

    def __init__(self, config: Any = None, *args: Any, **kwargs: Any) -> None:
        """Starts or joins Ray as the commands do, unless it runs already: by itself Ray would listen on every
        interface, start a process for each core, and report all of that."""
        if isinstance(config, SERLConfig):
            start_ray(config.num_env_runners + (config.evaluation_num_env_runners or 0))
        super().__init__(config, *args, **kwargs)

    def _prepare(self) -> None:
        """Sets up where batches come from: `logs`, `buffers` and what `_sample_batch` needs."""
        raise NotImplementedError

    @property
    def steps(self) -> int:
        """Steps so far, in which the length of the run is counted."""
        raise NotImplementedError

    def imitation_share(self) -> float:
        """Share of imitation in the actor's loss."""
        raise NotImplementedError

    def _sampled(self) -> Iterable[ReplayBuffer]:
        """The buffers from which batches are drawn."""
        return self.buffers.values()

    def _sample_batch(self) -> Batch:
        raise NotImplementedError

    def _counts(self) -> dict[str, float]:
        """Metrics that are counts, for every result."""
        raise NotImplementedError

    def recover(self) -> int:
        """Takes up what was stored after the checkpoint that was loaded; returns the number of recovered env steps."""
        return 0

    def _start_operators(self, config: SERLConfig) -> None:
        """Starts the hub of the run's operators, where there are any."""

    def stop_at(self, interrupted: Event) -> None:
        """Ends the run early, and to be saved, once the event is set."""
        self.interrupted = interrupted

    def wait_for_requests(self, seconds: float = 10.0) -> None:
        """Stores what rollout workers still bring within some seconds."""

    def value_curves(self) -> list[ValueCurve]:
        """Values along held-out episodes, where there are some."""
        return []

    @classmethod
    @override(Algorithm)
    def get_default_policy_class(cls, config: SERLConfig) -> type[SERLPolicy]:
        return SERLPolicy

    @override(Algorithm)
    def setup(self, config: SERLConfig) -> None:
        say_what_waits(config)
        self._start_operators(config)
        try:
            with configs_by_value(), spaces_given(spaces_here(config)):
                super().setup(config)
        except IndexError as error:  # RLlib asks the first of no workers for its spaces
            raise WorkerError("No rollout worker has started; the messages above say why.") from error
        self.options = options_in(self.config)
        self.policy: SERLPolicy = self.get_policy()
        self.agent = self.policy.agent
        self.rng, self.interrupted = np.random.default_rng(self.config.seed), Event()
        self.env_steps = self.learner_steps = self.interventions = self.demonstrations = 0
        self.faults, self.episodes, self.fade = FaultLog(), EpisodeLog(self.options.reward), Fade()
        self.entropy = EntropyWatch(self.agent.target_entropy, self.policy.layout.continuous_dim)
        self.logs: dict[str, ReplayLog] = {}
        self.buffers: dict[str, ReplayBuffer] = {}
        self._prepares_ahead = self._reads_batches = False
        self.agent.action_scale = self.config.env_config["action_scale"]
        self._say_what_was_found()
        self._prepare()
        self.log_writer = LogWriter(self.logs.values())
        self.feed = BatchFeed(self._sample_batch, self.agent.device, self._reads_batches)
        workers, records_video = self.eval_env_runner_group, self.config.records_video
        episodes, success_return = self.options.evaluation.evaluation_episodes, self.options.reward.success_return
        self.evaluator = Evaluator(
            workers, episodes, self.faults, records_video, lambda: self.should_stop, success_return
        )
        self.metrics_log = MetricsLog()
        self.gauges = Gauges(run=self.run_name)
        window = self.config.metrics_num_episodes_for_smoothing
        self.results = RunResults(window, self.config.keep_per_episode_custom_metrics)
        self.metrics = NO_LOGGER
        self.evaluated: dict[str, Any] = {}
        self._has_evaluated = False
        self._is_set_up = True
        self.callbacks.on_algorithm_init(algorithm=self, metrics_logger=NO_LOGGER)

    @property
    def callbacks(self) -> RLlibCallback:
        """The user's callbacks; none while the run is set up, of which they would see a part."""
        return self._callbacks if self._is_set_up else RLlibCallback()

    @callbacks.setter
    def callbacks(self, callbacks: RLlibCallback) -> None:
        self._callbacks = callbacks

    @property
    def run_name(self) -> str:
        """The name of the run's folder."""
        replay_dir = self.config.replay_dir
        return Path(replay_dir).parent.name if replay_dir else Path(self.logdir).name

    def _say_what_was_found(self) -> None:
        """Logs what the run has found out about its images, its actions and its discount."""
        if self.config.discount_reason:
            logger.info(self.config.discount_reason)
        if self.agent.action_scale:
            logger.warning(explanation(self.agent.action_scale))
        shapes = {key: self.policy.observation_space[key].shape for key in self.options.env.image_keys}
        if squeezed := squeezed_cameras(shapes, self.options.agent.networks.encoder.image_size):
            logger.warning(squeezed)

    @property
    def should_stop(self) -> bool:
        """True if the run must be saved and end."""
        return self.interrupted.is_set()

    @override(Algorithm)
    def step(self) -> dict[str, Any]:
        started, env_steps, learner_steps, steps = time.monotonic(), self.env_steps, self.learner_steps, self.steps
        goal = min(steps + self.options.schedule.steps_per_iteration, max(self.options.schedule.max_steps, steps + 1))
        waited = self.feed.seconds_waited
        while self.steps < goal and not self.should_stop:
            self.training_step()
        self.feed.run(self.log_writer.write)
        if self._evaluation_is_due(steps) and not self.should_stop:
            self._evaluate()
        seconds = time.monotonic() - started
        rates = {
            "env/steps_per_second": (self.env_steps - env_steps) / seconds,
            "learner/steps_per_second": (self.learner_steps - learner_steps) / seconds,
            "learner/data_wait": (self.feed.seconds_waited - waited) / seconds,
        }
        return self._result(rates, env_steps)

    def _learn(self, learner_steps: int) -> None:
        """Each is `cta_ratio - 1` updates of the critics and then a full one, on batches of their own (REFERENCE
        section 4)."""
        cta_ratio = self.options.learning.cta_ratio
        self.agent.imitation_share = self.imitation_share()
        updates = learner_steps * cta_ratio
        for update in range(1, updates + 1):
            is_full = update % cta_ratio == 0
            is_last = update == updates or (is_full and self.should_stop)
            batch = self.feed.next(prepare_another=not is_last or self._prepares_ahead)
            custom_metrics: dict[str, float] = {}
            self.callbacks.on_learn_on_batch(policy=self.policy, train_batch=batch, result=custom_metrics)
            self.results.add_learnt(custom_metrics)
            metrics = self.policy.learn_on_batch(batch, critics_only=not is_full)
            if bad := [name for name, value in metrics.items() if not math.isfinite(value)]:
                raise diverged(", ".join(bad), self.learner_steps)
            if is_full:
                self.metrics_log.average(metrics)
                self.learner_steps += 1
            if is_last:
                return

    def _result(self, rates: dict[str, float], env_steps_before: int) -> dict[str, Any]:
        if finished := self.evaluator.finished():
            self._end_evaluation(finished)
        counts = {"env/steps": float(self.env_steps), "learner/steps": float(self.learner_steps)}
        counts |= {name: float(count) for name, count in self.faults.counts.items()}
        self.metrics_log.set({**rates, **counts, **self._counts(), "actor/imitation_share": self.imitation_share()})
        result = self.metrics_log.result()
        if self.imitation_share() < 1.0:
            self.entropy.add(result["actor/entropy"])
        self.gauges.set(result)
        trained = self.learner_steps * self.options.learning.cta_ratio * self.options.learning.batch_size
        named = self.results.take(result, self.env_steps, env_steps_before, trained)
        if self._has_evaluated:
            named["evaluation"] = {name: value for name, value in self.evaluated.items() if name not in METRICS}
            self._has_evaluated = False
        return {**result, **named, "timesteps_total": self.steps}

    def state(self) -> RunState:
        """Everything that makes the run what it is; the parts are the run's own."""
        space, layout = self.policy.observation_space, self.policy.layout
        contract = {
            "observations": described_observations(space),
            "action_dim": layout.action_dim,
            "control_hz": self.options.env.control_hz,
        }
        contract |= to_contract(self.agent.action_scale)
        counters = {name: getattr(self.fade if name in FADE_COUNTERS else self, name) for name in COUNTERS}
        generators = {"batches": self.rng, "random_actions": self.policy.rng}
        parts = {"logs": self.logs, "buffers": self.buffers, "generators": generators}
        found = ("discount",) if self.config.discount_reason else ()
        counts = counters, self.episodes, self.faults.counts
        return RunState(self.options, contract, self.agent, *counts, **parts, found=found)

    def load_state(self, state: RunState) -> None:
        """Takes over the counts, the options and the scale of the actions of a state; its other parts are the run's own
        already."""
        for name, count in state.counters.items():
            setattr(self.fade if name in FADE_COUNTERS else self, name, count)
        self.episodes = state.episodes
        self.options = state.options
        for buffer in self._sampled():
            buffer.horizon = horizon_of(self.options)
        self.agent.action_scale = from_contract(state.contract)
        for log in self.logs.values():
            log.scale = self.agent.action_scale
        self.faults.counts |= state.faults
        self.policy.global_timestep = self.env_steps

    @override(Algorithm)
    def save_checkpoint(self, checkpoint_dir: str) -> None:
        self.feed.run(checkpoint.save, self.state(), checkpoint_dir)

    @override(Algorithm)
    def load_checkpoint(self, checkpoint_dir: str) -> None:
        self.load_state(self.feed.run(checkpoint.load, self.state(), checkpoint_dir))
        self.callbacks.on_checkpoint_loaded(algorithm=self)

    @override(Algorithm)
    def cleanup(self) -> None:
        self.feed.close()
        self.log_writer.close()
        super().cleanup()
