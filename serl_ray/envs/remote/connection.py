"""A connection to a robot: what its env is asked, and the answers, which another thread receives."""

from __future__ import annotations

import asyncio
import itertools
import logging
import math
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, get_args

import numpy as np
from aiohttp import WebSocketError, WSMsgType, web

from serl_ray.data.episodes import EnvFault, FaultKind
from serl_ray.envs.remote.hello import RobotHello
from serl_ray.teleop.messages import fields_of, is_bool, is_whole
from serl_ray.teleop.outbox import Outbox
from serl_ray.teleop.wire import Message, WireError, pack, unpack

logger = logging.getLogger(__name__)

SILENCE_SECONDS = 5.0
"""Seconds without a message of the robot's control loop, outside of its steps and resets, after which it is lost."""
QUESTIONS = {
    "reset": ("started", "fault"),
    "step": ("result", "late", "fault"),
    "look": ("views",),
    "twist": ("numbers",),
}
"""Messages that a robot answers, and the kinds of their answers."""
MOVES = ("reset", "step")
"""Those during which a robot's control loop cannot send a sign of life."""


class RobotConnection:
    """A robot that a worker has taken.

    `ask` and `tell` may be called from any thread, `hear` in that of the listener.

    Args:
        hello: what the robot has said of itself.
        outbox: sender of the connection.
        loop: loop of the listener.
    """

    def __init__(self, hello: RobotHello, outbox: Outbox, loop: asyncio.AbstractEventLoop) -> None:
        self.hello, self._outbox, self._loop = hello, outbox, loop
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._answers: dict[int, tuple[str, Future[Message]]] = {}
        self._moving: set[int] = set()
        self._loss: str | None = None

    @property
    def is_lost(self) -> bool:
        """True once the connection is over."""
        return self._loss is not None

    def tell(self, kind: str) -> None:
        """Sends a message that has no answer; a lost robot has stopped by itself, and gets none."""
        self._send(Message(kind))

    def ask(
        self, kind: str, arrays: dict[str, np.ndarray] | None = None, seconds: float | None = None, **fields: Any
    ) -> Message:
        """The answer to a question.

        Args:
            kind: one of `QUESTIONS`.
            arrays: its arrays.
            seconds: time limit; None to wait as long as the connection lasts.
            fields: its fields.

        Raises:
            EnvFault: the robot is lost, or was before.
            TimeoutError: there was no answer in time.
        """
        answer: Future[Message] = Future()
        with self._lock:
            if self._loss is not None:
                raise self._fault()
            number = next(self._numbers)
            self._answers[number] = kind, answer
            if kind in MOVES:
                self._moving.add(number)
        try:
            self._send(Message(kind, {"number": number, **fields}, arrays or {}))
            return answer.result(seconds)
        finally:
            with self._lock:
                self._answers.pop(number, None)

    async def hear(self, socket: web.WebSocketResponse) -> str:
        """Receives until the connection ends; returns why it did.

        Raises:
            WireError: the robot sent what is no message of this protocol.
        """
        while True:
            try:
                raw = await socket.receive(SILENCE_SECONDS)
            except TimeoutError:
                if self._moving:  # the deadlines of steps and resets apply, and pings tell a dead network
                    continue
                return f"its control loop has sent nothing for {SILENCE_SECONDS:g} s"
            if raw.type is WSMsgType.BINARY:
                self._take(unpack(raw.data))
            elif raw.type is WSMsgType.TEXT:
                raise WireError("It is text.")
            else:
                error = socket.exception()
                return str(error) if isinstance(error, WebSocketError) else "its connection is closed"

    def lose(self, cause: str) -> None:
        """The connection is over; all that wait for an answer are told."""
        with self._lock:
            self._loss = cause
            waiting, self._answers = self._answers, {}
        for _, answer in waiting.values():
            answer.set_exception(self._fault())

    def _fault(self) -> EnvFault:
        return EnvFault(
            "lost",
            f"The link to the robot {self.hello.name} is lost ({self._loss}); it has stopped by itself, and the next "
            "episode begins when it is back.",
        )

    def _send(self, message: Message) -> None:
        if not self.is_lost:
            with suppress(RuntimeError):  # the listener is closed, and whoever waits for an answer is told
                self._loop.call_soon_threadsafe(self._outbox.put, pack(message))

    def _take(self, message: Message) -> None:
        if message.kind == "alive":
            fields_of(message)
            return
        check_answer(message)
        number = message.fields["number"]
        with self._lock:
            self._moving.discard(number)
            asked = self._answers.get(number)
            if asked is not None and message.kind not in QUESTIONS[asked[0]]:
                raise WireError(f"It answers a {asked[0]} with {message.kind!r}.")
            self._answers.pop(number, None)
        if asked is not None:  # somebody still waits for it
            asked[1].set_result(message)


def check_answer(message: Message) -> None:
    """Raises WireError for a message that no robot of this protocol sends."""
    checks = FIELDS.get(message.kind)
    if checks is None:
        raise WireError(f"It is {message.kind!r:.40}; a robot sends alive, {', '.join(FIELDS)}.")
    if message.jpegs:
        raise WireError(f"A {message.kind!r} message has JPEGs; images are sent as arrays.")
    there = [name for name in checks if (message.kind, name) not in OPTIONAL_FIELDS or name in message.fields]
    fields_of(message, **{name: checks[name] for name in there})


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_seconds(value: Any) -> bool:
    return _is_number(value) and value >= 0


def _is_sentence(value: Any) -> bool:
    return isinstance(value, str)


def _is_info(value: Any) -> bool:
    return isinstance(value, dict)


OPTIONAL_FIELDS = {("fault", "kind"), ("views", "text"), ("numbers", "text")}
"""Fields that an answer may lack."""
FIELDS: dict[str, dict[str, Callable[[Any], bool]]] = {
    "started": {"number": is_whole, "info": _is_info},
    "result": {
        "number": is_whole,
        "info": _is_info,
        "reward": _is_number,
        "terminated": is_bool,
        "truncated": is_bool,
        "step_seconds": _is_seconds,
    },
    "late": {"number": is_whole, "seconds": _is_seconds},
    "fault": {"number": is_whole, "text": _is_sentence, "kind": lambda value: value in get_args(FaultKind)},
    "views": {"number": is_whole, "text": _is_sentence},
    "numbers": {"number": is_whole, "text": _is_sentence},
}
"""Checks of the fields of each kind of answer."""
