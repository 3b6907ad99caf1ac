"""A small robot with operators, in a time that only the test moves."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from hub_peers import SECONDS
from line_envs import LineEnv
from stage import PUSH

from serl_ray.envs.guard import Guard
from serl_ray.teleop.events import StepActor
from serl_ray.teleop.limits import Limits
from serl_ray.teleop.session import Session
from serl_ray.teleop.views import View
from serl_ray.teleop.wrapper import OperatedEnv
from serl_ray.types import ActionLayout

SETUP = "single-arm-learned-gripper"
LAYOUT = ActionLayout.from_setup(SETUP, 7)
STEP = 0.125
"""Seconds of a step."""
POLICY = np.full(7, -0.25, np.float32)
PUSHED = np.array([PUSH, 0, 0, 0, 0, 0, 0], np.float32)


class Clock:
    """A clock that stands still unless it is moved."""

    def __init__(self) -> None:
        self.now = 64.0

    def __call__(self) -> float:
        return self.now


class WitnessEnv(LineEnv):
    """Remembers all that was asked of it, in its order."""

    def __init__(self, clock: Clock, **kwargs: Any) -> None:
        super().__init__(cameras=("front",), **kwargs)
        self.clock = clock
        self.calls: list[str] = []
        self.executed: list[np.ndarray] = []

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        self.calls.append("reset")
        return super().reset(seed=1 if seed is None else seed)  # an episode must not succeed by chance

    def step(self, action: np.ndarray) -> Any:
        self.calls.append("step")
        self.executed.append(action.copy())
        self.clock.now += STEP
        return super().step(action)

    def hold(self) -> None:
        self.calls.append("hold")

    def stop(self) -> None:
        self.calls.append("stop")


class Robot:
    """A robot with operators.

    Attributes:
        witness: the env itself, which remembers what was executed.
        env: the env with its operators.
    """

    def __init__(
        self,
        limits: Limits | None = None,
        attended: bool = False,
        horizon: int = 1000,
        asks: str = "",
    ) -> None:
        self.clock = Clock()
        self.witness = WitnessEnv(self.clock, horizon=horizon)
        self.session = Session(LAYOUT, limits, attended)
        self.env = OperatedEnv(Guard(self.witness, None, None), self.session, self.clock, asks)

    @property
    def view(self) -> View:
        assert self.env.view is not None
        return self.env.view

    def say(self, tell: Callable[..., None], *args: Any) -> None:
        """Tells the session something, as the link does."""
        with self.env.changed:
            tell(*args, self.clock())
            self.env.changed.notify_all()

    def step(self, action: np.ndarray = POLICY) -> dict[str, Any]:
        return self.env.step(action)[-1]

    def actor(self) -> StepActor:
        """The actor of the newest step."""
        return self.view.actor


class Background:
    """A call in another thread."""

    def __init__(self, call: Callable[[], Any]) -> None:
        self._call = call
        self._result: Any = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._result = self._call()
        except BaseException as error:  # it is raised where the result is asked for
            self._error = error

    @property
    def is_running(self) -> bool:
        return self._thread.is_alive()

    def result(self) -> Any:
        self._thread.join(SECONDS)
        assert not self._thread.is_alive(), "the call has not come back"
        if self._error is not None:
            raise self._error
        return self._result
