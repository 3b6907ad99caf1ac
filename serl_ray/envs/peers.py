"""Names and habits of other projects' envs, in the words of the env contract."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

PERSON = "intervene_action"
FLAG = "is_intervention"
PEERS_ACTIONS = ("action_intervention", "teleop_action")
"""LeRobot's names of the executed action, which it reports at every step, with or without a person."""
PEERS_SUCCESS = ("succeed", "is_success")
"""Names of a success in HIL-SERL and gym-hil, and in gymnasium-robotics."""
FINAL_OBSERVATIONS = ("final_obs", "final_observation")
"""gymnasium's names of an episode's last observation, where the env has reset itself and returns the next one's
first."""

TIME_OUT = "TimeLimit.truncated"
"""Gym's old name of an end by a time-out."""


def is_flag(value: Any) -> bool:
    """True for one truth value: a bool, or a number, alone or in an array."""
    return isinstance(value, bool | np.bool_ | int | float | np.number) or (
        isinstance(value, np.ndarray) and value.size == 1
    )


def is_time_out(info: dict[Any, Any]) -> bool:
    """True where gym's old word in `info` calls the end of an episode a time-out."""
    flag = info.get(TIME_OUT)
    return is_flag(flag) and bool(flag)


def ambiguities(info: dict[Any, Any]) -> Iterator[str]:
    """Reports of a person's action in `info` that can be read in two ways."""
    info = _plain(info)
    flag = info.get(FLAG)
    action = next((name for name in (PERSON, *PEERS_ACTIONS) if info.get(name) is not None), None)
    if flag is None:
        if action in PEERS_ACTIONS:
            yield (
                f"info has {action!r} without {FLAG!r}: say by info[{FLAG!r}], a bool, whether a person acted in this "
                "step."
            )
    elif not is_flag(flag):
        yield f"info[{FLAG!r}] is {flag!r}: return a bool."
    elif flag and action is None:
        yield f"info[{FLAG!r}] is true, and no action is given: report the executed one as info[{PERSON!r}]."
    elif not flag and action == PERSON:
        yield f"info[{FLAG!r}] is false, and there is an {PERSON!r}: leave it out of steps in which nobody intervened."


def understood(result: tuple[Any, ...]) -> tuple[Any, ...]:
    """A step's result in the contract's words.

    The person's action is `info["intervene_action"]`, which is missing without an intervention, and a success
    `info["success"]`. An end that `info["TimeLimit.truncated"]` calls a time-out is one. The observation is the last
    one of its episode, also where the env has reset itself. What is not of a step's form is left as it is.
    """
    observation, reward, terminated, truncated, info = result
    if not isinstance(info, dict):
        return result
    info = _plain(info)
    if is_time_out(info) and is_flag(truncated) and not truncated:
        terminated, truncated = False, True
    if any(is_flag(flag) and flag for flag in (terminated, truncated)):
        final = next((info[name] for name in FINAL_OBSERVATIONS if info.get(name) is not None), None)
        if final is not None:
            observation = final
            info = info | (info["final_info"] if isinstance(info.get("final_info"), dict) else {})
    return observation, reward, terminated, truncated, _renamed(info)


def used_names(info: dict[Any, Any]) -> list[str]:
    """The other projects' names in `info` that are understood."""
    known = (FLAG, *PEERS_ACTIONS, *PEERS_SUCCESS, *FINAL_OBSERVATIONS)
    names = [name for name in known if _plain(info).get(name) is not None]
    return [*names, TIME_OUT] if is_time_out(info) else names


def _plain(info: dict[Any, Any]) -> dict[str, Any]:
    """The info with the values of LeRobot's enumeration of names in place of its members."""
    return {getattr(name, "value", name): value for name, value in info.items()}


def _renamed(info: dict[str, Any]) -> dict[str, Any]:
    flag = info.get(FLAG)
    names = (PERSON,) if flag is None else (PERSON, *PEERS_ACTIONS) if is_flag(flag) and flag else ()
    action = next((info[name] for name in names if info.get(name) is not None), None)
    success = next((info[name] for name in ("success", *PEERS_SUCCESS) if info.get(name) is not None), None)
    renamed = {name: value for name, value in info.items() if name not in (PERSON, "success")}
    return renamed | ({} if action is None else {PERSON: action}) | ({} if success is None else {"success": success})
