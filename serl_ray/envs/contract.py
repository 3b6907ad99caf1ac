"""Checks of the env contract (docs/env_contract.md) by random steps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box

from serl_ray.data.episodes import EnvFault
from serl_ray.data.observations import STATE, check_selection, default_state_keys, squeezed_cameras
from serl_ray.data.rewards import DEFAULT_BOUND, SUCCESS_RULE, ReturnBound, RewardError
from serl_ray.envs.border import spaces_of
from serl_ray.envs.optional_methods import live_problems, twist_problems, uncallable_methods
from serl_ray.envs.probe import Recording, record
from serl_ray.envs.remarks import check_remarks, episode_problems, episode_remarks
from serl_ray.envs.steps import array_fault, check_signature, is_number, nested_fault
from serl_ray.networks.config import EncoderConfig
from serl_ray.types import ActionLayout


@dataclass
class CheckReport:
    """Findings of `inspect_env`.

    Attributes:
        problems: faults that break training.
        warnings: faults that training survives, with their effects.
        facts: measurements.
    """

    problems: list[str]
    warnings: list[str]
    facts: list[str]

    def __str__(self) -> str:
        lines = [f"problem: {text}" for text in self.problems]
        lines += [f"warning: {text}" for text in self.warnings]
        lines += [f"measured: {text}" for text in self.facts]
        count = f"{len(self.problems)} problem(s): the contract is in docs/env_contract.md."
        return "\n".join([*lines, count if self.problems else "The env keeps the contract."])


def check_env(env: gymnasium.Env, setup_mode: str, steps: int = 50) -> list[str]:
    """The problems found by `inspect_env`; empty if the env keeps the contract."""
    return inspect_env(env, setup_mode, steps).problems


def inspect_env(
    env: gymnasium.Env,
    setup_mode: str,
    steps: int = 50,
    seed: int = 0,
    image_keys: Sequence[str] | None = None,
    state_keys: Sequence[str] | None = None,
    bound: ReturnBound = DEFAULT_BOUND,
) -> CheckReport:
    """Takes random steps in an env, with resets, as a run does, and reports its faults.

    An env whose action space or `reset` is wrong is neither reset nor moved.

    Args:
        env: env with all of its observations, from `build_env`.
        setup_mode: one of `types.SETUP_MODES`.
        steps: number of random actions to execute; make sure that they are safe on a robot.
        seed: seed of the actions, and of a reset at each end.
        image_keys: cameras that the policy will see; None to check all observations.
        state_keys: vectors joined to the policy's state; None for `default_state_keys`.
        bound: bound that rewards must not contradict; without one they are dense.
    """
    keys = _used_keys(env, image_keys, state_keys)
    problems, warnings = _space_findings(env.observation_space, keys)
    problems += _selection_problems(env, image_keys, state_keys)
    if forbidden := [*action_space_problems(env.action_space, setup_mode), *_signature_problems(env)]:
        return CheckReport([*problems, *forbidden], warnings, ["Nothing: the env was neither reset nor moved."])
    shape: Any = env.action_space.shape
    layout = ActionLayout.from_setup(setup_mode, shape[0])
    recording = record(env, keys, layout.random(np.random.default_rng(seed), steps), seed)
    problems += [*recording.problems(), *_altered_arrays(recording), *episode_problems(recording)]
    problems += [*filter(None, [recording.failure]), *reward_contradictions(recording, bound)]
    if recording.failure is None:
        problems += [*twist_problems(env, layout, setup_mode), *live_problems(env)]
    warnings += [*_missing_state(recording, [STATE] if state_keys is None else state_keys)]
    warnings += [*_unusual_rewards(recording, bound), *check_remarks(recording, layout), *uncallable_methods(env)]
    warnings += episode_remarks(recording, layout, is_dense=bound.max_return is None)
    return CheckReport(list(dict.fromkeys(problems)), warnings, [_reading(layout), *_facts(recording)])


def _space_findings(space: gymnasium.Space, keys: set[str] | None) -> tuple[list[str], list[str]]:
    """Problems of an observation space, and warnings of those parts that nothing uses."""
    faults = list(_space_faults(space))
    unused = [(key, text) for key, text in faults if key and keys is not None and key not in keys]
    problems = [text for key, text in faults if (key, text) not in unused]
    return problems, [f"{text} Nothing uses it." for _, text in unused]


def _used_keys(
    env: gymnasium.Env, image_keys: Sequence[str] | None, state_keys: Sequence[str] | None
) -> set[str] | None:
    if image_keys is None:
        return None
    vectors = default_state_keys(spaces_of(env), image_keys) if state_keys is None else state_keys
    return {*image_keys, *vectors}


def _selection_problems(
    env: gymnasium.Env, image_keys: Sequence[str] | None, state_keys: Sequence[str] | None
) -> Iterator[str]:
    """The problems of the choice of observations."""
    spaces = spaces_of(env)
    if (image_keys is None and state_keys is None) or not spaces:
        return
    image_keys = image_keys or ()
    try:
        check_selection(
            spaces, image_keys, default_state_keys(spaces, image_keys) if state_keys is None else state_keys
        )
    except ValueError as error:
        yield str(error)
    yield from (
        f"`{key}` is among the image_keys, and it is no image but has shape {spaces[key].shape}: name it in state_keys."
        for key in image_keys
        if key in spaces and len(spaces[key].shape or ()) == 1
    )


def _signature_problems(env: gymnasium.Env) -> Iterator[str]:
    try:
        check_signature(env)
    except EnvFault as fault:
        yield str(fault)


def _space_faults(space: gymnasium.Space) -> Iterator[tuple[str | None, str]]:
    """The faults of an observation space, with the key that they are about."""
    if not isinstance(space, gymnasium.spaces.Dict):
        yield (
            None,
            f"The observation space is {type(space).__name__}: make it a Dict of cameras and the vector `state`.",
        )
        return
    for key, part in space.items():
        if isinstance(part, gymnasium.spaces.Dict):
            yield key, f"Observation `{key}` {nested_fault(part)}"
        elif not isinstance(part, Box):
            yield (
                key,
                f"Observation `{key}` is {type(part).__name__}: make it a Box, for a number float32 of shape (1,).",
            )
        elif fault := array_fault(part.shape, np.dtype(part.dtype)):
            yield key, f"Observation `{key}` {fault}"


def action_space_problems(space: gymnasium.Space, setup_mode: str) -> Iterator[str]:
    """Problems of an action space for a set-up."""
    if not isinstance(space, Box) or len(space.shape) != 1:
        yield f"The action space is {space}: make it Box(-1, 1, (n,), float32)."
        return
    if space.dtype != np.float32:
        yield f"The action space is {space.dtype}: make it float32."
    try:
        grippers = ActionLayout.from_setup(setup_mode, space.shape[0]).gripper_indices
    except ValueError as error:
        yield str(error)
        grippers = ()
    yield from _limit_problems(space, grippers)


def _limit_problems(space: Box, grippers: Sequence[int]) -> Iterator[str]:
    """A problem for each pair of limits that is not -1 to 1, with its dimensions."""
    limits = list(zip(space.low.tolist(), space.high.tolist(), strict=True))
    scale = "make it -1 to 1, and scale to metres and radians inside the env."
    if len(set(limits)) == 1:
        low, high = limits[0]
        if (low, high) != (-1.0, 1.0):
            yield f"The action space ranges from {low:g} to {high:g}: {scale}"
        return
    arm = [index for index in range(len(limits)) if index not in grippers]
    for low, high in dict.fromkeys(limits[index] for index in arm if limits[index] != (-1.0, 1.0)):
        numbers = ", ".join(str(index) for index in arm if limits[index] == (low, high))
        yield f"The action space ranges from {low:g} to {high:g} in dimension {numbers}: {scale}"
    for index in grippers:
        low, high = limits[index]
        if (low, high) != (-1.0, 1.0):
            text = f"The action space ranges from {low:g} to {high:g} in dimension {index}, a gripper"
            yield f"{text}: make it -1 (close) to 1 (open), with 0 for hold."


def _altered_arrays(recording: Recording) -> Iterator[str]:
    for returned, kept in zip(recording.observations, recording.copies, strict=True):
        arrays = (
            {key: value for key, value in kept.items() if isinstance(value, np.ndarray)}
            if isinstance(kept, dict)
            else {}
        )
        altered = [key for key, value in arrays.items() if not _same(returned.get(key), value)]
        yield from (f"The env changes the array `{key}` that it returned before: return a copy." for key in altered)


def _same(first: Any, second: np.ndarray) -> bool:
    return np.array_equal(first, second, equal_nan=second.dtype.kind == "f")


def _missing_state(recording: Recording, state_keys: Sequence[str]) -> Iterator[str]:
    vectors = recording.vectors()
    if (vectors or recording.images()) and not vectors.keys() & set(state_keys):
        yield "There is no valid `state`: name the vectors of the agent's state with state_keys."


def reward_contradictions(recording: Recording, bound: ReturnBound) -> Iterator[str]:
    """The first contradiction between the rewards and the bound of the values, if there is one."""
    if not all(map(is_number, recording.rewards)):
        return
    ends = np.cumsum(recording.episode_lengths())
    try:
        for number, rewards in enumerate(np.split(np.array(recording.rewards, np.float64), ends)):
            if len(rewards):
                bound.check(rewards, number < len(ends), f"Episode {number}")
    except RewardError as error:
        yield str(error)


def _unusual_rewards(recording: Recording, bound: ReturnBound) -> Iterator[str]:
    rewards = [float(reward) for reward in recording.rewards if is_number(reward)]
    dense = [reward for reward in rewards if reward not in (0.0, 1.0)]
    if dense and bound.max_return is not None:
        yield f"There are rewards other than 0 and 1, from {min(dense):g} to {max(dense):g}. {SUCCESS_RULE}"


def _reading(layout: ActionLayout) -> str:
    """The meaning of the numbers of an action, in words."""
    grippers = ", ".join(f"action[{index}]" for index in layout.gripper_indices)
    learned = f"{grippers} closes or opens a gripper" if grippers else "none commands a learned gripper"
    return f"Of the {layout.action_dim} numbers of an action {learned}."


def _facts(recording: Recording) -> Iterator[str]:
    steps = len(recording.rewards)
    if steps:
        yield (
            f"{1 / max(np.median(recording.step_seconds), 1e-6):.0f} Hz (a step takes "
            f"{_durations(recording.step_seconds)})."
        )
        lengths = recording.episode_lengths()
        ended = (
            f"after {min(lengths)} to {max(lengths)} steps each"
            if lengths
            else "so make sure that there is a time limit"
        )
        yield f"{len(lengths)} episode(s) ended in {steps} steps, {ended}."
    shapes = {key: images[0].shape for key, images in recording.images().items()}
    if squeezed := squeezed_cameras(shapes, EncoderConfig().image_size):
        yield squeezed
    if recording.reset_seconds:
        yield f"A reset takes {_durations(recording.reset_seconds)}."
    if recording.peers_names:
        yield f"Other projects' names in info are understood: {', '.join(sorted(recording.peers_names))}."


def _durations(seconds: Sequence[float]) -> str:
    return f"{1000 * np.median(seconds):.1f} ms in the median of {len(seconds)}, {1000 * max(seconds):.1f} ms at most"
