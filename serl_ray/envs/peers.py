"""Names and habits of other projects' envs, in the words of the env contract."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from serl_ray.data.schema import EXECUTED

SOURCE = "intervene_source"
NUMBER = "intervention"
FLAGS = ("is_intervention", "intervene_flag")
"""Flags that say whether the operator acted in a step, in LeRobot and in RLinf."""
PEERS_ACTIONS = ("action_intervention", "teleop_action")
"""LeRobot's names of the executed action, which it reports at every step, with or without an intervention."""
PEERS_SUCCESS = ("succeed", "is_success", "next.success")
"""Names of a success in HIL-SERL and gym-hil, in gymnasium-robotics, and by gym-hil's operator."""
PENALTY = "grasp_penalty"
PEERS_PENALTY = "discrete_penalty"
"""LeRobot's and gym-hil's name of the penalty of a gripper's command."""
OLD_PENALTY = "gripper_penalty"
"""Name of that penalty in older releases of LeRobot."""
EPISODE_ENDS = ("terminate_episode", "failure")
"""LeRobot's flags of an operator who ends an episode."""
RERECORD = "rerecord_episode"
"""Flag of LeRobot's and gym-hil's operator who wants an episode to be recorded again."""
FINAL_OBSERVATIONS = ("final_obs", "final_observation", "terminal_observation")
"""Names of an episode's last observation in gymnasium and Stable-Baselines3, where the env has reset itself and returns
the next one's first."""

TIME_OUT = "TimeLimit.truncated"
"""Gym's old name of an end by a time-out."""


def is_flag(value: Any) -> bool:
    """True for one truth value: a bool, or a number, alone or in an array."""
    return isinstance(value, bool | np.bool_ | int | float | np.number) or (
        isinstance(value, np.ndarray) and value.size == 1
    )


def is_true(value: Any) -> bool:
    """True for one truth value that is true."""
    return is_flag(value) and bool(value)


def is_time_out(info: dict[Any, Any]) -> bool:
    """True where gym's old word in `info` calls the end of an episode a time-out."""
    return is_true(info.get(TIME_OUT))


def ambiguities(info: dict[Any, Any]) -> Iterator[str]:
    """Reports of the operator's action in `info` that can be read in two ways."""
    info = _plain(info)
    name, flag = _flag_in(info)
    action = next((name for name in (EXECUTED, *PEERS_ACTIONS) if info.get(name) is not None), None)
    if flag is None:
        if action in PEERS_ACTIONS:
            yield (
                f"info has {action!r} without {name!r}: say by info[{name!r}], a bool, whether the operator acted in "
                "this step."
            )
    elif not is_flag(flag):
        yield f"info[{name!r}] is {flag!r}: return a bool."
    elif flag and action is None:
        yield f"info[{name!r}] is true, and no action is given: report the executed one as info[{EXECUTED!r}]."
    elif not flag and action == EXECUTED:
        yield f"info[{name!r}] is false, and there is an {EXECUTED!r}: leave it out of steps without an intervention."


def unread(info: dict[Any, Any], is_end: bool) -> Iterator[tuple[str, str]]:
    """Other projects' reports in `info` that nothing acts on, each by its name and with what to do.

    Args:
        info: info of a step, as the env returned it.
        is_end: whether the step ended the episode.
    """
    info = _plain(info)
    for name in EPISODE_ENDS:
        if is_true(info.get(name)) and not is_end:
            text = (
                f"info[{name!r}] is true, and the episode goes on: return terminated where the task is over for good, "
                "or truncated where it is broken off."
            )
            yield name, text
    if is_true(info.get(RERECORD)):
        text = (
            f"info[{RERECORD!r}] is true, and no episode is dropped for it: serl record keeps every success, and a run "
            "every step. End an episode that is not to be kept without a reward."
        )
        yield RERECORD, text
    if OLD_PENALTY in info and not {PENALTY, PEERS_PENALTY} & info.keys():
        text = (
            f"info[{OLD_PENALTY!r}] is not read, because some envs add it to the reward themselves: report it as "
            f"info[{PENALTY!r}], and leave it out of the reward."
        )
        yield OLD_PENALTY, text


def understood(result: tuple[Any, ...]) -> tuple[Any, ...]:
    """A step's result in the contract's words.

    The operator's action is `info["intervene_action"]`, which is missing without an intervention, a success
    `info["success"]`, and a gripper's penalty `info["grasp_penalty"]`. An end that `info["TimeLimit.truncated"]` calls
    a time-out is one. The observation is the last one of its episode, also where the env has reset itself. What is not
    of a step's form is left as it is.
    """
    observation, reward, terminated, truncated, info = result
    if not isinstance(info, dict):
        return result
    info = _plain(info)
    if is_time_out(info) and is_flag(truncated) and not truncated:
        terminated, truncated = False, True
    if (is_true(terminated) or is_true(truncated)) and (final := _first(info, FINAL_OBSERVATIONS)) is not None:
        observation = final
        info = info | (info["final_info"] if isinstance(info.get("final_info"), dict) else {})
    return observation, reward, terminated, truncated, _renamed(info)


def used_names(info: dict[Any, Any]) -> list[str]:
    """The other projects' names in `info` that are understood."""
    known = (*FLAGS, *PEERS_ACTIONS, *PEERS_SUCCESS, PEERS_PENALTY, *FINAL_OBSERVATIONS)
    names = [name for name in known if _plain(info).get(name) is not None]
    return [*names, TIME_OUT] if is_time_out(info) else names


def _plain(info: dict[Any, Any]) -> dict[str, Any]:
    """The info with the values of LeRobot's enumeration of names in place of its members."""
    return {getattr(name, "value", name): value for name, value in info.items()}


def _flag_in(info: dict[str, Any]) -> tuple[str, Any]:
    """The name and the value of the flag of an intervention; None without one."""
    name = next((name for name in FLAGS if info.get(name) is not None), FLAGS[0])
    return name, info.get(name)


def _renamed(info: dict[str, Any]) -> dict[str, Any]:
    _, flag = _flag_in(info)
    names = (EXECUTED,) if flag is None else (EXECUTED, *PEERS_ACTIONS) if is_true(flag) else ()
    found = {EXECUTED: _first(info, names), "success": _first(info, ("success", *PEERS_SUCCESS))}
    if PENALTY not in info:
        found[PENALTY] = info.get(PEERS_PENALTY)
    renamed = {name: value for name, value in info.items() if name not in found}
    return renamed | {name: value for name, value in found.items() if value is not None}


def _first(info: dict[str, Any], names: Iterable[str]) -> Any:
    return next((info[name] for name in names if info.get(name) is not None), None)
