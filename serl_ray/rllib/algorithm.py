"""Hybrid training: rollout workers act, demonstrations and experience are mixed, the agent learns."""

from __future__ import annotations

import math
import time
from pathlib import Path
from threading import Event
from typing import Any

from ray.rllib.algorithms.algorithm import Algorithm
from ray.rllib.utils.annotations import override

from serl_ray.data.observations import joined_name
from serl_ray.data.replay.log import ReplayLog, read_shards
from serl_ray.data.replay.mixer import sample_mixed
from serl_ray.data.rewards import ReturnCheck
from serl_ray.data.schema import Segment
from serl_ray.evaluation.rollouts import Episode
from serl_ray.options.sets import options_in
from serl_ray.rllib import checkpoint
from serl_ray.rllib.base import TrainingAlgorithm
from serl_ray.rllib.buffers import add_in_pieces, demo_buffer, online_buffer, trunk_of_maps
from serl_ray.rllib.config import SERLConfig
from serl_ray.rllib.demo_shapes import reference_of_run
from serl_ray.rllib.normalising import fit_normaliser
from serl_ray.rllib.operator_log import OperatorLog
from serl_ray.rllib.operators import HubOfRun, start_hub
from serl_ray.rllib.sampling import Fragment, Sampler
from serl_ray.rllib.success_demos import SuccessDemos
from serl_ray.types import Batch


class SERL(TrainingAlgorithm):
    """SAC, hybrid where grippers are learned, on half demonstrations and half online experience (RLPD, arXiv
    2302.02948).

    `train()` runs `steps_per_iteration` env steps and returns every metric of `metrics.METRICS`. Without remote rollout
    workers the env steps in this process, and the learner makes exactly `utd_ratio` steps an env step; remote workers
    sample while it learns, at most `max_lead` env steps ahead.
    """

    steps_metric = "env/steps"
    hub: HubOfRun | None = None
    """Hub of the run's operators; None without operators."""

    @classmethod
    @override(Algorithm)
    def get_default_config(cls) -> SERLConfig:
        return SERLConfig()

    @override(TrainingAlgorithm)
    def setup(self, config: SERLConfig) -> None:
        reference = reference_of_run(options_in(config), config.shared_demos is not None)
        config.env_config["watch"]["reference"] = reference
        super().setup(config)

    def _prepare(self) -> None:
        """The replay buffers and their logs, the workers' requests, and the policy to start from."""
        space, action_dim = self.policy.observation_space, self.policy.layout.action_dim
        replay_dir = Path(self.config.replay_dir or Path(self.logdir) / checkpoint.REPLAY_DIR)
        described = trunk_of_maps(self.options), joined_name(self.options.env.state_keys), self.agent.action_scale
        self.logs = {name: ReplayLog(replay_dir / name, *described) for name in ("online", "demos")}
        self.online = online_buffer(self.options, space, action_dim)
        shared, promised = self.config.shared_demos, self.online.nbytes
        self.returns = ReturnCheck(self.options.return_bound())
        self.demos = demo_buffer(self.options, space, action_dim, self.logs["demos"], shared, promised)
        self.demonstrations = len(self.demos)
        self.buffers = {"online": self.online, "demos": self.demos}
        self.operators, self.successes = OperatorLog(), SuccessDemos()
        self.sampler = Sampler(self.env_runner_group, self.faults, self.options.may_wait)
        self._prepares_ahead = self.sampler.is_remote
        if self.options.schedule.init_from:
            checkpoint.start_from(self.agent, Path(self.options.schedule.init_from))
        else:
            fit_normaliser(self.agent, self.demos.sample, self.config.seed)

    @override(TrainingAlgorithm)
    def load_state(self, state: checkpoint.RunState) -> None:
        super().load_state(state)
        self.returns = ReturnCheck(self.options.return_bound())

    @override(TrainingAlgorithm)
    def _start_operators(self, config: SERLConfig) -> None:
        if settings := config.env_config["operators"]:
            self.hub = start_hub(settings["hub"], options_in(config).operator, options_in(config).reward.positives_dir)

    @override(TrainingAlgorithm)
    def stop_at(self, interrupted: Event) -> None:
        super().stop_at(interrupted)
        self.sampler.interrupt_by(interrupted)
        self.evaluator.interrupt_by(interrupted)

    @property
    def steps(self) -> int:
        """Env steps, the unit of a run's length."""
        return self.env_steps

    @override(Algorithm)
    def training_step(self) -> None:
        """Takes what the rollout workers have, sends them on, and makes the learner steps that are due."""
        for fragment in self._fetch(wait=not self.learner_steps_due()):
            self.metrics_log.average({"learner/acting_weights_age": self.learner_steps - fragment.learner_steps})
        due = self.learner_steps_due()
        if not self.options.may_wait or due <= self.options.learning.utd_ratio * self.options.collecting.max_lead:
            self.sampler.request(self.env_steps, self.learner_steps)
        self._learn(min(due, 1) if self.sampler.is_remote else due)

    def wait_for_requests(self, seconds: float = 10.0) -> None:
        """Stores what remote rollout workers have been asked for and bring within some seconds, and asks for no
        more."""
        ends = time.monotonic() + seconds
        if self.hub and self.sampler.is_remote:
            self.hub.interrupt_robots()
        while self.sampler.in_flight and time.monotonic() < ends:
            self._fetch(wait=True)
        if self.hub:
            self.feed.run(self._store, self.sampler.rest(ends - time.monotonic()))

    def _fetch(self, wait: bool) -> list[Fragment]:
        """Stores what rollout workers have brought."""
        fragments = self.sampler.fetch(self.learner_steps, wait)
        for fragment in fragments:
            self.feed.run(self._store, fragment.segments)
            self.results.add_episodes(fragment.episodes)
            if fragment.operators:
                self.operators.add_report(fragment.operators)
        self.sampler.lose_forgotten()
        return fragments

    def learner_steps_due(self) -> int:
        """Learner steps that the env steps so far call for and that have not been made."""
        started = max(self.env_steps - self.options.learning.training_starts, 0)
        return math.floor(self.options.learning.utd_ratio * started) - self.learner_steps

    def _store(self, segments: list[Segment]) -> None:
        for segment in segments:
            self.logs["online"].append(segment)
            self._remember(segment)
        self.log_writer.write_if_due()

    def _remember(self, segment: Segment) -> None:
        """Adds a segment to replays, counters and checks; it is on disk already."""
        add_in_pieces(self.online, segment)
        for intervention in segment.runs(segment.intervened):
            self._demonstrate(intervention)
            self.interventions += len(intervention)
        self.env_steps += len(segment)
        self.returns.add(segment)
        ended = self.episodes.add(segment)
        if self.options.demos.success_demos:
            for success in self.successes.add(segment, ended):
                self._demonstrate(success)
        self.operators.add(segment, ended)
        self._wean(len(segment), ended)

    def _demonstrate(self, segment: Segment) -> None:
        """Counts a segment of the run's experience as a demonstration as well."""
        self.logs["demos"].append(segment)
        add_in_pieces(self.demos, segment)

    def _wean(self, steps: int, episode: Episode | None) -> None:
        """Moves the fade of imitation by env steps since training started, and by an episode that has ended."""
        trained = min(steps, self.env_steps - self.options.learning.training_starts)
        if trained > 0 and self.options.agent.objective != "sac":
            self.fade.step(trained, self.options.learning.warmup_steps)
            if episode is not None and episode.success is not None:
                self.fade.add_episode(episode.success and not episode.interventions)

    def recover(self) -> int:
        """Takes up what a run has stored after the checkpoint that was loaded; returns the env steps that are back."""
        before = self.env_steps
        for log in self.logs.values():
            shards = log.leftovers()
            if log is self.logs["online"]:
                log.shards += shards
                for segment in read_shards(shards, log.state_name):
                    self._remember(segment)
            else:  # what it has is in the experience, too, and has just been found there
                for shard in shards:
                    shard.unlink()
        self.policy.global_timestep = self.env_steps
        return self.env_steps - before

    @override(Algorithm)
    def cleanup(self) -> None:
        super().cleanup()
        if self.hub:
            self.hub.close()

    @override(TrainingAlgorithm)
    def _result(self, rates: dict[str, float], env_steps_before: int) -> dict[str, Any]:
        result = super()._result(rates, env_steps_before)
        if self.hub:
            self.hub.tell(self.run_name, result)
        return result

    def imitation_share(self) -> float:
        """Share of imitation in the actor's loss: from 1 when training starts to 0, as `Fade` lets it."""
        if self.options.agent.objective == "sac":
            return 0.0
        return self.fade.share(self.options.learning.warmup_steps)

    def _sample_batch(self) -> Batch:
        return sample_mixed(
            self.online, self.demos, self.options.learning.batch_size, self.options.demos.demo_fraction, self.rng
        )

    def _counts(self) -> dict[str, float]:
        learning_steps = max(self.env_steps - self.options.learning.training_starts, 0)
        return {
            **self.episodes.metrics(),
            **self.operators.metrics(),
            "learner/utd_ratio": self.learner_steps / learning_steps if learning_steps else math.nan,
            "buffer/online_size": float(len(self.online)),
            "buffer/demo_size": float(len(self.demos)),
            "buffer/interventions": float(self.interventions),
        }


SERLConfig.algorithm_class = SERL  # an algorithm names its config, and its config the algorithm
