"""Env wrappers: selected observations, control rate, recorded episodes, expert interventions and gripper penalties."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np

from serl_ray.data.episodes import EpisodeRecorder, StepResult
from serl_ray.data.formats.parquet import write_episode
from serl_ray.data.observations import STATE, Observation, Selection, check_selection, default_state_keys
from serl_ray.data.schema import EXECUTED, SENT, Segment
from serl_ray.envs.expert import ScriptedExpert
from serl_ray.envs.peers import SOURCE, understood
from serl_ray.envs.steps import array_fault
from serl_ray.teleop.held import HeldEpisodes
from serl_ray.teleop.wrapper import VERDICT
from serl_ray.types import GRASP_PENALTY, ActionLayout, ActionScale

logger = logging.getLogger(__name__)

EXPERT = "expert"
"""Source of the actions of a scripted expert."""
GRIPPER_THRESHOLD = 0.5
"""Smallest absolute value of a gripper command: negative closes, positive opens; smaller values hold."""


class SelectObservations(gymnasium.ObservationWrapper):
    """Wrapper that gives the agent's observation: chosen cameras, and `state`, the chosen vectors joined (float32).

    Args:
        env: env with a flat Dict observation space.
        image_keys: cameras in the order of the encoder.
        state_keys: vectors in order; None for `default_state_keys`.

    Attributes:
        unselected: newest observation of the env, with all keys.
    """

    def __init__(
        self, env: gymnasium.Env, image_keys: Sequence[str] = (), state_keys: Sequence[str] | None = None
    ) -> None:
        super().__init__(env)
        spaces = _flat_spaces(env.observation_space)
        self.image_keys = tuple(image_keys)
        self.state_keys = default_state_keys(spaces, image_keys) if state_keys is None else tuple(state_keys)
        check_selection(spaces, self.image_keys, self.state_keys)
        _check_ranks(spaces, self.image_keys, 3, "an image (H, W, 3): list vectors in state_keys")
        for key in self.image_keys:
            if fault := array_fault(spaces[key].shape, np.dtype(spaces[key].dtype)):
                raise ValueError(f"Observation {key!r} {fault}")
        _check_ranks(spaces, self.state_keys, 1, "a vector (D,): list cameras in image_keys")
        selected: dict[str, gymnasium.Space] = {key: spaces[key] for key in self.image_keys}
        if self.state_keys:
            low = np.concatenate([spaces[key].low for key in self.state_keys], dtype=np.float32)
            high = np.concatenate([spaces[key].high for key in self.state_keys], dtype=np.float32)
            selected[STATE] = gymnasium.spaces.Box(low, high)
        self.observation_space = gymnasium.spaces.Dict(selected)
        self._selection = Selection(self.image_keys, self.state_keys)
        self.unselected: Observation = {}

    def observation(self, observation: Observation) -> Observation:
        """The agent's part of the env's observation."""
        self.unselected = observation
        return self._selection(observation)


def stack_frames(env: gymnasium.Env, frame_stack: int) -> gymnasium.Env:
    """The env with stacks (T, ...) of observations, oldest first; a reset repeats the first one."""
    return env if frame_stack == 1 else gymnasium.wrappers.FrameStackObservation(env, frame_stack, padding_type="reset")


def _flat_spaces(space: gymnasium.Space) -> dict[str, gymnasium.spaces.Box]:
    if not isinstance(space, gymnasium.spaces.Dict):
        raise ValueError(
            f"The observation space is {type(space).__name__}, not a Dict of arrays: see docs/env_contract.md."
        )
    if nested := [key for key, part in space.items() if not isinstance(part, gymnasium.spaces.Box)]:
        raise ValueError(
            f"The observation space must be a flat Dict of Boxes, but {', '.join(nested)} is not a Box: give each "
            "camera and each vector its own key at the top level. For details run serl check-env."
        )
    return {key: part for key, part in space.items() if isinstance(part, gymnasium.spaces.Box)}


def _check_ranks(spaces: dict[str, gymnasium.spaces.Box], keys: Sequence[str], rank: int, what: str) -> None:
    for key in keys:
        if len(spaces[key].shape) != rank:
            raise ValueError(f"Observation {key!r} has shape {spaces[key].shape}; it must be {what}.")


class ControlRate(gymnasium.Wrapper):
    """Wrapper that keeps a control rate with its own clock: each step waits for its tick.

    After a missed tick the next one is a whole period later.

    Args:
        env: env whose steps take less than a period.
        control_hz: steps per second.
    """

    def __init__(self, env: gymnasium.Env, control_hz: float) -> None:
        super().__init__(env)
        self.control_hz = control_hz
        self._next_tick = 0.0

    def wait_for_tick(self) -> None:
        """Waits for the next tick, so that who chooses an action late can have it executed at once."""
        time.sleep(max(self._next_tick - time.monotonic(), 0.0))

    def step(self, action: np.ndarray) -> StepResult:
        """Executes the action (A + G,) at the next tick."""
        now = time.monotonic()
        time.sleep(max(self._next_tick - now, 0.0))
        self._next_tick = max(self._next_tick, now) + 1.0 / self.control_hz
        return self.env.step(action)


class RecordEpisodes(gymnasium.Wrapper):
    """Wrapper that writes every finished episode to a Parquet file, with all keys, executed actions and their actors.

    Args:
        env: env inside a `SelectObservations`.
        folder: folder for the files.
        name: first part of the names of the episodes.
        scale: scale of the actions in the demonstrations of the run, to be stored; None if they have none.
    """

    def __init__(self, env: gymnasium.Env, folder: str, name: str, scale: ActionScale | None = None) -> None:
        super().__init__(env)
        self._folder, self._name, self._scale = folder, name, scale
        self._episode: EpisodeRecorder | None = None
        self._held = HeldEpisodes(env)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Starts an episode; an unfinished one is not written."""
        observation, info = self.env.reset(seed=seed, options=options)
        self._episode = EpisodeRecorder(f"{self._name}-{time.time_ns()}", self._unselected())
        return observation, info

    def step(self, action: np.ndarray) -> StepResult:
        """Executes the action (A + G,), and writes the episode at its end."""
        if self._episode is None:
            raise RuntimeError("Reset the env before its first step.")
        observation, reward, terminated, truncated, info = self.env.step(action)
        if VERDICT in info or self._episode.add(action, (self._unselected(), reward, terminated, truncated, info)):
            self._held.end(self._episode)
        self._write(self._held.settled())
        return observation, reward, terminated, truncated, info

    def close(self) -> None:
        """Writes the episodes that operators might still have labelled, and closes the env."""
        self._write(self._held.all())
        super().close()

    def _write(self, episodes: list[Segment]) -> None:
        for episode in episodes:
            try:
                write_episode(self._folder, episode, self._scale)
            except OSError as error:
                logger.warning(
                    "An episode was not written to %s: %s. Free some space; the run continues.", self._folder, error
                )

    def _unselected(self) -> Observation:
        arrays = {key: np.array(value) for key, value in self.env.get_wrapper_attr("unselected").items()}
        return {key: array for key, array in arrays.items() if array.dtype.kind in "biuf"}


class ExpertIntervention(gymnasium.Wrapper):
    """Wrapper in which the env's scripted expert takes over at random for some steps, in the operator's place.

    Interventions are a two-state Markov chain. At a step without an intervention, one starts with `probability` p; it
    continues with 1 - 1 / m, where m is `mean_length`. So lengths are geometric, and the expert has about p m / (1 + p
    m) of all steps. Its action is executed instead of the policy's and reported as `info["intervene_action"]`, with the
    source `EXPERT`.

    Args:
        env: env whose `unwrapped` has `expert_action()`.
        layout: layout of the env's action.
        noise: standard deviation of the expert's Gaussian noise on the continuous dimensions, as a share of full scale.
        probability: probability at each step that an intervention starts, in [0, 1].
        mean_length: mean length of an intervention in steps, at least 1.
        seed: seed of the noise and the interventions, which an env's `reset(seed=...)` does not change.
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

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Starts an episode without an intervention."""
        self._intervening = False
        return self.env.reset(seed=seed, options=options)

    def step(self, action: np.ndarray) -> StepResult:
        """Executes the action (A + G,), or the expert's."""
        self._intervening = self._rng.random() < (
            1.0 - 1.0 / self.mean_length if self._intervening else self.probability
        )
        executed = self.expert.act() if self._intervening else action
        observation, reward, terminated, truncated, info = self.env.step(executed)
        if self._intervening and EXECUTED not in info:  # an action of the operator inside the env replaces the expert's
            info = {**info, EXECUTED: executed, SOURCE: EXPERT}
        return observation, reward, terminated, truncated, info


class GripperPenalty(gymnasium.Wrapper):
    """Wrapper that sets `info["grasp_penalty"]`, for envs with learned grippers that do not report it.

    A command is useless if it repeats the last command of the same gripper. The first command of an episode is free,
    because the wrapper knows the state of a gripper only by its commands.

    Args:
        env: env to wrap.
        layout: layout of its action, with at least one gripper.
        penalty: penalty of one useless command, 0 or less; penalties of several grippers add up.
    """

    def __init__(self, env: gymnasium.Env, layout: ActionLayout, penalty: float = GRASP_PENALTY) -> None:
        if penalty > 0.0:
            raise ValueError(
                f"The grasp penalty is {penalty}; it must be 0 or less, because it is added to the reward."
            )
        if not layout.num_grippers:
            raise ValueError(
                "A grasp penalty needs a learned gripper: choose a setup_mode that ends in learned-gripper."
            )
        super().__init__(env)
        self.penalty = penalty
        self._grippers = list(layout.gripper_indices)
        self._last_commands = np.zeros(layout.num_grippers)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Starts an episode with unknown states of the grippers."""
        self._last_commands[:] = 0.0
        return self.env.reset(seed=seed, options=options)

    def step(self, action: np.ndarray) -> StepResult:
        """Executes the action (A + G,) and computes the penalty of the executed one."""
        given = np.array(action)  # some envs scale their action in place
        observation, reward, terminated, truncated, info = understood(self.env.step(action))
        executed = np.asarray(info.get(SENT, info.get(EXECUTED, given)))[self._grippers]
        commands = np.sign(executed) * (np.abs(executed) >= GRIPPER_THRESHOLD)  # (G,)
        useless = (commands != 0.0) & (commands == self._last_commands)
        self._last_commands = np.where(commands != 0.0, commands, self._last_commands)
        info = {**info, "grasp_penalty": self.penalty * float(useless.sum())}
        return observation, reward, terminated, truncated, info
