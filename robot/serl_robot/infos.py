"""The part of an env's `info` that can be sent."""

from __future__ import annotations

import math
from typing import Any, Mapping

import numpy as np

from serl_robot.wire import DTYPES, MAX_DEPTH

READ_BY_TRAINER = {
    "intervene_action",
    "executed_action",
    "intervene_source",
    "intervention",
    "is_intervention",
    "intervene_flag",
    "action_intervention",
    "teleop_action",
    "success",
    "succeed",
    "is_success",
    "next.success",
    "grasp_penalty",
    "discrete_penalty",
    "final_obs",
    "final_observation",
    "terminal_observation",
    "final_info",
    "TimeLimit.truncated",
    "terminate_episode",
    "failure",
    "rerecord_episode",
}
"""Names that the trainer acts on; without one of them a step would mean something else."""


class UnsendableInfo(ValueError):
    """A value that the trainer would act on, and that cannot be sent.

    Args:
        name: name of the value in `info`.
        message: a sentence.
    """

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.is_action = "action" in name


def split_info(info: Mapping[Any, Any]) -> tuple[dict[str, Any], dict[str, np.ndarray], dict[str, str]]:
    """The JSON values, the arrays, and for each name that is left out the reason.

    Raises:
        UnsendableInfo: a value that the trainer acts on would be left out.
    """
    values: dict[str, Any] = {}
    arrays: dict[str, np.ndarray] = {}
    left_out: dict[str, str] = {}
    for key, value in info.items():
        name = str(getattr(key, "value", key))  # LeRobot's keys are members of an enumeration
        try:
            if isinstance(value, np.ndarray) and value.ndim:
                arrays[name] = _array(value)
            else:
                values[name] = _json(value)
        except ValueError as error:
            if name in READ_BY_TRAINER:
                raise UnsendableInfo(name, f"info[{name!r}] {error}.") from error
            left_out[name] = str(error)
    return values, arrays, left_out


def _array(array: np.ndarray) -> np.ndarray:
    if array.dtype.name not in DTYPES:
        raise ValueError(f"is an array of {array.dtype}, which cannot be sent")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise ValueError("holds NaN or infinity")
    return array


def _json(value: Any, levels: int = MAX_DEPTH - 3) -> Any:
    """The value with numpy's numbers and arrays as Python's, of at most so many levels in one another."""
    if isinstance(value, (np.ndarray, np.generic)):
        return _json(value.tolist(), levels)
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"is {value}: return a finite number")
        return value
    if isinstance(value, (list, tuple, Mapping)) and not levels:
        raise ValueError("has too many levels in one another")
    if isinstance(value, (list, tuple)):
        return [_json(each, levels - 1) for each in value]
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {key: _json(each, levels - 1) for key, each in value.items()}
    raise ValueError(f"is a {type(value).__name__}, which cannot be sent")
