"""Protection of a run from a faulty env."""

from __future__ import annotations

import faulthandler
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import gymnasium
import numpy as np

from serl_ray.data.episodes import EnvFault, StepResult, check_step
from serl_ray.data.observations import Observation

REPEAT_SECONDS = 1.0
"""Seconds between interrupts, if the env catches them."""
GRACE_SECONDS = 10.0
"""Seconds after a deadline until the process of an env that cannot be interrupted is ended, with its traceback."""


class Guard(gymnasium.Wrapper):
    """Wrapper that turns all errors of an env into an `EnvFault`, after which the env may be reset.

    It checks each step once, and copies actions and results.

    Args:
        env: env with the agent's selection of observations, which `SelectObservations` has checked.
        step_deadline: time limit of a step in seconds; None for no limit.
        reset_deadline: time limit of a reset, which may wait for a person, in seconds; None for no limit.
    """

    def __init__(self, env: gymnasium.Env, step_deadline: float | None, reset_deadline: float | None) -> None:
        super().__init__(env)
        self._step_deadline, self._reset_deadline = step_deadline, reset_deadline

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Observation, dict[str, Any]]:
        """Starts an episode."""
        with _faults("reset", self._reset_deadline, "reset_deadline"):
            observation, info = self.env.reset(seed=seed, options=options)
            return _copied(observation), info

    def step(self, action: np.ndarray) -> StepResult:
        """Executes the action (A + G,)."""
        with _faults("step", self._step_deadline, "step_deadline"):
            observation, reward, terminated, truncated, info = self.env.step(np.array(action))
            result = _copied(observation), reward, terminated, truncated, _copied_action(info)
        check_step(action, result)
        return result


def _copied(observation: Observation) -> Observation:
    """A copy of an observation, because some envs reuse their arrays."""
    return {key: np.array(value) for key, value in observation.items()}


def _copied_action(info: dict[str, Any]) -> dict[str, Any]:
    action = info.get("intervene_action")
    return info if action is None else {**info, "intervene_action": np.array(action)}


@contextmanager
def _faults(call: str, deadline: float | None, option: str) -> Iterator[None]:
    """Raises EnvFault for any exception in the block, and when it misses the deadline."""
    try:
        with _alarm(deadline, f"The env's {call} took longer than the {option} of {deadline} s."):
            yield
    except EnvFault:
        raise
    except Exception as error:
        raise EnvFault("error", f"The env's {call} raised {type(error).__name__}: {error}") from error


@contextmanager
def _alarm(seconds: float | None, message: str) -> Iterator[None]:
    """Interrupts the block after some seconds by a signal, which reaches Python code and its waiting calls.

    A block that blocks signals is ended `GRACE_SECONDS` later together with its process.
    """
    if seconds is None:
        yield
        return

    def interrupt(signum: int, frame: Any) -> None:
        raise EnvFault("timeout", message)

    is_main = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGALRM, interrupt) if is_main else None
    faulthandler.dump_traceback_later(seconds + GRACE_SECONDS, exit=True, file=sys.__stderr__ or 2)
    if is_main:
        signal.setitimer(signal.ITIMER_REAL, seconds, REPEAT_SECONDS)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
        if is_main:
            signal.setitimer(signal.ITIMER_REAL, 0.0)
            signal.signal(signal.SIGALRM, before)
