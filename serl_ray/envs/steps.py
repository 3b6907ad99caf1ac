"""Checks of all that an env returns from a reset and a step, and the copy of it that a run owns.

A run asks this of every step, at the border to the env (`border.Border`), and `check-env` asks the same.
"""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import gymnasium
import numpy as np
from gymnasium.spaces import Box

from serl_ray.data.episodes import EnvFault, FaultKind, StepResult
from serl_ray.data.observations import Observation, image_fix
from serl_ray.data.schema import ACTION_TOLERANCE, EXECUTED, NO_PERSON, SENT
from serl_ray.envs.peers import NUMBER, SOURCE, ambiguities, is_flag, is_true, understood, unread

Spaces = Mapping[str, gymnasium.Space]
Keys = Collection[str] | None
"""Observations that are used; None for all."""


class Finding(NamedTuple):
    """Something that an env should not return.

    Attributes:
        about: part of the result that it is about.
        text: what came, and how to fix it.
        kind: kind of the fault; None for a deviation that `owned` puts right.
    """

    about: str
    text: str
    kind: FaultKind | None


def check_step(action: np.ndarray, result: Any, spaces: Spaces | None = None, keys: Keys = None) -> list[Finding]:
    """The deviations of a step that a run survives.

    Args:
        action: action (A + G,) that was given to the env.
        result: whatever `env.step` returned.
        spaces: spaces of the observations by key; None to compare with none.
        keys: observations that are used; None for all.

    Raises:
        EnvFault: a fault that would spoil the experience.
    """
    return _survivable(step_findings(np.shape(action), result, spaces or {}, keys))


def check_reset(result: Any, spaces: Spaces, keys: Keys = None) -> list[Finding]:
    """The deviations of a reset that a run survives; see `check_step`."""
    return _survivable(reset_findings(result, spaces, keys))


def check_signature(env: gymnasium.Env) -> None:
    """Raises EnvFault for a reset that does not take a seed and options."""
    signature = inspect.signature(env.reset)
    missing = []
    for name in ("seed", "options"):
        try:
            signature.bind(**{name: None})
        except TypeError:
            missing.append(name)
    if missing:
        text = f"reset() takes no {' and no '.join(missing)}: declare reset(self, *, seed=None, options=None)."
        raise EnvFault("wrong_result", text)


def _survivable(findings: Iterable[Finding]) -> list[Finding]:
    kept = []
    for finding in findings:
        if finding.kind:
            raise EnvFault(finding.kind, finding.text)
        kept.append(finding)
    return kept


def reset_findings(result: Any, spaces: Spaces, keys: Keys = None) -> Iterator[Finding]:
    """The findings about what `env.reset` returned."""
    if not (isinstance(result, tuple) and len(result) == 2 and isinstance(result[1], dict)):
        text = f"reset() returns a {type(result).__name__}, not (observation, info) with info a dict: return these two."
        yield Finding("reset", text, "wrong_result")
        return
    yield from observation_findings(result[0], spaces, keys)


def step_findings(action_shape: tuple[int, ...], result: Any, spaces: Spaces, keys: Keys = None) -> Iterator[Finding]:
    """The findings about what `env.step` returned."""
    if not (isinstance(result, tuple) and len(result) == 5):
        what = (
            f"a tuple of {len(result)} (4 is the old gym API)"
            if isinstance(result, tuple)
            else f"a {type(result).__name__}"
        )
        text = f"step() returns {what}: return observation, reward, terminated, truncated, info."
        yield Finding("step", text, "wrong_result")
        return
    observation, reward, terminated, truncated, info = understood(result)
    yield from observation_findings(observation, spaces, keys)
    if not is_number(reward):
        text = f"The reward is {_shown(reward)}: return one finite number."
        yield Finding("reward", text, _kind_of_number(reward))
    for name, flag in (("terminated", terminated), ("truncated", truncated)):
        if not isinstance(flag, bool | np.bool_):
            is_clear = is_flag(flag) and flag in (0, 1)
            yield Finding(name, f"`{name}` is {_shown(flag)}: return a bool.", None if is_clear else "wrong_result")
    if not isinstance(info, dict):
        yield Finding("info", f"info is a {type(info).__name__}: return a dict, {{}} if it is empty.", "wrong_result")
        return
    is_end = is_true(terminated) or is_true(truncated)
    yield from (Finding(EXECUTED, text, "wrong_action") for text in ambiguities(result[4]))
    yield from (Finding(name, text, None) for name, text in unread(result[4], is_end))
    yield from _info_findings(info, action_shape)


def observation_findings(observation: Any, spaces: Spaces, keys: Keys = None) -> Iterator[Finding]:
    """The findings about an observation, compared with its spaces, if there are any."""
    if not isinstance(observation, Mapping):
        text = f"An observation is not a dict but a {type(observation).__name__}: return a dict of arrays."
        yield Finding("observation", text, "wrong_shape")
        return
    if spaces and observation.keys() != spaces.keys():
        found, expected = (", ".join(sorted(map(str, names))) or "none" for names in (observation, spaces))
        is_missing = not observation.keys() >= set(spaces if keys is None else keys)
        text = f"An observation has the keys {found}, its space {expected}: make them the same."
        yield Finding("keys", text, "wrong_shape" if is_missing else None)
    for key, value in observation.items():
        space = spaces.get(key)
        if keys is None or key in keys:
            for text, kind in _value_faults(value, space if isinstance(space, Box) else None):
                is_left_out = spaces and key not in spaces
                yield Finding(key, f"Observation `{key}` {text}", None if is_left_out else kind)


def array_fault(shape: tuple[int, ...], dtype: np.dtype) -> str | None:
    """The fault of an observation's shape or dtype; None for a valid one."""
    if len(shape) == 1:
        return None if dtype == np.float32 else f"is a {dtype} vector: make it float32 (.astype(np.float32))."
    if len(shape) in (2, 4) and shape[0] == 1:
        return (
            f"has shape {shape}, with a first axis of length 1: leave it out, array[0]. For envs with HIL-SERL's "
            "ChunkingWrapper there is serl_ray.envs.hil_serl.HilSerlEnv."
        )
    if not (fix := image_fix(shape, dtype)):
        return None
    if len(shape) == 3 and shape[-1] == 3:
        return f"is a {dtype} image. {fix}"
    return f"has shape {shape}, not (H, W, 3) or (D,). {fix}"


def nested_fault(keys: Iterable[str]) -> str:
    """The fault of a dict of observations in place of one."""
    return (
        f"is a dict of {', '.join(sorted(map(str, keys)))}: flatten it. Each camera gets a key of its own at the top "
        "level, and the numbers of the robot are joined into one `state` (np.concatenate)."
    )


def is_number(value: Any) -> bool:
    """True for one finite number."""
    array = _as_array(value)
    return array.ndim == 0 and array.dtype.kind in "fiub" and bool(np.isfinite(array))


def owned_observation(observation: Observation, spaces: Spaces) -> dict[str, np.ndarray]:
    """A copy of an observation without faults, with float32 vectors, of the keys that have a space; all if there are
    none."""
    arrays = {key: _as_array(value) for key, value in observation.items() if key in spaces or not spaces}
    return {key: np.array(array, np.float32 if array.ndim == 1 else None) for key, array in arrays.items()}


def owned(result: tuple[Any, ...], spaces: Spaces) -> StepResult:
    """A copy of an understood result without faults, because some envs use their arrays again."""
    observation, reward, terminated, truncated, info = result
    info = info | {name: np.array(info[name], np.float32) for name in (EXECUTED, SENT) if name in info}
    return owned_observation(observation, spaces), float(reward), bool(terminated), bool(truncated), info


def _value_faults(value: Any, space: Box | None) -> Iterator[tuple[str, FaultKind | None]]:
    """The first fault of an observed value, alone and compared with its space."""
    if isinstance(value, Mapping):
        yield nested_fault(value), "wrong_shape"
        return
    array = _as_array(value)
    is_vector = array.ndim == 1 and array.dtype.kind in "biuf"
    if not isinstance(value, np.ndarray):
        yield f"is a {type(value).__name__}: return a numpy array.", None if is_vector else "wrong_shape"
    elif fault := array_fault(array.shape, array.dtype):
        yield fault, None if is_vector else "wrong_shape"
    elif space is not None and (array.shape != space.shape or array.dtype != space.dtype):
        text = f"is {array.dtype} {array.shape}, its space {space.dtype} {space.shape}: make them the same."
        yield text, "wrong_shape" if array.shape != space.shape else None
    if is_vector:
        yield from _vector_faults(array, space)


def _vector_faults(array: np.ndarray, space: Box | None) -> Iterator[tuple[str, FaultKind | None]]:
    if not np.isfinite(array.astype(np.float32)).all():
        yield "holds NaN or infinity: fix it, or end the episode.", "not_finite"
    elif space is not None and array.shape != space.shape:
        yield f"has shape {array.shape}, its space {space.shape}: make them the same.", "wrong_shape"
    elif space is not None and not (np.all(array >= space.low) and np.all(array <= space.high)):
        limits = f"{space.low.min():g} to {space.high.max():g}"
        yield (
            f"leaves its space: its values range from {array.min():g} to {array.max():g}, the space from {limits}.",
            None,
        )


def _info_findings(info: dict[str, Any], action_shape: tuple[int, ...]) -> Iterator[Finding]:
    penalty = info.get("grasp_penalty", 0.0)
    if not is_number(penalty) or penalty > 0.0:
        text = (
            f"info['grasp_penalty'] is {_shown(penalty)}: return one finite number, 0 or less, which is added to the "
            "reward."
        )
        yield Finding("grasp_penalty", text, _kind_of_number(penalty))
    if "success" in info and not is_flag(info["success"]):
        yield Finding("success", f"info['success'] is {_shown(info['success'])}: return a bool.", "wrong_result")
    if EXECUTED in info:
        yield from _intervention_findings(info)
        yield from _action_findings(info, EXECUTED, "an intervention", action_shape)
    if SENT in info:
        yield from _action_findings(info, SENT, "another action than the given one", action_shape)


def _intervention_findings(info: dict[str, Any]) -> Iterator[Finding]:
    """The findings about the person who acted in a step."""
    source, number = info.get(SOURCE), info.get(NUMBER)
    if source is not None and not (isinstance(source, str) and source.isprintable() and source not in ("", *NO_PERSON)):
        text = (
            f"info['{SOURCE}'] is {_shown(source)}: return the name of the source of the person's action, a printable "
            f"string other than {' and '.join(NO_PERSON)}, or leave the key out."
        )
        yield Finding(SOURCE, text, "wrong_result")
    if number is not None and (not isinstance(number, int | np.integer) or isinstance(number, bool)):
        text = f"info['{NUMBER}'] is {_shown(number)}: return the number of the intervention, or leave the key out."
        yield Finding(NUMBER, text, "wrong_result")


def _action_findings(info: dict[str, Any], name: str, reason: str, action_shape: tuple[int, ...]) -> Iterator[Finding]:
    """The findings about an action that an env reports, and leaves out of steps without the reason for it."""
    action = _as_array(info[name])
    is_valid = (
        action.shape == action_shape and action.dtype.kind in "biuf" and (np.abs(action) <= 1 + ACTION_TOLERANCE).all()
    )
    if not is_valid or action.dtype != np.float32:
        text = (
            f"info['{name}'] is {_one_line(str(action))} ({action.dtype} {action.shape}). Report the whole "
            f"executed action, float32 {action_shape} in [-1, 1] (clipped if the env clips it), and leave the key out "
            f"of steps without {reason}."
        )
        yield Finding(name, text, None if is_valid else "wrong_action")


def _kind_of_number(value: Any) -> FaultKind:
    """The kind of fault of a wrong number: NaN and infinity come from a sensor, anything else from the env's code."""
    array = _as_array(value)
    is_infinite = array.ndim == 0 and array.dtype.kind == "f" and not np.isfinite(array)
    return "not_finite" if is_infinite else "wrong_result"


def _as_array(value: Any) -> np.ndarray:
    try:
        return np.asarray(value)
    except (ValueError, TypeError, RuntimeError):  # rows of several lengths, a tensor on a GPU or with a gradient
        return np.empty((), object)


def _shown(value: Any) -> str:
    return _one_line(repr(value))


def _one_line(text: str) -> str:
    """The text on one line, shortened."""
    text = " ".join(text.split())
    return text if len(text) <= 150 else f"{text[:150]}..."
