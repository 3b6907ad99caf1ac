"""Hybrid training: rollout workers act, demonstrations and experience are mixed, the agent learns."""

from __future__ import annotations

import logging
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
from ray.rllib.algorithms.algorithm import Algorithm
from ray.rllib.utils.annotations import override

from serl_ray.agents.acceleration import keep_freed_memory
from serl_ray.data.observations import joined_name
from serl_ray.data.replay.log import LogWriter, ReplayLog, read_shards
from serl_ray.data.replay.mixer import sample_mixed
from serl_ray.data.replay.ring import ReplayBuffer
from serl_ray.data.schema import Segment
from serl_ray.rllib import checkpoint
from serl_ray.rllib.buffers import add_in_pieces, demo_buffer, online_buffer, trunk_of_maps
from serl_ray.rllib.config import SERLConfig
from serl_ray.rllib.evaluator import Evaluator
from serl_ray.rllib.failures import FaultLog, LearnerError, WorkerError
from serl_ray.rllib.feed import BatchFeed
from serl_ray.rllib.gauges import Gauges
from serl_ray.rllib.metrics import EpisodeLog, MetricsLog
from serl_ray.rllib.policy import SERLPolicy
from serl_ray.rllib.sampling import RETRY_SECONDS, Sampler, say_what_waits
from serl_ray.rllib.saving import SavedAlgorithm
from serl_ray.settings import settings_of
from serl_ray.types import Batch

logger = logging.getLogger(__name__)

EVALUATION_ATTEMPTS = 60
"""Before a run is without its last evaluation."""


class SERL(SavedAlgorithm):
    """SAC, hybrid where grippers are learned, on half demonstrations and half online experience (RLPD, arXiv 2302.02948).

    `train()` runs `steps_per_iteration` env steps and returns every metric of `metrics.METRICS`. Without remote rollout workers
    the env steps in this process, and the learner makes exactly `utd_ratio` steps an env step; remote workers sample while it
    learns, at most `max_lead` env steps ahead.
    """

    @classmethod
    @override(Algorithm)
    def get_default_config(cls) -> SERLConfig:
        return SERLConfig()

    @classmethod
    @override(Algorithm)
    def get_default_policy_class(cls, config: SERLConfig) -> type[SERLPolicy]:
        return SERLPolicy

    @override(Algorithm)
    def setup(self, config: SERLConfig) -> None:
        keep_freed_memory()
        say_what_waits(config)
        try:
            super().setup(config)
        except IndexError as error:  # RLlib asks the first of no workers for its spaces
            raise WorkerError("No rollout worker has started; the messages above say why.") from error
        self.settings = settings_of(self.config)
        self.policy: SERLPolicy = self.get_policy()
        self.agent = self.policy.agent
        self.rng = np.random.default_rng(self.config.seed)
        self.env_steps = self.learner_steps = self.interventions = self.demonstrations = 0
        self.should_stop = False
        self.faults, self.episodes = FaultLog(), EpisodeLog()
        self._prepare()
        self.log_writer = LogWriter(self.logs.values())
        self.feed = BatchFeed(self._sample_batch, self.agent.device, self._reads_batches)
        workers, episodes, films = self.eval_env_runner_group, self.settings.evaluation_episodes, self.config.films
        self.evaluator = Evaluator(workers, episodes, self.faults, films, lambda: self.should_stop)
        self.metrics_log = MetricsLog()
        replay_dir = self.config.replay_dir
        self.gauges = Gauges(run=Path(replay_dir).parent.name if replay_dir else Path(self.logdir).name)

    def _prepare(self) -> None:
        """The replay buffers and their logs, the workers' requests, and the policy to start from."""
        space, action_dim = self.policy.observation_space, self.policy.layout.action_dim
        replay_dir = Path(self.config.replay_dir or Path(self.logdir) / checkpoint.REPLAY_DIR)
        described = {"trunk": trunk_of_maps(self.settings), "state_name": joined_name(self.settings.state_keys)}
        self.logs = {name: ReplayLog(replay_dir / name, **described) for name in ("online", "demos")}
        self.online = online_buffer(self.settings, space, action_dim)
        shared, promised = self.config.shared_demos, self.online.nbytes
        self.demos = demo_buffer(self.settings, space, action_dim, self.logs["demos"], shared, promised)
        self.demonstrations = len(self.demos)
        self.sampler = Sampler(self.env_runner_group, self.faults, self.settings.may_wait)
        self._prepares_ahead, self._reads_batches = self.sampler.is_remote, False
        if self.settings.init_from:
            checkpoint.start_from(self.agent, Path(self.settings.init_from))

    @property
    def steps(self) -> int:
        """What the length of a run is counted in."""
        return self.env_steps

    @property
    def buffers(self) -> dict[str, ReplayBuffer]:
        """By name, as the logs."""
        return {"online": self.online, "demos": self.demos}

    @override(Algorithm)
    def step(self) -> dict[str, Any]:
        started, env_steps, learner_steps, steps = time.monotonic(), self.env_steps, self.learner_steps, self.steps
        goal = min(steps + self.settings.steps_per_iteration, max(self.settings.max_steps, steps + 1))
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
        return self._result(rates)

    def _evaluate(self) -> None:
        self.evaluator.start(self.policy.get_weights(), self.steps)

    @override(Algorithm)
    def training_step(self) -> None:
        """Takes what the rollout workers have, sends them on, and makes the learner steps that are due."""
        for fragment in self.sampler.fetch(self.learner_steps, wait=not self.learner_steps_due()):
            self.feed.run(self._store, fragment.segments)
            self.metrics_log.average({"learner/acting_weights_age": self.learner_steps - fragment.learner_steps})
        due = self.learner_steps_due()
        if not self.settings.may_wait or due <= self.settings.utd_ratio * self.settings.max_lead:
            self.sampler.request(self.env_steps, self.learner_steps)
        self._learn(min(due, 1) if self.sampler.is_remote else due)

    def wait_for_requests(self, seconds: float = 10.0) -> None:
        """Stores what remote rollout workers have been asked for and bring within some seconds, and asks for no more."""
        ends = time.monotonic() + seconds
        while self.sampler.in_flight and time.monotonic() < ends:
            for fragment in self.sampler.fetch(self.learner_steps, wait=True):
                self.feed.run(self._store, fragment.segments)

    def learner_steps_due(self) -> int:
        """Learner steps that the env steps so far call for and that have not been made."""
        started = max(self.env_steps - self.settings.training_starts, 0)
        return math.floor(self.settings.utd_ratio * started) - self.learner_steps

    def evaluate_now(self) -> dict[str, float]:
        """Waits for the evaluation of the policy as it is, and returns its metrics."""
        self.metrics_log.set(self.evaluator.wait())
        for _ in range(EVALUATION_ATTEMPTS):
            self._evaluate()
            outcome = self.evaluator.wait()
            if outcome or self.should_stop or self.eval_env_runner_group is None:
                self.metrics_log.set(outcome)
                return self._result({})
            time.sleep(RETRY_SECONDS)
        raise WorkerError("The evaluation has failed again and again; the messages above say why. The run itself is saved.")

    def _store(self, segments: list[Segment]) -> None:
        for segment in segments:
            self.logs["online"].append(segment)
            self._remember(segment)
        self.log_writer.write_if_due()

    def _remember(self, segment: Segment) -> None:
        """Everything that comes of an experience, but its own place on disk."""
        add_in_pieces(self.online, segment)
        for intervention in segment.runs(segment.intervened):
            self.logs["demos"].append(intervention)
            add_in_pieces(self.demos, intervention)
            self.interventions += len(intervention)
        self.episodes.add(segment)
        self.env_steps += len(segment)

    def recover(self) -> int:
        """Takes up what a run has stored after the checkpoint that was loaded; returns the env steps that are back."""
        before = self.env_steps
        for log in self.logs.values():
            shards = log.leftovers()
            if log is self.logs["online"]:
                log.shards += shards
                for segment in read_shards(shards, log.state_name):
                    self._remember(segment)
            else:  # its interventions are in the experience, too, and have just been found there
                for shard in shards:
                    shard.unlink()
        self.policy.global_timestep = self.env_steps
        return self.env_steps - before

    def _learn(self, learner_steps: int) -> None:
        """Each is `cta_ratio - 1` updates of the critics and then a full one, on batches of their own (REFERENCE section 4)."""
        cta_ratio = self.settings.cta_ratio
        self.agent.imitation_share = self.imitation_share()
        updates = learner_steps * cta_ratio
        for update in range(1, updates + 1):
            is_full = update % cta_ratio == 0
            is_last = update == updates or (is_full and self.should_stop)
            batch = self.feed.next(prepare_another=not is_last or self._prepares_ahead)
            metrics = self.policy.learn_on_batch(batch, critics_only=not is_full)
            if bad := [name for name, value in metrics.items() if not math.isfinite(value)]:
                raise self._diverged(", ".join(bad))
            if is_full:
                self.metrics_log.average(metrics)
                self.learner_steps += 1
            if is_last:
                return

    def _diverged(self, what: str) -> LearnerError:
        return LearnerError(
            f"{what} is no finite number after {self.learner_steps} learner steps. The run ends here; its last checkpoint is "
            "from before. Go on from it with a smaller --lr, or look for odd values in the data."
        )

    def imitation_share(self) -> float:
        """How much of the actor's loss is imitation: all of it when training starts, none once `warmup_steps` are over."""
        if self.settings.objective == "sac":
            return 0.0
        trained = max(self.env_steps - self.settings.training_starts, 0)
        return max(1.0 - trained / self.settings.warmup_steps, 0.0)

    def _sample_batch(self) -> Batch:
        return sample_mixed(self.online, self.demos, self.settings.batch_size, self.settings.demo_fraction, self.rng)

    def _evaluation_is_due(self, steps_before: int) -> bool:
        every = self.settings.evaluate_every
        return bool(every) and self.steps // every > steps_before // every

    def _result(self, rates: dict[str, float]) -> dict[str, Any]:
        if finished := self.evaluator.finished():
            self.metrics_log.set(finished)
        counts = {"env/steps": float(self.env_steps), "learner/steps": float(self.learner_steps)}
        counts |= {name: float(count) for name, count in self.faults.counts.items()}
        self.metrics_log.set({**rates, **counts, **self._counts(), "actor/imitation_share": self.imitation_share()})
        result = self.metrics_log.result()
        self.gauges.set(result)
        return {**result, "timesteps_total": self.steps}

    def _counts(self) -> dict[str, float]:
        learning_steps = max(self.env_steps - self.settings.training_starts, 0)
        return {
            **self.episodes.metrics(),
            "learner/utd_ratio": self.learner_steps / learning_steps if learning_steps else math.nan,
            "buffer/online_size": float(len(self.online)),
            "buffer/demo_size": float(len(self.demos)),
            "buffer/interventions": float(self.interventions),
        }

    @override(Algorithm)
    def save_checkpoint(self, checkpoint_dir: str) -> None:
        self.feed.run(checkpoint.save, self, checkpoint_dir)

    @override(Algorithm)
    def load_checkpoint(self, checkpoint_dir: str) -> None:
        self.feed.run(checkpoint.load, self, checkpoint_dir)

    @override(Algorithm)
    def cleanup(self) -> None:
        self.feed.close()
        self.log_writer.close()
        super().cleanup()
