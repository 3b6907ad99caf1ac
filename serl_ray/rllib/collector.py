"""Collector of a rollout worker: its policy acts in its envs, and the executed actions become segments."""

from __future__ import annotations

import uuid
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import gymnasium
import numpy as np
from ray.rllib.evaluation.rollout_worker import RolloutWorker

from serl_ray.data.episodes import EnvFault, EpisodeRecorder, StepResult
from serl_ray.data.observations import Observation, stack_observations
from serl_ray.data.replay.maps import FrameEncoder
from serl_ray.data.schema import Segment
from serl_ray.rllib.failures import Fault, WorkerError
from serl_ray.teleop.held import HeldBack, HeldEpisodes
from serl_ray.teleop.wrapper import VERDICT, Interrupted


class CountedEnv(gymnasium.Wrapper):
    """An env that counts its steps and resets, whoever calls for them.

    Attributes:
        calls: how many there were.
    """

    def __init__(self, env: gymnasium.Env) -> None:
        super().__init__(env)
        self.calls = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Begins an episode."""
        self.calls += 1
        return self.env.reset(seed=seed, options=options)

    def step(self, action: np.ndarray) -> StepResult:
        """Executes the action (A + G,)."""
        self.calls += 1
        return self.env.step(action)


class Collector:
    """Steps the envs of a rollout worker. Their images are one batch of the trunk, whose maps are acted on and stored,
    and their actions are chosen at once.

    RLlib's own sampler builds batches of what a policy was told to do; here the replay gets what was executed.
    """

    def __init__(self, worker: RolloutWorker) -> None:
        self._policy = worker.get_policy()
        self._name = f"worker-{worker.worker_index}"
        options = self._policy.options
        encoding = options.encoding()
        steps = self._policy.global_timestep
        # A worker that joins a run on its way has other episodes than its predecessor had.
        seed = 1000 * (steps + worker.worker_index)
        self._encoder = FrameEncoder(**encoding, seed=self._policy.agent.seed + seed) if encoding else None
        self._envs: list[CountedEnv] = worker.async_env.get_sub_environments()
        self._newest: list[deque[Observation]] = [deque(maxlen=options.env.frame_stack) for _ in self._envs]
        self._episodes: dict[int, EpisodeRecorder] = {}
        self._held = [HeldEpisodes(env) for env in self._envs]
        for index, held in enumerate(self._held):
            held.value_by(partial(self._values, index))
        self._calls = [0] * len(self._envs)
        self._in_a_row = [0] * len(self._envs)
        self._faults: list[Fault] = []
        self._seeds = [seed + index if steps else None for index in range(len(self._envs))]

    def collect(self, steps: int) -> tuple[list[Segment], list[Fault]]:
        """The next `steps` steps of every env, a segment an episode; where the operator intervened, with the operator's
        actions. Where an operator is attached, an episode comes as a whole, a while after its end.

        Where an env is at fault, what is in hand of its episode is dropped, and it begins another.

        Raises:
            EnvFault: an env has had `max_faults` in a row, with no whole episode between them.
            WorkerError: somebody else has stepped or reset an env amid an episode.
        """
        segments: list[Segment] = []
        with suppress(Interrupted):
            for _ in range(steps):
                self._step_all()
                segments += [segment for held in self._held for segment in held.settled()]
        cuts = [self._held[index].cut(episode) for index, episode in self._episodes.items()]
        segments += [segment for segment in cuts if segment is not None]
        faults, self._faults = self._faults, []
        return segments, faults

    def rest(self) -> list[Segment]:
        """All that is still held back for operators, at the end of the run, with what they have said of it."""
        for index in [index for index in self._episodes if self._held[index].ends_running()]:
            self._end(index)
        segments = [segment for held in self._held for segment in held.all()]
        return [*segments, *(episode.cut() for episode in self._episodes.values() if len(episode))]

    def held_back(self) -> HeldBack:
        """All that a loss of this worker would take along, at the moment."""
        ended = [steps for held in self._held for steps in held.lengths]
        lengths = [steps for steps in [*ended, *map(len, self._episodes.values())] if steps]
        return HeldBack(len(lengths), sum(lengths))

    def _step_all(self) -> None:
        """A step of every env, each of which is first reset where it has no episode."""
        for index in range(len(self._envs)):
            if index not in self._episodes:
                self._begin(index)
        actions = self._policy.act(self._stacked())
        stepped: dict[int, StepResult] = {}
        try:
            for index, action in enumerate(actions):
                if (result := self._step(index, action)) is not None:
                    stepped[index] = result
        finally:  # where one env waits in vain for an operator, the others have executed their steps
            ended = self._add(actions, stepped)
        for index in ended:
            self._begin(index)

    def _add(self, actions: np.ndarray, stepped: dict[int, StepResult]) -> list[int]:
        """Adds executed steps to the episodes, and returns the envs whose episodes ended with them."""
        encoded = self._encode([observation for observation, *_ in stepped.values()])
        ended = []
        for (index, result), observation in zip(stepped.items(), encoded, strict=True):
            self._newest[index].append(observation)
            if self._episodes[index].add(actions[index], (observation, *result[1:])):
                self._end(index)
                ended.append(index)
        return ended

    def _step(self, index: int, action: np.ndarray) -> StepResult | None:
        """The env's step; None after a fault, or where an operator ended the episode: the env has been reset."""
        env = self._envs[index]
        if env.calls != self._calls[index]:
            raise WorkerError(
                f"Somebody else has stepped or reset the env of {self._name} ({env.calls - self._calls[index]} times) "
                "between two steps of the run, so its next transition would be one that never happened. Go on from a "
                "checkpoint, and leave this env to train(): evaluate() plays in another."
            )
        self._calls[index] += 1
        try:
            result = env.step(action)
        except EnvFault as fault:
            self._drop(index, fault, self._episodes.pop(index))
            self._begin(index)
            return None
        if VERDICT in result[-1]:
            self._end(index)
            self._begin(index)
            return None
        return result

    def _drop(self, index: int, fault: EnvFault, episode: EpisodeRecorder | None) -> None:
        """Notes a fault, in the step that follows an episode's others or, without an episode, in a reset."""
        self._in_a_row[index] += 1
        if self._in_a_row[index] > self._policy.options.collecting.max_faults:
            raise fault
        steps, interventions = (len(episode) + 1, episode.interventions) if episode is not None else (0, 0)
        self._faults.append(Fault.of(fault, steps, interventions))

    def _end(self, index: int) -> None:
        """An episode has ended as a whole; the env has none until it is reset, for which it may have to wait."""
        self._held[index].end(self._episodes.pop(index))
        self._in_a_row[index] = 0

    def _begin(self, index: int) -> None:
        """Resets the env, with the seed that its first episode may have."""
        first = None
        while first is None:
            try:
                first, _ = self._envs[index].reset(seed=self._seeds[index])
            except EnvFault as fault:
                self._drop(index, fault, None)
        self._seeds[index] = None
        self._calls[index] = self._envs[index].calls
        [observation] = self._encode([first])
        self._newest[index].extend([observation] * self._newest[index].maxlen)
        self._episodes[index] = EpisodeRecorder(f"{self._name}-{uuid.uuid4().hex}", observation)

    def _encode(self, observations: Sequence[Observation]) -> list[Observation]:
        """Observations of some envs, with maps in place of images where the replay holds maps."""
        if self._encoder is None or not observations:
            return list(observations)
        encoded = self._encoder(stack_observations(observations))
        return [{key: rows[index] for key, rows in encoded.items()} for index in range(len(observations))]

    def _stacked(self) -> Observation:
        """The newest observations of all envs: (B, ...), or with a frame stack (B, T, ...)."""
        return stack_observations([self._newest_of(index) for index in range(len(self._envs))])

    def _newest_of(self, index: int) -> Observation:
        """The newest observation of an env, or its frame stack."""
        newest = self._newest[index]
        return stack_observations(newest) if len(newest) > 1 else newest[0]

    def _values(self, index: int, executed: np.ndarray) -> dict[str, float]:
        """The critics' values of an action (A + G,) that an env has just executed."""
        return self._policy.agent.step_values(self._newest_of(index), executed)
