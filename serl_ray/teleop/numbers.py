"""Numbers beside the frames of a robot: the operators' part in the episode, and what policy and classifier think."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import gymnasium
import numpy as np

from serl_ray.teleop.events import Decision, StepActor

SUCCESS_PROBABILITY = "success_probability"
"""Number of the classifier, and its key in the `info` of a step."""
StepValues = Callable[[np.ndarray], dict[str, float]]
"""The critics' values of an executed action (A + G,) at the observation that came before it, by name."""


class StepNumbers:
    """The numbers of a robot's steps, each of which is left out where it is not known.

    `operator_share`: share of the episode's steps so far that a person made. `loop_age`: age in seconds of the frame
    that the person has acted on. `success_probability`: the classifier's. Those of `values`: the critics'.

    Attributes:
        values: gives the critics' values; None where there are none. It is asked only while somebody looks.
    """

    def __init__(self) -> None:
        self.values: StepValues | None = None
        self._steps = self._persons = 0

    def begin(self) -> None:
        """An episode has begun."""
        self._steps = self._persons = 0

    def of_step(
        self, decision: Decision, info: Mapping[str, Any], loop_age: float | None, is_seen: bool
    ) -> dict[str, float]:
        """The numbers of an executed step."""
        is_person = decision.actor is StepActor.PERSON
        self._steps += 1
        self._persons += is_person
        numbers = {"operator_share": self._persons / self._steps}
        if is_person and loop_age is not None:
            numbers["loop_age"] = loop_age
        if SUCCESS_PROBABILITY in info:
            numbers[SUCCESS_PROBABILITY] = float(info[SUCCESS_PROBABILITY])
        if is_seen and self.values is not None and decision.action is not None:
            numbers |= self.values(decision.action)
        return {name: number for name, number in numbers.items() if math.isfinite(number)}


def success_threshold(env: gymnasium.Env) -> float | None:
    """The probability from which the classifier of an env's rewards calls a step a success; None without one."""
    try:
        return float(env.get_wrapper_attr("classifier").threshold)
    except AttributeError:
        return None
