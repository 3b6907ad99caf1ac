"""Calls of an env's code that must not keep a robot's step waiting for ever."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Any


class BoundedCall:
    """A function that is called in a thread of its own, which is always the same one, and waited for a while.

    Once it has not answered in time, it is never called again.

    Args:
        function: function to call.
        seconds: longest wait for its result.
    """

    def __init__(self, function: Callable[..., Any], seconds: float) -> None:
        self._function, self._seconds = function, seconds
        self._requests: queue.SimpleQueue[tuple[Any, ...]] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[tuple[Any, Exception | None]] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._hangs = False

    def __call__(self, *args: Any) -> Any:
        """The result of the function, or what it raises.

        Raises:
            TimeoutError: it has not answered in time, now or earlier.
        """
        if not self._hangs:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="bounded call", daemon=True)
                self._thread.start()
            self._requests.put(args)
            try:
                result, error = self._answers.get(timeout=self._seconds)
            except queue.Empty:
                self._hangs = True
            else:
                if error is not None:
                    raise error
                return result
        raise TimeoutError(f"it has not answered for {self._seconds:g} s, and is not called again")

    def _run(self) -> None:
        while True:
            args = self._requests.get()
            try:
                self._answers.put((self._function(*args), None))
            except Exception as error:  # the env's code; the caller raises it
                self._answers.put((None, error))
