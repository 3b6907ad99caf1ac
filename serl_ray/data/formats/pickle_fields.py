"""The fields of a pickled transition with numbers: its action, reward, flags of the end, and penalty."""

from __future__ import annotations

import re
import reprlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from serl_ray.data.errors import demo_error
from serl_ray.data.schema import EXECUTED

MOST_LISTED = 2**20
"""Limit of numbers in nested lists; a small file can otherwise hold any number, by repeating one list."""
DONES = ("dones", "done", "dones_float", "is_last")
"""Names of the flag of an episode's last transition."""
TERMINATEDS = ("terminateds", "terminated", "terminations", "terminals", "terminal", "is_terminal")
"""Names of the flag of an episode that ended by its task: success or failure."""
TRUNCATEDS = ("truncateds", "truncated", "truncations", "timeouts", "timeout", "TimeLimit.truncated")
"""Names of the flag of an episode that ended by a time-out."""
ENDS = (*DONES, *TERMINATEDS, *TRUNCATEDS)
FROM_INFO = ("grasp_penalty", "TimeLimit.truncated")
"""Fields that may be in a transition's info."""
SUCCESSES = ("success", "succeed", "is_success")
"""Names of a success in the info."""
OTHER_END = re.compile(
    r"(^|[_.])(dones?|terminat\w*|terminals?|truncat\w*|time_?outs?|time_?limit\w*|last|ended|ends?|end_of\w*)$"
)
"""Names of flags that look like one of the end and are none that is understood."""


def array_of(value: Any) -> np.ndarray:
    """A value of a pickle as an array; an empty object array if it is none."""
    size, inner = 1, value
    while isinstance(inner, list | tuple) and inner and size <= MOST_LISTED:
        size, inner = size * len(inner), inner[0]
    try:
        return np.asarray(value) if size <= MOST_LISTED else np.empty((), object)
    except ValueError:  # lists of several lengths
        return np.empty((), object)


def ends_episode(transition: Any) -> bool:
    """True if a transition, which may be any object, is the last of its episode."""
    if not isinstance(transition, dict):
        return False
    fields = with_info(transition)
    flags = [array_of(fields[name]) for name in ENDS if name in fields]
    return any(flag.size == 1 and flag.dtype.kind in "biuf" and bool(flag.item()) for flag in flags)


def with_info(transition: dict[str, Any]) -> dict[str, Any]:
    """A transition with what is understood of its info."""
    info = info_of(transition)
    return {name: info[name] for name in FROM_INFO if name in info} | transition if info else transition


def info_of(transition: dict[Any, Any]) -> dict[Any, Any]:
    """The info of a transition; empty if it has none."""
    info = transition.get("infos", transition.get("info"))
    return info if isinstance(info, dict) else {}


def is_given(value: Any) -> bool:
    """True for a value of an info that stands for something: neither None nor NaN alone, as in a row of an array."""
    if value is None:
        return False
    array = array_of(value)
    return array.dtype.kind != "f" or not np.isnan(array).all()


def success_of(transition: dict[str, Any]) -> bool | None:
    """The success that the info of an episode's last transition reports; None if it reports none."""
    info = info_of(transition)
    found = next((array_of(info[name]) for name in SUCCESSES if is_given(info.get(name))), None)
    return None if found is None or found.size != 1 or found.dtype.kind not in "biuf" else bool(found.item())


def check_end_names(path: str, index: int, transition: dict[str, Any]) -> None:
    """Raises DemoError for a transition without a flag of the end, with two that differ, or with an unknown one."""
    for names in (DONES, TERMINATEDS, TRUNCATEDS):
        first, *others = [name for name in names if name in transition] or [names[0]]
        if different := [name for name in others if not _is_equal(transition[first], transition[name])]:
            raise demo_error(
                path, index, different[0], f"the value of {first}, which means the same", "another", "Keep one."
            )
    for name in transition:
        if isinstance(name, str) and name not in ENDS and OTHER_END.search(name.lower()):
            raise demo_error(
                path, index, name, "a known name of a flag of the end", repr(name),
                "Rename it to dones (the episode ended), terminateds (by success or failure) or truncateds (by a "
                "time-out), or leave it out.",
            )  # fmt: skip
    if not any(name in transition for name in (*DONES, *TERMINATEDS)):
        raise demo_error(path, index, "dones", "a value", f"only {', '.join(map(str, transition))}")


def _is_equal(first: Any, second: Any) -> bool:
    return np.array_equal(array_of(first).ravel(), array_of(second).ravel())


def read_columns(
    path: str, first: int, transitions: list[dict[str, Any]], model_action: tuple[int, tuple[int, ...]] | None
) -> dict[str, np.ndarray]:
    """The fields besides observations: actions (n, A), others (n,). Errors number the transitions from `first`."""
    fields = [with_info(transition) for transition in transitions]
    return {
        "actions": _actions(path, first, fields, model_action),
        "rewards": _numbers(path, first, fields, ("rewards",)),
        **_ends(path, first, fields),
        "grasp_penalty": np.nan_to_num(_numbers(path, first, fields, ("grasp_penalty",))),
        "intervened": _intervened(path, first, fields),
    }


def _intervened(path: str, first: int, fields: list[dict[str, Any]]) -> np.ndarray:
    """Flags (n,) of the transitions in which the operator acted; without flags, of those with an executed action."""
    flags = _flags(path, first, fields, ("intervened",))
    by_operator = [is_given(info_of(transition).get(EXECUTED)) for transition in fields]
    return np.where(np.isnan(flags), by_operator, flags == 1)


def _ends(path: str, first: int, fields: list[dict[str, Any]]) -> dict[str, np.ndarray]:
    """Masks, dones and truncateds (n,), from the flags that there are."""
    done, terminated, truncated = (_flags(path, first, fields, names) for names in (DONES, TERMINATEDS, TRUNCATEDS))
    mask = _flags(path, first, fields, ("masks",))
    is_open = (done != 1) & (truncated != 1) & ((terminated != 1) | (done == 0))
    _refuse(path, first, (terminated == 1) & is_open, "terminateds", "0 where dones is 0", "1")
    fix = "A mask is 0 where the episode terminated, and 1 everywhere else; masks = 1 - terminated."
    _refuse(path, first, (mask == 0) & is_open, "masks", "1 where the episode goes on", "0", fix)
    _refuse(path, first, (mask == 1) & (terminated == 1), "masks", "0 where the episode terminated", "1", fix)
    _refuse(path, first, (mask == 0) & (terminated == 0), "masks", "1 where the episode did not terminate", "0", fix)
    is_terminal = np.where(np.isnan(terminated), ~is_open & (truncated != 1), terminated == 1)
    masks = np.where(np.isnan(mask), 1.0 - is_terminal, mask)
    return {
        "masks": masks,
        "dones": ~is_open,
        "truncateds": np.where(np.isnan(truncated), ~is_open & (masks == 1), truncated == 1),
    }


def _refuse(path: str, first: int, is_wrong: np.ndarray, key: str, expected: str, found: str, fix: str = "") -> None:
    if is_wrong.any():
        raise demo_error(path, first + int(np.argmax(is_wrong)), key, expected, found, fix)


def _flags(path: str, first: int, fields: list[dict[str, Any]], names: Sequence[str]) -> np.ndarray:
    """A flag (n,) of 0 and 1 under one of its names; NaN where a transition has none."""
    flags = _numbers(path, first, fields, names)
    is_wrong = ~(np.isnan(flags) | (flags == 0) | (flags == 1))
    if is_wrong.any():
        t = int(np.argmax(is_wrong))
        name = next(name for name in names if name in fields[t])
        raise demo_error(path, first + t, name, "0 or 1", f"{flags[t]:g}")
    return flags


def _numbers(path: str, first: int, fields: list[dict[str, Any]], names: Sequence[str]) -> np.ndarray:
    """One finite number (n,) per transition, under one of its names; NaN where it has none."""
    numbers = np.full(len(fields), np.nan)
    for t, transition in enumerate(fields):
        for name in names:
            if name in transition:
                value = array_of(transition[name])
                if value.size != 1 or value.dtype.kind not in "biuf" or not np.isfinite(value).all():
                    raise demo_error(path, first + t, name, "one finite number", reprlib.repr(transition[name]))
                numbers[t] = value.item()
    return numbers


def _actions(
    path: str, first: int, fields: list[dict[str, Any]], model: tuple[int, tuple[int, ...]] | None
) -> np.ndarray:
    """Actions (n, A), all of the shape of `model` (a transition's number and shape), by default the first."""
    model_index, shape = model or (first, array_of(fields[0]["actions"]).shape)
    for index, transition in enumerate(fields, first):
        action = array_of(transition["actions"])
        if action.ndim != 1 or action.dtype.kind not in "biuf" or action.shape != shape:
            as_before = f"as many numbers as in transition {model_index}, {shape[0] if shape else 1}"
            expected = "a vector of numbers" if index == model_index else as_before
            fix = "Leave its first axis out, action[0]." if action.ndim == 2 and len(action) == 1 else ""
            raise demo_error(path, index, "actions", expected, f"{action.dtype} of shape {action.shape}", fix)
    return np.stack([np.asarray(transition["actions"], np.float32) for transition in fields])
