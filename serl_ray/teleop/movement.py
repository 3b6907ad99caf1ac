"""The steps and resets of an env, which a stop reaches at once."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any, TypeVar

import gymnasium

logger = logging.getLogger(__name__)

AGAIN_SECONDS = 0.2
"""Seconds after which an env whose step or reset goes on under a stop is stopped again: it may have begun, and cleared
an earlier stop, just after this one."""
Made = TypeVar("Made")


class Movement:
    """The step or the reset of an env that is under way.

    A stop may come after the permission for it and before the env has begun. So the env's `stop` is called again while
    the step or the reset goes on, and once more at its end: the latest call is never followed by a motion.

    Args:
        env: env that moves.
        changed: condition that guards the session, and this.
        is_stopped: tells whether a stop is latched.

    Attributes:
        was_stopped: whether a stop has come since the newest permission.
    """

    def __init__(self, env: gymnasium.Env, changed: threading.Condition, is_stopped: Callable[[], bool]) -> None:
        self._env, self._changed, self._is_stopped = env, changed, is_stopped
        self.was_stopped = self._is_under_way = False
        self._stopping = threading.Lock()

    def permit(self, may_move: bool) -> bool:
        """Notes, with the condition held, whether a step or a reset begins now."""
        if may_move:
            self.was_stopped, self._is_under_way = False, True
        return may_move

    def made(self, call: Callable[[], Made]) -> Made:
        """The result of the step or the reset that was permitted."""
        try:
            return call()
        finally:
            with self._changed:
                self._is_under_way = False
                self._changed.notify_all()
            if self.was_stopped:
                self._stop()

    def latch(self) -> bool:
        """Notes, with the condition held, that a stop has come; true if the env moves."""
        self.was_stopped = True
        return self._is_under_way

    def stop(self, moves: bool) -> None:
        """Stops the env, and again as long as it moves."""
        self._stop()
        if moves:
            threading.Thread(target=self._stop_again, name="stop", daemon=True).start()

    def tell(self, name: str) -> None:
        """Calls a method of the env, if it has one of this name."""
        method: Any = getattr(self._env.unwrapped, name, None)
        if callable(method):
            try:
                method()
            except Exception:
                logger.exception("The env's %s() has failed. The robot takes no step all the same.", name)

    def _stop(self) -> None:
        with self._stopping:  # one thread at a time
            self.tell("stop")

    def _stop_again(self) -> None:
        def is_over() -> bool:
            return not (self._is_under_way and self._is_stopped())

        while True:
            with self._changed:
                if self._changed.wait_for(is_over, AGAIN_SECONDS):
                    return
            with self._stopping:
                with self._changed:
                    if is_over():
                        return
                self.tell("stop")  # and what comes next waits for it, in `made`
