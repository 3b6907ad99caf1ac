"""Wrappers between env and agent: the agent's view, an expert in the person's place, a price on useless gripper commands."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np

from serl_ray.data.episodes import EnvFault, EpisodeRecorder, StepResult
from serl_ray.data.formats.parquet import write_episode
from serl_ray.data.observations import STATE, check_selection, default_state_keys, select_observations
from serl_ray.envs.contract import array_fault
from serl_ray.envs.expert import ScriptedExpert
from serl_ray.types import ActionLayout

logger = logging.getLogger(__name__)

Observation = dict[str, np.ndarray]

GRIPPER_THRESHOLD = 0.5
"""A gripper number of at least this size is a command (negative: close, positive: open); a smaller one holds."""


class SelectObservations(gymnasium.ObservationWrapper):
    """The agent's observation: the cameras asked for, and `state`, the chosen vectors joined (float32).

    Args:
        env: An env with a flat Dict observation space.
        image_keys: The cameras, in the order in which the encoder joins them.
        state_keys: The vectors, in order; None chooses by `default_state_keys`.

    Attributes:
        unselected: The newest observation as the env returned it.
    """

    def __init__(self, env: gymnasium.Env, image_keys: Sequence[str] = (), state_keys: Sequence[str] | None = None) -> None:
        super().__init__(env)
        spaces = _flat_spaces(env.observation_space)
        self.image_keys = tuple(image_keys)
        self.state_keys = default_state_keys(spaces, image_keys) if state_keys is None else tuple(state_keys)
        check_selection(spaces, self.image_keys, self.state_keys)
        _check_ranks(spaces, self.image_keys, 3, "an image (H, W, 3): list vectors in state_keys")
        for key in self.image_keys:
            if fault := array_fault(spaces[key].shape, spaces[key].dtype):
                raise ValueError(f"Observation {key!r} {fault}")
        _check_ranks(spaces, self.state_keys, 1, "a vector (D,): list cameras in image_keys")
        selected: dict[str, gymnasium.Space] = {key: spaces[key] for key in self.image_keys}
        if self.state_keys:
            low = np.concatenate([spaces[key].low for key in self.state_keys], dtype=np.float32)
            high = np.concatenate([spaces[key].high for key in self.state_keys], dtype=np.float32)
            selected[STATE] = gymnasium.spaces.Box(low, high)
        self.observation_space = gymnasium.spaces.Dict(selected)
        self.unselected: Observation = {}

    def observation(self, observation: Observation) -> Observation:
        """The agent's part of the env's observation."""
        self.unselected = observation
        selected = select_observations(observation, self.image_keys, self.state_keys)
        for key, array in selected.items():
            space = self.observation_space[key]
            if np.shape(array) != space.shape or array.dtype != space.dtype:
                raise EnvFault(
                    "wrong_shape",
                    f"The env returns {key!r} as {array.dtype} {np.shape(array)}, its space is {space.dtype} {space.shape}: "
                    "make them the same. scripts/check_env.py says more.",
                )
        if self.state_keys and not np.isfinite(selected[STATE]).all():
            message = f"The env returns NaN or infinity in {', '.join(self.state_keys)}: mend it, or end the episode."
            raise EnvFault("not_finite", message)
        return selected


def stack_frames(env: gymnasium.Env, frame_stack: int) -> gymnasium.Env:
    """The env with the last `frame_stack` observations (T, ...) in each, the oldest first; the first is repeated at a reset."""
    return env if frame_stack == 1 else gymnasium.wrappers.FrameStackObservation(env, frame_stack, padding_type="reset")


def _flat_spaces(space: gymnasium.Space) -> dict[str, gymnasium.spaces.Box]:
    if not isinstance(space, gymnasium.spaces.Dict):
        raise ValueError(f"The observation space is {type(space).__name__}, not a Dict of arrays: see docs/env_contract.md.")
    if nested := [key for key, part in space.items() if not isinstance(part, gymnasium.spaces.Box)]:
        raise ValueError(
            f"The observation space must be a flat Dict of Boxes, but {', '.join(nested)} is none: give each camera and each "
            "vector a key of its own at the top level. scripts/check_env.py says more."
        )
    return dict(space.items())


def _check_ranks(spaces: dict[str, gymnasium.spaces.Box], keys: Sequence[str], rank: int, what: str) -> None:
    for key in keys:
        if len(spaces[key].shape) != rank:
            raise ValueError(f"Observation {key!r} has shape {spaces[key].shape}, which is not {what}.")


class ControlRate(gymnasium.Wrapper):
    """Holds a rate by a clock of its own: a step waits for its tick, however long choosing the action has taken.

    A tick that is missed is not made up for: the next one is a period later.

    Args:
        env: An env whose steps return sooner than a period.
        control_hz: Steps a second.
    """

    def __init__(self, env: gymnasium.Env, control_hz: float) -> None:
        super().__init__(env)
        self.control_hz = control_hz
        self._next_tick = 0.0

    def step(self, action: np.ndarray) -> StepResult:
        """Executes the action (A + G,) at the next tick."""
        now = time.monotonic()
        time.sleep(max(self._next_tick - now, 0.0))
        self._next_tick = max(self._next_tick, now) + 1.0 / self.control_hz
        return self.env.step(action)


class RecordEpisodes(gymnasium.Wrapper):
    """Writes every finished episode to a Parquet file: all that the env lets be seen, also what the agent does not look at, and
    what was executed.

    Args:
        env: An env with `SelectObservations` around it.
        folder: Where to; workers may share it.
        name: Of this worker, the beginning of its files' names.
    """

    def __init__(self, env: gymnasium.Env, folder: str, name: str) -> None:
        super().__init__(env)
        self._folder, self._name = folder, name
        self._episode: EpisodeRecorder | None = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Observation, dict[str, Any]]:
        """Begins an episode; one that has not ended is not written."""
        observation, info = self.env.reset(seed=seed, options=options)
        self._episode = EpisodeRecorder(f"{self._name}-{time.time_ns()}", self._seen())
        return observation, info

    def step(self, action: np.ndarray) -> StepResult:
        """Executes the action (A + G,), and writes the episode where it ends."""
        result = self.env.step(action)
        if self._episode.add(action, (self._seen(), *result[1:])):
            try:
                write_episode(self._folder, self._episode.cut())
            except OSError as error:
                logger.warning("An episode could not be written to %s: %s. Make room; the run goes on.", self._folder, error)
        return result

    def _seen(self) -> Observation:
        arrays = {key: np.asarray(value) for key, value in self.env.get_wrapper_attr("unselected").items()}
        return {key: array for key, array in arrays.items() if array.dtype.kind in "biuf"}


class ExpertIntervention(gymnasium.Wrapper):
    """The env's scripted expert as the person beside the robot: it takes over now and then and acts for a while.

    Interventions are a two-state Markov chain: at a step without one the expert takes over with `probability` p, and a running
    one goes on with 1 - 1 / m, m being `mean_length`: lengths are geometric, and the expert has about p m / (1 + p m) of all
    steps. Its action is executed in place of the policy's and reported as `info["intervene_action"]`.

    Args:
        env: An env whose `unwrapped` has `expert_action()`.
        layout: The layout of the env's action.
        noise: The standard deviation of the expert's Gaussian noise on the continuous dimensions, as a share of full scale.
        probability: The chance at each step that an intervention begins, in [0, 1].
        mean_length: The mean length of an intervention in steps, at least 1.
        seed: Seeds the noise and the interventions; an env's `reset(seed=...)` does not touch them.
    """

    def __init__(
        self,
        env: gymnasium.Env,
        layout: ActionLayout,
        noise: float = 0.0,
        probability: float = 0.1,
        mean_length: float = 10.0,
        seed: int = 0,
    ) -> None:
        if not 0.0 <= probability <= 1.0:
            raise ValueError(f"The probability of an intervention is {probability}; it must lie in [0, 1].")
        if mean_length < 1.0:
            raise ValueError(f"The mean length of an intervention is {mean_length} steps; it must be at least 1.")
        super().__init__(env)
        expert_seed, own_seed = np.random.SeedSequence(seed).generate_state(2)
        self.expert = ScriptedExpert(env, layout, noise=noise, seed=int(expert_seed))
        self.probability = probability
        self.mean_length = mean_length
        self._rng = np.random.default_rng(own_seed)
        self._intervening = False

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Observation, dict[str, Any]]:
        """Begins an episode without an intervention."""
        self._intervening = False
        return self.env.reset(seed=seed, options=options)

    def step(self, action: np.ndarray) -> StepResult:
        """Executes the action (A + G,), or the expert's."""
        self._intervening = self._rng.random() < (1.0 - 1.0 / self.mean_length if self._intervening else self.probability)
        if not self._intervening:
            return self.env.step(action)
        expert_action = self.expert.act()
        observation, reward, terminated, truncated, info = self.env.step(expert_action)
        # A person inside the env has the last word: what is reported is what was executed.
        return observation, reward, terminated, truncated, {"intervene_action": expert_action, **info}


class GripperPenalty(gymnasium.Wrapper):
    """Sets `info["grasp_penalty"]`, for an env with learned grippers that does not report one itself.

    A command is useless where the same gripper was last told the same: to close when closed, to open when open. The first command
    of an episode is free, since the wrapper knows the grippers by their commands alone.

    Args:
        env: The env to wrap.
        layout: The layout of its action, with at least one gripper.
        penalty: What one useless command costs (0 or less); the costs of several grippers add up.
    """

    def __init__(self, env: gymnasium.Env, layout: ActionLayout, penalty: float = -0.02) -> None:
        if penalty > 0.0:
            raise ValueError(f"The grasp penalty is {penalty}; it is added to the grasp critic's reward and must be 0 or less.")
        if not layout.num_grippers:
            raise ValueError("A grasp penalty needs a learned gripper: choose a setup_mode that ends in learned-gripper.")
        super().__init__(env)
        self.penalty = penalty
        self._grippers = list(layout.gripper_indices)
        self._last_commands = np.zeros(layout.num_grippers)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Observation, dict[str, Any]]:
        """Begins an episode with every gripper's state unknown."""
        self._last_commands[:] = 0.0
        return self.env.reset(seed=seed, options=options)

    def step(self, action: np.ndarray) -> StepResult:
        """Executes the action (A + G,) and prices what was executed."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        executed = np.asarray(info.get("intervene_action", action))[self._grippers]
        commands = np.sign(executed) * (np.abs(executed) >= GRIPPER_THRESHOLD)  # (G,)
        useless = (commands != 0.0) & (commands == self._last_commands)
        self._last_commands = np.where(commands != 0.0, commands, self._last_commands)
        info = {**info, "grasp_penalty": self.penalty * float(useless.sum())}
        return observation, reward, terminated, truncated, info
