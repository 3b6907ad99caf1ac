"""Calls to a trainer's workers, until one takes the robot."""

from __future__ import annotations

import asyncio
import errno
import inspect
import logging
from typing import Any, Sequence
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus, WebSocketException

from serl_robot.orders import PROTOCOL
from serl_robot.trainer import TOKEN_FILE, TOKEN_VARIABLE
from serl_robot.wire import MAX_BYTES, Message, WireError, unpack

logger = logging.getLogger(__name__)

OPEN_SECONDS = 3.0
"""Seconds for a connection to open, and for the trainer's first message."""
PING_SECONDS, PONG_SECONDS = 1.0, 5.0
"""Seconds between two pings, and for their answer; then the link is lost."""
UNPROXIED: dict[str, Any] = {"proxy": None} if "proxy" in inspect.signature(connect).parameters else {}
"""No proxy of the system's settings, which newer websockets use: trainer and robot are in one network."""


class Refused(Exception):
    """The trainer does not take this robot, and will not."""


class _Busy(Exception):
    """Another robot has this worker."""


class Dialler:
    """Calls of a robot.

    Args:
        urls: addresses in their order.
        token: token of the trainer.
        hello: first message, packed.
    """

    def __init__(self, urls: Sequence[str], token: str, hello: bytes) -> None:
        self._urls, self._token, self._hello = urls, token, hello
        self._told = ""

    async def call_all(self) -> ClientConnection | None:
        """The connection to the first worker that takes the robot; None where none does.

        Raises:
            Refused: the robot will never be taken.
        """
        failures = []
        for url in self._urls:
            try:
                socket = await self._call(url)
            except (_Busy, OSError, WebSocketException, asyncio.TimeoutError, ValueError) as error:
                failures.append(f"{url}: {_sentence(error)}")
                if not _leads_on(error):
                    break
            else:
                self._tell(f"The trainer at {url} has taken the robot.")
                return socket
        self._tell(f"No trainer takes the robot yet ({failures[0]}). Dialling until one does.")
        return None

    async def _call(self, url: str) -> ClientConnection:
        """The connection to a worker that has taken the robot."""
        parts = urlsplit(url)
        call = connect(
            url,
            additional_headers={"Authorization": f"Bearer {self._token}"},
            compression=None,
            max_size=MAX_BYTES,
            open_timeout=OPEN_SECONDS,
            close_timeout=1.0,
            ping_interval=PING_SECONDS,
            ping_timeout=PONG_SECONDS,
            host=parts.hostname,  # an address that is given keeps a redirect from taking the token elsewhere
            port=parts.port,
            **UNPROXIED,
        )
        try:
            socket = await call
        except InvalidStatus as error:
            if error.response.status_code in (401, 403):
                text = f"{url} refuses the token. Copy {TOKEN_FILE} of the trainer's computer to {TOKEN_FILE} here"
                raise Refused(f"{text}, or set {TOKEN_VARIABLE}.") from error
            raise
        try:
            await socket.send(self._hello)
            _check_welcome(unpack(_binary(await asyncio.wait_for(socket.recv(), OPEN_SECONDS))))
        except BaseException:
            await socket.close()
            raise
        return socket

    def _tell(self, text: str) -> None:
        """Logs a sentence, unless it was the last one."""
        if text != self._told:
            self._told = text
            logger.warning("%s", text)


def _check_welcome(message: Message) -> None:
    """Raises unless the trainer has taken the robot."""
    fields = message.fields
    if message.kind == "refused":
        reason = str(fields.get("reason", "without a reason"))[:1000]
        raise _Busy(reason) if fields.get("retry") is True else Refused(f"The trainer refuses the robot: {reason}")
    if message.kind != "welcome" or fields.get("protocol") != PROTOCOL:
        found = f"{message.kind!r:.40} of protocol {fields.get('protocol')!r:.20}"
        raise Refused(f"The trainer answers with {found}; this robot speaks {PROTOCOL}. Install the same release.")


def _binary(raw: Any) -> bytes:
    if not isinstance(raw, bytes):
        raise WireError("The trainer sent text; messages are binary.")
    return raw


def _leads_on(error: Exception) -> bool:
    """True for a failure after which the next port may do; a host that does not answer has no other ports."""
    if isinstance(error, asyncio.TimeoutError):
        return False
    return not isinstance(error, OSError) or f"Errno {errno.ECONNREFUSED}" in str(error)


def _sentence(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or ("no answer" if isinstance(error, asyncio.TimeoutError) else "closed")
