"""What stands between a run and an env that misbehaves."""

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
"""Between interrupts, where the env has caught the one before."""
GRACE_SECONDS = 10.0
"""Until the process of an env that cannot be interrupted is ended, with its traceback."""


class Guard(gymnasium.Wrapper):
    """Turns whatever goes wrong in an env into an `EnvFault`, after which the env may be reset.

    Args:
        env: An env with the agent's selection of observations (`SelectObservations` looks at these).
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
        return observation, info

    def step(self, action: np.ndarray) -> StepResult:
        """Executes the action (A + G,)."""
        with _faults("step", self._step_deadline, "step_deadline"):
            result = self.env.step(action)
        check_step(action, result)
        return result


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
    """Interrupts the block by a signal, which reaches Python code and what waits in it; where it lets no signal through, and so
    can only be ended together with its process, that is what happens some seconds later."""
    if seconds is None:
        yield
        return

    def interrupt(signum: int, frame: Any) -> None:
        raise EnvFault("timeout", message)

    is_main = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGALRM, interrupt) if is_main else None
    faulthandler.dump_traceback_later(seconds + GRACE_SECONDS, exit=True, file=sys.__stderr__)
    if is_main:
        signal.setitimer(signal.ITIMER_REAL, seconds, REPEAT_SECONDS)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
        if is_main:
            signal.setitimer(signal.ITIMER_REAL, 0.0)
            signal.signal(signal.SIGALRM, before)
