"""What stands between a run and an env that misbehaves: deadlines, and a look at everything it returns."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import gymnasium
import numpy as np

from serl_ray.data.observations import Observation
from serl_ray.data.recorder import StepResult

REPEAT_SECONDS = 1.0
"""Between interrupts, where the env has caught the one before."""

FaultKind = Literal["error", "timeout", "not_finite", "wrong_shape"]


class EnvFault(RuntimeError):
    """An env has raised, has taken too long, or has returned what it may not.

    Attributes:
        kind: error, timeout, not_finite or wrong_shape.
    """

    def __init__(self, kind: FaultKind, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class Guard(gymnasium.Wrapper):
    """Turns whatever goes wrong in an env into an `EnvFault`, after which the env may be reset.

    Args:
        env: An env with a flat Dict observation space.
        step_deadline: Seconds a step may take; None for as long as it takes.
        reset_deadline: Likewise a reset, which may wait for a person.
    """

    def __init__(self, env: gymnasium.Env, step_deadline: float | None, reset_deadline: float | None) -> None:
        super().__init__(env)
        self._step_deadline, self._reset_deadline = step_deadline, reset_deadline

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Observation, dict[str, Any]]:
        """Begins an episode."""
        with _faults("reset", self._reset_deadline, "reset_deadline"):
            observation, info = self.env.reset(seed=seed, options=options)
        return self._checked(observation), info

    def step(self, action: np.ndarray) -> StepResult:
        """Executes the action (A + G,)."""
        with _faults("step", self._step_deadline, "step_deadline"):
            observation, reward, terminated, truncated, info = self.env.step(action)
        _check_finite("reward", reward)
        if (executed := info.get("intervene_action")) is not None:
            _check_shape("info['intervene_action']", executed, self.action_space.shape)
            _check_finite("info['intervene_action']", executed)
        return self._checked(observation), float(reward), bool(terminated), bool(truncated), info

    def _checked(self, observation: Observation) -> Observation:
        if not isinstance(observation, dict) or observation.keys() != self.observation_space.keys():
            found = ", ".join(map(str, observation)) if isinstance(observation, dict) else type(observation).__name__
            expected = ", ".join(self.observation_space.keys())
            raise EnvFault("wrong_shape", f"The env returned the observations {found}; its space has {expected}.")
        for key, space in self.observation_space.items():
            _check_shape(f"observation {key!r}", observation[key], space.shape)
            _check_finite(f"observation {key!r}", observation[key])
        return observation


def _check_shape(name: str, value: Any, shape: tuple[int, ...]) -> None:
    if np.shape(value) != shape:
        raise EnvFault("wrong_shape", f"The env returned {name} of shape {np.shape(value)}; it must be {shape}.")


def _check_finite(name: str, value: Any) -> None:
    array = np.asarray(value)
    if array.dtype.kind not in "biuf" or (array.dtype.kind == "f" and not np.isfinite(array).all()):
        raise EnvFault("not_finite", f"The env returned {name} with something in it that is no finite number.")


@contextmanager
def _faults(call: str, deadline: float | None, option: str) -> Iterator[None]:
    """Raises an EnvFault for any exception in the block, and in place of what runs when the deadline is over."""
    try:
        with _alarm(deadline, f"The env's {call} took longer than the {option} of {deadline} s."):
            yield
    except EnvFault:
        raise
    except Exception as error:
        raise EnvFault("error", f"The env's {call} raised {type(error).__name__}: {error}") from error


@contextmanager
def _alarm(seconds: float | None, message: str) -> Iterator[None]:
    """Interrupts the block by a signal: it reaches Python code and what waits in it, but no loop inside a C library."""
    if seconds is None or threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(signum: int, frame: Any) -> None:
        raise EnvFault("timeout", message)

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, seconds, REPEAT_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)
