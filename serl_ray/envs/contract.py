"""Checks of the env contract (docs/env_contract.md) by random steps."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box

from serl_ray.data.observations import GREY_OR_DEPTH, STATE, image_remedy, squeezed_cameras
from serl_ray.envs.probe import BrokenAPI, Recording
from serl_ray.networks.config import EncoderConfig
from serl_ray.types import ActionLayout

LARGEST_VECTOR_VALUE = 10.0
"""Largest value of a vector without a warning, because vectors enter the network unscaled."""


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


def inspect_env(env: gymnasium.Env, setup_mode: str, steps: int = 50, seed: int = 0) -> CheckReport:
    """Takes random steps in an env, with resets, and reports its faults.

    Args:
        env: env with all of its observations, from `build_env`.
        setup_mode: one of `types.SETUP_MODES`.
        steps: number of random actions to execute; make sure that they are safe on a robot.
        seed: seed of the actions and the first reset.
    """
    spaces = env.observation_space
    problems = [*_observation_space_problems(spaces), *action_space_problems(env.action_space, setup_mode)]
    recording = Recording()
    if isinstance(env.action_space, Box) and len(env.action_space.shape) == 1:  # else there is no action to try
        try:
            recording.record(env, _random_actions(env.action_space.shape[0], setup_mode, steps, seed), seed)
        except BrokenAPI as problem:
            problems.append(str(problem))
        problems += _observation_problems(recording, dict(spaces.items()) if isinstance(spaces, gymnasium.spaces.Dict) else {})
        problems += [*_outcome_problems(recording), *_info_problems(recording, env.action_space.shape)]
    warnings = [*_observation_warnings(recording), *_outcome_warnings(recording, setup_mode)]
    return CheckReport(list(dict.fromkeys(problems)), warnings, list(_facts(recording)))


def _random_actions(action_dim: int, setup_mode: str, steps: int, seed: int) -> np.ndarray:
    try:
        layout = ActionLayout.from_setup(setup_mode, action_dim)
    except ValueError:  # reported with the action space
        layout = ActionLayout(tuple(range(action_dim)))
    return layout.random(np.random.default_rng(seed), steps)


def _observation_space_problems(space: gymnasium.Space) -> Iterator[str]:
    if not isinstance(space, gymnasium.spaces.Dict):
        yield f"The observation space is {type(space).__name__}: make it a Dict of cameras and the vector `state`."
        return
    for key, part in space.items():
        if isinstance(part, gymnasium.spaces.Dict):
            yield f"Observation `{key}` {_nested_fault(part)}"
        elif not isinstance(part, Box):
            yield f"Observation `{key}` is {type(part).__name__}: make it a Box, for a number float32 of shape (1,)."
        elif fault := array_fault(part.shape, np.dtype(part.dtype)):
            yield f"Observation `{key}` {fault}"


def action_space_problems(space: gymnasium.Space, setup_mode: str) -> Iterator[str]:
    """Problems of an action space for a set-up."""
    if not isinstance(space, Box) or len(space.shape) != 1:
        yield f"The action space is {space}: make it Box(-1, 1, (n,), float32)."
        return
    if space.dtype != np.float32:
        yield f"The action space is {space.dtype}: make it float32."
    if not (np.all(space.low == -1.0) and np.all(space.high == 1.0)):
        limits = f"{space.low.min():g} to {space.high.max():g}"
        yield f"The action space ranges from {limits}: make it -1 to 1, and scale to metres and radians inside the env."
    try:
        ActionLayout.from_setup(setup_mode, space.shape[0])
    except ValueError as error:
        yield str(error)


def _nested_fault(keys: Iterable[str]) -> str:
    return (
        f"is a dict of {', '.join(sorted(keys))}: flatten it. Each camera gets a key of its own at the top level, "
        "and the numbers of the robot are joined into one `state` (np.concatenate)."
    )


def array_fault(shape: tuple[int, ...], dtype: np.dtype) -> str | None:
    """The fault of an observation's shape or dtype; None for a valid one."""
    if len(shape) == 1:
        return None if dtype == np.float32 else f"is a {dtype} vector: make it float32 (.astype(np.float32))."
    if len(shape) not in (3, 4):
        grey = f"; {GREY_OR_DEPTH}" if len(shape) == 2 else ""
        return f"has shape {shape}: give an image (H, W, 3) or a vector (D,); a single number is a vector of length 1{grey}."
    if (remedy := image_remedy(shape, dtype)) is None:
        return None
    if len(shape) == 4:
        return f"has shape {shape}: {remedy}."
    return f"has shape {shape}, not (H, W, 3): {remedy}." if shape[-1] != 3 else f"is a {dtype} image: {remedy}."


def _value_fault(value: Any, space: Box | None) -> str | None:
    """The fault of an observed value, alone and compared with its space; None for a valid one."""
    if isinstance(value, dict):
        return _nested_fault(value)
    if not isinstance(value, np.ndarray):
        return f"is a {type(value).__name__}: return a numpy array."
    if fault := array_fault(value.shape, value.dtype):
        return fault
    if not np.all(np.isfinite(value)):
        return "holds NaN or infinity."
    if space is None:
        return None
    if value.shape != space.shape or value.dtype != space.dtype:
        return f"is {value.dtype} {value.shape}, its space {space.dtype} {space.shape}: make them the same."
    if not space.contains(value):
        limits = f"{space.low.min():g} to {space.high.max():g}"
        return f"leaves its space: its values range from {value.min():g} to {value.max():g}, the space from {limits}."
    return None


def _observation_problems(recording: Recording, spaces: dict[str, gymnasium.Space]) -> Iterator[str]:
    dicts = recording.dicts()
    if len(dicts) < len(recording.copies):
        yield "An observation is not a dict: return a dict of arrays."
    if spaces and (odd := next((observation for observation in dicts if observation.keys() != spaces.keys()), None)) is not None:
        found, expected = ", ".join(sorted(odd)), ", ".join(sorted(spaces))
        yield f"An observation has the keys {found}, its space {expected}: make them the same."
    for key, values in recording.by_key().items():
        space = spaces.get(key)
        faults = (_value_fault(value, space if isinstance(space, Box) else None) for value in values)
        if fault := next(filter(None, faults), None):
            yield f"Observation `{key}` {fault}"
    for returned, kept in zip(recording.observations, recording.copies, strict=True):
        arrays = {key: value for key, value in kept.items() if isinstance(value, np.ndarray)} if isinstance(kept, dict) else {}
        altered = [key for key, value in arrays.items() if not _same(returned.get(key), value)]
        yield from (f"The env changes the array `{key}` that it returned before: return a copy." for key in altered)
    yield from (
        f"Camera `{key}` is always black: check that it is switched on, its lens is uncovered and the scene is lit."
        for key, images in _sound_arrays(recording).items()
        if images.dtype == np.uint8 and not images.any()
    )


def _sound_arrays(recording: Recording) -> dict[str, np.ndarray]:
    """The observations of all steps stacked by key, for keys without a fault."""
    sound = {key: values for key, values in recording.by_key().items() if not any(_value_fault(value, None) for value in values)}
    return {key: np.stack(values) for key, values in sound.items() if len({value.shape for value in values}) == 1}


def _is_number(value: Any) -> bool:
    array = np.asarray(value)
    return array.ndim == 0 and array.dtype.kind in "fiub" and bool(np.isfinite(array))


def _same(first: Any, second: np.ndarray) -> bool:
    return np.array_equal(first, second, equal_nan=second.dtype.kind == "f")


def _outcome_problems(recording: Recording) -> Iterator[str]:
    if odd := [reward for reward in recording.rewards if not _is_number(reward)]:
        yield f"The reward is {odd[0]!r}: return one finite number, 0 or 1."
    for name, flags in (("terminated", recording.terminations), ("truncated", recording.truncations)):
        if odd := [flag for flag in flags if not isinstance(flag, bool | np.bool_)]:
            yield f"`{name}` is {odd[0]!r}: return a bool."
    steps = len(recording.rewards)
    if steps > 1 and len(recording.episode_lengths()) == steps:
        yield "Every step ends an episode: set terminated for success and failure, truncated for the time limit."


def _info_problems(recording: Recording, action_shape: tuple[int, ...]) -> Iterator[str]:
    if odd := [info for info in recording.infos if not isinstance(info, dict)]:
        yield f"info is a {type(odd[0]).__name__}: return a dict."
    infos = [info for info in recording.infos if isinstance(info, dict)]
    penalties = [info["grasp_penalty"] for info in infos if "grasp_penalty" in info]
    if odd := [penalty for penalty in penalties if not _is_number(penalty) or penalty > 0.0]:
        yield f"info['grasp_penalty'] is {odd[0]!r}: give one number, 0 or less, which is added to the reward."
    actions = [np.asarray(info["intervene_action"]) for info in infos if "intervene_action" in info]
    if odd := [action for action in actions if not _is_action(action, action_shape)]:
        yield (
            f"info['intervene_action'] is {odd[0]} ({odd[0].dtype} {odd[0].shape}): give the whole executed action, "
            f"float32 {action_shape} in [-1, 1], and leave the key out of steps without an intervention."
        )


def _is_action(value: np.ndarray, shape: tuple[int, ...]) -> bool:
    return value.shape == shape and value.dtype == np.float32 and bool(np.all(np.abs(value) <= 1.0))


def _observation_warnings(recording: Recording) -> Iterator[str]:
    arrays = _sound_arrays(recording)
    if arrays and STATE not in arrays:
        yield "There is no valid `state`: name the vectors of the agent's state with state_keys."
    for key, values in arrays.items():
        if values.dtype == np.uint8 and values.any() and np.all(values == values[0]):
            yield f"Camera `{key}` always shows the same image: check that it sees the scene and that its driver runs."
        if values.dtype == np.float32 and np.abs(values).max(initial=0.0) > LARGEST_VECTOR_VALUE:
            yield f"`{key}` reaches {np.abs(values).max():.3g}: scale it to about 1, as the network does not scale it."


def _outcome_warnings(recording: Recording, setup_mode: str) -> Iterator[str]:
    rewards = [float(reward) for reward in recording.rewards if _is_number(reward)]
    if dense := [reward for reward in rewards if reward not in (0.0, 1.0)]:
        yield (
            f"There are rewards other than 0 and 1, from {min(dense):g} to {max(dense):g}: training runs, but an "
            "episode counts as a success if its rewards add up to 0.5 or more, and Q has no known bound."
        )
    infos = [info for info in recording.infos if isinstance(info, dict)]
    if setup_mode.endswith("learned-gripper") and any("grasp_penalty" not in info for info in infos):
        yield "info lacks `grasp_penalty`, so the gripper may chatter: wrap the env in wrappers.GripperPenalty."
    lengths = recording.episode_lengths()
    if 1 < len(lengths) < len(rewards) and len(set(lengths)) == 1 and not any(recording.truncations) and not any(rewards):
        yield f"Every episode terminates after {lengths[0]} steps: report time limits as truncated, so they bootstrap."


def _facts(recording: Recording) -> Iterator[str]:
    steps = len(recording.rewards)
    if not steps:
        return
    yield f"{steps / recording.seconds:.0f} Hz ({1000 * recording.seconds / steps:.1f} ms per step)."
    shapes = {key: arrays.shape for key, arrays in _sound_arrays(recording).items() if arrays.dtype == np.uint8}
    if squeezed := squeezed_cameras(shapes, EncoderConfig().image_size):
        yield squeezed
    lengths = recording.episode_lengths()
    ended = f"after {min(lengths)} to {max(lengths)} steps each" if lengths else "so make sure that there is a time limit"
    yield f"{len(lengths)} episode(s) ended in {steps} steps, {ended}."
