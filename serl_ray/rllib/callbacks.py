"""RLlib's callbacks: the hooks that are called, with what they are given, and those that are refused."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np
from ray.rllib.callbacks.callbacks import RLlibCallback
from ray.rllib.evaluation.episode_v2 import EpisodeV2
from ray.rllib.evaluation.metrics import RolloutMetrics
from ray.rllib.policy.sample_batch import SampleBatch

from serl_ray.data.episodes import StepResult
from serl_ray.data.observations import Observation
from serl_ray.data.schema import Segment
from serl_ray.rllib.refusals import Refusal, RefusedError
from serl_ray.teleop.terminal_resets import waiting
from serl_ray.teleop.wrapper import VERDICT

if TYPE_CHECKING:
    from ray.rllib.evaluation.rollout_worker import RolloutWorker

EpisodeMetrics = Any
"""An episode that has ended, as RLlib's `RolloutMetrics`, which is not a type."""
AGENT = "agent0"
"""RLlib's name of the only agent."""
NO_LOGGER = Refusal(
    "metrics_logger belongs to RLlib's new API stack. Write into episode.custom_metrics in the hooks of an episode, "
    "and into the result in on_train_result."
)
REFUSED_HOOKS = {
    "on_environment_created": "Define on_sub_environment_created.",
    "on_postprocess_trajectory": "Transitions are stored as they were executed. Define on_sample_end to read them.",
    "on_create_policy": "A run has one policy: define on_algorithm_init.",
    "on_env_runners_recreated": "Lost workers are counted in the result, as faults/workers_lost.",
    "on_workers_recreated": "Lost workers are counted in the result, as faults/workers_lost.",
    "on_offline_eval_runners_recreated": "There are no offline evaluation runners.",
    "on_evaluate_offline_start": "Define on_evaluate_start: held-out episodes are judged in every evaluation.",
    "on_evaluate_offline_end": "Define on_evaluate_end: held-out episodes are judged in every evaluation.",
}
"""Hooks that are never called, and what to define in their place."""


def check_callbacks(given: Any) -> None:
    """Raises RefusedError for callbacks that are not a class of RLlib's, or with a hook that would never be called."""
    cls = given.func if isinstance(given, functools.partial) else given
    if not (isinstance(cls, type) and issubclass(cls, RLlibCallback)):
        raise RefusedError(f"callbacks_class is {given!r:.200}, and is refused. Give one subclass of RLlibCallback.")
    for name, text in REFUSED_HOOKS.items():
        if getattr(cls, name) is not getattr(RLlibCallback, name):
            raise RefusedError(f"{cls.__name__} defines {name}, which is never called here. {text}")


class PlayedEpisode(EpisodeV2):
    """An episode as RLlib's hooks get it, with what it began with or its last step brought.

    Attributes:
        last_observation: the policy's part of the observation.
        last_action: executed action (A + G,), the operator's where they intervened; None after the reset.
        last_reward: reward of the last step; 0 after the reset.
    """

    def __init__(self, worker: RolloutWorker, env_id: int) -> None:
        super().__init__(env_id, worker.policy_map, worker.policy_mapping_fn, worker=worker, callbacks=worker.callbacks)
        self.agent_index(AGENT)
        self.last_observation: Observation = {}
        self.last_action: np.ndarray | None = None
        self.last_reward = 0.0
        self._ends = False, False

    def begin(self, observation: Observation, info: dict[str, Any]) -> None:
        """The result of the reset."""
        self.step()
        self.last_observation = observation
        self.set_last_info(AGENT, info)

    def add(self, action: np.ndarray, result: StepResult) -> bool:
        """Adds a step, and returns whether it was the last one; where an operator ended the episode there was none."""
        if VERDICT in result[-1]:
            self._ends = False, True
            return True
        self.step()
        self.last_observation, reward, terminated, truncated, info = result
        intervention = info.get("intervene_action")
        self.last_action, self.last_reward = action if intervention is None else intervention, float(reward)
        self.total_reward += self.last_reward
        self.agent_rewards[AGENT, self.policy_for(AGENT)] += self.last_reward
        self.set_last_info(AGENT, info)
        self._ends = bool(terminated), bool(truncated)
        return terminated or truncated

    def is_terminated(self, agent_id: str = AGENT) -> bool:
        """True if the last step ended the episode other than by a time-out."""
        return self._ends[0]

    def is_truncated(self, agent_id: str = AGENT) -> bool:
        """True if a time-out ended the episode."""
        return self._ends[1]

    def metrics(self) -> EpisodeMetrics:
        """The outcome, with what hooks wrote into it."""
        return RolloutMetrics(
            episode_length=self.length,
            episode_reward=self.total_reward,
            custom_metrics=dict(self.custom_metrics),
            hist_data=dict(self.hist_data),
            media=dict(self.media),
        )


class HookedEnv(gymnasium.Wrapper):
    """An env of a rollout worker; its resets and steps call the hooks of an episode, and its whole episodes are kept
    until taken.

    An episode that is given up, as after a fault of the env, has no end: its hooks are not called any more.
    """

    def __init__(self, env: gymnasium.Env) -> None:
        super().__init__(env)
        self._worker: RolloutWorker | None = None
        self._index = 0
        self._episode: PlayedEpisode | None = None
        self._played: list[EpisodeMetrics] = []
        self._seed: int | None = None

    def join(self, worker: RolloutWorker, index: int) -> None:
        """From now on episodes are those of a worker."""
        self._worker, self._index, self._episode = worker, index, None

    def take_played(self) -> list[EpisodeMetrics]:
        """The episodes that have come to their end since they were last taken."""
        played, self._played = self._played, []
        return played

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Begins an episode.

        RLlib resets an env before it joins a worker, for its seed alone. A robot that waits for persons would do so
        there, before anybody is told where they are awaited: its first episode takes the seed.
        """
        if self._worker is None and waiting(self.env):
            self._seed = seed
            return {}, {}
        if seed is None:
            seed, self._seed = self._seed, None
        self._episode = PlayedEpisode(self._worker, self._index) if self._worker else None
        self._call("on_episode_created")
        observation, info = self.env.reset(seed=seed, options=options)
        if self._episode:
            self._episode.begin(observation, info)
        self._call("on_episode_start")
        return observation, info

    def step(self, action: np.ndarray) -> StepResult:
        """Executes the action (A + G,)."""
        result = self.env.step(action)
        if self._episode:
            is_over = self._episode.add(action, result)
            if VERDICT not in result[-1]:
                self._call("on_episode_step")
            if is_over:
                self._call("on_episode_end")
                self._played.append(self._episode.metrics())
                self._episode = None
        return result

    def _call(self, hook: str) -> None:
        if self._worker and self._episode:
            worker = self._worker
            getattr(worker.callbacks, hook)(
                episode=self._episode,
                worker=worker,
                env_runner=worker,
                base_env=worker.async_env,
                env=self,
                env_index=self._index,
                policies=worker.policy_map,
                rl_module=None,
                metrics_logger=NO_LOGGER,
            )


def tell_sample_end(worker: RolloutWorker, segments: Sequence[Segment]) -> None:
    """Calls `on_sample_end` with the transitions of some segments, to read."""
    if segments and not _is_default(worker.callbacks, "on_sample_end"):
        samples = sample_batch(segments)
        worker.callbacks.on_sample_end(worker=worker, env_runner=worker, samples=samples, metrics_logger=NO_LOGGER)


def sample_batch(segments: Sequence[Segment]) -> SampleBatch:
    """Transitions under RLlib's names, whose arrays cannot be written to: what is stored is what was executed."""
    keys = segments[0].observations
    columns = {
        SampleBatch.OBS: {
            key: np.concatenate([segment.observations[key][:-1] for segment in segments]) for key in keys
        },
        SampleBatch.NEXT_OBS: {
            key: np.concatenate([segment.observations[key][1:] for segment in segments]) for key in keys
        },
        SampleBatch.ACTIONS: np.concatenate([segment.actions for segment in segments]),
        SampleBatch.REWARDS: np.concatenate([segment.rewards for segment in segments]),
        SampleBatch.TERMINATEDS: np.concatenate([segment.dones & ~segment.truncateds for segment in segments]),
        SampleBatch.TRUNCATEDS: np.concatenate([segment.truncateds for segment in segments]),
        SampleBatch.EPS_ID: np.concatenate([np.full(len(segment), segment.episode) for segment in segments]),
        "intervened": np.concatenate([segment.intervened for segment in segments]),
    }
    for column in columns.values():
        for array in column.values() if isinstance(column, dict) else (column,):
            array.flags.writeable = False
    return SampleBatch(columns)


def _is_default(callbacks: RLlibCallback, hook: str) -> bool:
    return getattr(type(callbacks), hook) is getattr(RLlibCallback, hook)
