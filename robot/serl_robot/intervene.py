"""Takes the policy's place with a device at the robot."""

from __future__ import annotations

from typing import Any, Callable, Protocol

import numpy as np

MOST_WRAPPERS = 100
"""Wrappers of an env among which an `Intervene` is looked for."""


class OperatorDevice(Protocol):
    """A device by which an operator drives the robot."""

    source: str
    """Kind of device, as it is stored beside the steps that it drives."""

    def read(self) -> Any:
        """The numbers of a whole action (n,) in [-1, 1]; None while nobody holds the device.

        An exception, such as that of a device that is gone, stops the robot.
        """
        ...


class Intervene:
    """An env whose operator may act in place of the policy; the executed action is `info["intervene_action"]`.

    All else is the env's.

    Args:
        env: env of the robot.
        device: device of the operator.
    """

    def __init__(self, env: Any, device: OperatorDevice) -> None:
        self.env, self.device = env, device
        self._dim = int(env.action_space.shape[0])
        self._interventions = 0
        self._was_held = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self.env, name)

    @property
    def unwrapped(self) -> Any:
        """The env without wrappers."""
        return getattr(self.env, "unwrapped", self.env)

    def on_stop(self, call: Callable[[], None]) -> None:
        """Has a function called when the operator presses the stop of a device, if it tells that by an `on_stop`."""
        tell = getattr(self.device, "on_stop", None)
        if callable(tell):
            tell(call)

    def obstacle(self) -> str:
        """The reason, of a device that tells it by an `obstacle`, why no episode can begin until the operator does
        something; empty without one."""
        tell = getattr(self.device, "obstacle", None)
        return str(tell()) if callable(tell) else ""

    def reset(self, **kwargs: Any) -> Any:
        """Starts an episode, unless the device is gone or stops the robot."""
        self.device.read()
        self._was_held = False
        return self.env.reset(**kwargs)

    def step(self, action: np.ndarray) -> Any:
        """Executes the operator's action, else the given one."""
        numbers = self.device.read()
        if numbers is None:
            self._was_held = False
            return self.env.step(action)
        taken = np.asarray(numbers, np.float32)
        if taken.shape != (self._dim,) or not (np.abs(taken) <= 1).all():
            raise ValueError(f"The device {self.device.source} gives {numbers!r:.100}, not {self._dim} in [-1, 1].")
        self._interventions += not self._was_held
        self._was_held = True
        *result, info = self.env.step(taken.copy())
        told = {
            "intervene_action": taken,
            "intervene_source": self.device.source,
            "intervention": self._interventions,
        }
        return (*result, {**info, **told})


def intervene_of(env: Any) -> Intervene | None:
    """The `Intervene` among an env and the wrappers around it; None without one."""
    for _ in range(MOST_WRAPPERS):
        if isinstance(env, Intervene):
            return env
        env = getattr(env, "env", None)
    return None
