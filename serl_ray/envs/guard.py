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

from serl_ray.data.episodes import EnvFault, StepResult
from serl_ray.data.observations import Observation
from serl_ray.envs.border import bordered

REPEAT_SECONDS = 1.0
"""Seconds between interrupts, if the env catches them."""
GRACE_SECONDS = 10.0
"""Seconds after a deadline until the process of an env that cannot be interrupted is ended, with its traceback."""


class Guard(gymnasium.Wrapper):
    """Wrapper that turns all errors of an env into an `EnvFault`, after which the env may be reset.

    Args:
        env: env to guard; it gets a `Border`, which checks its steps, unless there is one in it.
        step_deadline: time limit of a step in seconds; None for no limit.
        reset_deadline: time limit of a reset, which may wait for the operator, in seconds; None for no limit.
    """

    def __init__(self, env: gymnasium.Env, step_deadline: float | None, reset_deadline: float | None) -> None:
        super().__init__(bordered(env))
        self._step_deadline, self._reset_deadline = step_deadline, reset_deadline

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Starts an episode."""
        with _faults("reset", self._reset_deadline):
            return self.env.reset(seed=seed, options=options)

    def step(self, action: np.ndarray) -> StepResult:
        """Executes the action (A + G,)."""
        with _faults("step", self._step_deadline):
            return self.env.step(action)


@contextmanager
def _faults(call: str, deadline: float | None) -> Iterator[None]:
    """Raises EnvFault for any exception in the block, a reset or a step, and when it misses the deadline in seconds."""
    try:
        with _alarm(deadline, f"The env's {call} took longer than the {call}_deadline of {deadline} s."):
            yield
    except EnvFault:
        raise
    except (Exception, SystemExit) as error:
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
