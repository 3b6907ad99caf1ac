"""Resets by a person at the terminal, where there is no page of operators."""

from __future__ import annotations

import os
import select
import sys
import time
from threading import Event
from typing import Any

import gymnasium

from serl_ray.data.observations import Observation
from serl_ray.teleop.wrapper import Interrupted, OperatedEnv
from serl_ray.utils.options import OptionError

LINE_POLL_SECONDS = 0.2
"""Seconds between looks at whether the run ends meanwhile."""


class TerminalResets(gymnasium.Wrapper):
    """Wrapper in which a person at the terminal puts the scene in order before each episode; around a `Guard`, whose
    deadlines the person must not meet.

    The env is reset once to move the robot out of the way, and once more when the person has pressed Enter: the episode
    starts with what is seen then. An env with the method `hold` is told that no step comes for a while.

    Args:
        env: env to reset.
        asks: sentence that tells the person what to do.
        interrupted: event after which a reset that waits raises `Interrupted`; None for one of its own.
    """

    def __init__(self, env: gymnasium.Env, asks: str, interrupted: Event | None = None) -> None:
        super().__init__(env)
        self._asks, self.interrupted = asks, interrupted or Event()

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Starts an episode, once the person is ready."""
        self.env.reset(seed=seed, options=options)
        if self.env.has_wrapper_attr("hold"):
            self.env.get_wrapper_attr("hold")()
        self._wait_for_enter()
        return self.env.reset(seed=seed, options=options)

    def _wait_for_enter(self) -> None:
        """Asks, and waits for a line; what was typed before counts for nothing, and Ctrl-D is no line."""
        import termios  # which Windows does not have

        termios.tcflush(sys.stdin, termios.TCIFLUSH)
        print(self._asks, flush=True)
        while not self.interrupted.is_set():
            if select.select([sys.stdin], [], [], LINE_POLL_SECONDS)[0]:
                if sys.stdin.readline():
                    return
                time.sleep(LINE_POLL_SECONDS)  # a terminal that is gone has an end of file all the time
        raise Interrupted("The run ends while its robot waits for a person.")


def check_terminal(fix: str, has_one: bool = True) -> None:
    """Raises OptionError where no person can press Enter.

    Args:
        fix: what to do instead.
        has_one: False if the env's process has no terminal; otherwise that of this process counts.
    """
    if not (has_one and os.name == "posix" and sys.stdin is not None and sys.stdin.isatty()):
        raise OptionError(
            "reset_by is operator, and the process that resets the env has no terminal in which a person could say "
            f"that the scene is in order: {fix}."
        )


def waiting(env: gymnasium.Env) -> OperatedEnv | TerminalResets | None:
    """The wrapper of an env that may wait for a person; None without one."""
    inner: Any = env
    while isinstance(inner, gymnasium.Wrapper):
        if isinstance(inner, OperatedEnv | TerminalResets):
            return inner
        inner = inner.env
    return None
