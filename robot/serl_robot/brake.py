"""The stop of a robot, which any thread may pull."""

from __future__ import annotations

import logging
import threading
from contextlib import contextmanager
from typing import Any, Callable, Iterator

logger = logging.getLogger(__name__)

AGAIN_SECONDS = 0.2
"""Seconds after which an env whose step or reset goes on is stopped again: it may have cleared an earlier stop."""


class Braked(Exception):
    """The robot is stopped.

    Args:
        has_moved: whether the stop came during a step or a reset, and not before it.
    """

    def __init__(self, has_moved: bool) -> None:
        super().__init__(f"A stop came {'during' if has_moved else 'before'} a step or a reset.")
        self.has_moved = has_moved


class Brake:
    """The stop of a robot; it stays on until a reset that was ordered later releases it.

    Args:
        stop: the env's `stop`, which any thread may call; None without one.
        hold: the env's `hold`, which takes its place between two steps; None without one.

    Attributes:
        is_on: event that is set while the robot is stopped.
        how: words that say how it was stopped last, where that is known.
    """

    def __init__(self, stop: Callable[[], Any] | None, hold: Callable[[], Any] | None) -> None:
        self._stop, self._hold = stop, hold
        self.is_on, self.how = threading.Event(), ""
        self._pulled_at = 0
        self._is_moving = False
        self._changed = threading.Condition()
        self._acting = threading.Lock()

    def pull(self, index: int, how: str = "") -> None:
        """Stops the robot, without waiting for it.

        Args:
            index: number of the order that stops it; 0 for a stop at the robot.
            how: words that say how.
        """
        self.mark(index, how)
        threading.Thread(target=self._act_until_rest, name="stop", daemon=True).start()

    def mark(self, index: int, how: str = "") -> None:
        """Lets no step begin any more."""
        with self._changed:
            self._pulled_at, self.how = max(self._pulled_at, index), how
            self.is_on.set()

    def is_newer(self, index: int) -> bool:
        """True where a stop has come after an order."""
        with self._changed:
            return self._pulled_at > index

    def release(self, index: int) -> None:
        """Lets the robot move again.

        Raises:
            Braked: a stop has come after this order.
        """
        with self._changed:
            if self._pulled_at > index:
                raise Braked(has_moved=False)
            self.is_on.clear()
            self._changed.notify_all()

    def end(self) -> None:
        """Calls the env no more, which is about to be closed."""
        with self._acting:
            self._stop = self._hold = None

    def act(self) -> None:
        """Calls the env's `stop`; without one its `hold`, if the env does not move."""
        with self._acting:
            method = self._stop or (None if self._is_moving else self._hold)
            if method is not None:
                try:
                    method()
                except (Exception, SystemExit):  # the owner's code
                    logger.exception("The env's %s() has failed. The robot takes no step all the same.", _name(method))

    @contextmanager
    def moving(self) -> Iterator[None]:
        """Surrounds a step or a reset of the env.

        Raises:
            Braked: the robot is stopped, so that the block does not begin; or a stop came during it.
        """
        with self._acting, self._changed:
            if self.is_on.is_set():
                raise Braked(has_moved=False)
            self._is_moving = True
        with self._until_rest():
            yield
        if self.is_on.is_set():
            raise Braked(has_moved=True)

    @contextmanager
    def resting(self) -> Iterator[None]:
        """Surrounds a call that keeps the robot still, which a stop need not prevent."""
        with self._acting, self._changed:
            self._is_moving = True
        with self._until_rest():
            yield

    @contextmanager
    def _until_rest(self) -> Iterator[None]:
        """Surrounds a call of the env; a stop that comes meanwhile acts once more at its end."""
        try:
            yield
        finally:
            with self._changed:
                self._is_moving = False
                self._changed.notify_all()
            if self.is_on.is_set():
                self.act()

    def _act_until_rest(self) -> None:
        self.act()
        while True:
            with self._changed:
                if self._changed.wait_for(lambda: not (self._is_moving and self.is_on.is_set()), AGAIN_SECONDS):
                    return
            self.act()


def _name(method: Callable[[], Any]) -> str:
    return getattr(method, "__name__", "stop")
