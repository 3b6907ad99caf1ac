"""Messages that wait to be sent over one connection; a slow network costs frames, and never grows a queue."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Collection
from contextlib import suppress
from types import TracebackType
from typing import Self

from aiohttp import web

MOST_WAITING = 200
"""Messages that may wait in their order; a connection with more is closed."""
CLOSE_SECONDS = 2.0
"""Seconds that the other side of a connection has to close it as well."""


class Outbox:
    """Sender of one connection, used as a context.

    Messages of `put` are all sent in their order. Of `replace` the newest under each name is. A frame of `show` is sent
    when the other side has displayed the one before it.

    Args:
        socket: the connection.
    """

    def __init__(self, socket: web.WebSocketResponse) -> None:
        self._socket = socket
        self._ordered: deque[bytes] = deque()
        self._newest: dict[str, bytes] = {}
        self._frame: bytes | None = None
        self._may_show = self._is_full = False
        self._wakes = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._sender = asyncio.create_task(self._send())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._sender.cancel()
        await asyncio.gather(self._sender, return_exceptions=True)

    def put(self, raw: bytes, after: Collection[str] = ()) -> None:
        """Sends a message after those that wait, of the replaceable ones after those of the names `after`."""
        if self._is_full:
            return  # the connection is being closed
        for name in [name for name in self._newest if name in after]:
            self._ordered.append(self._newest.pop(name))
        self._ordered.append(raw)
        self._wakes.set()
        if len(self._ordered) > MOST_WAITING:
            self._is_full = True
            self._ordered.clear()
            self._sender.cancel()  # it may wait for ever for a reader who reads no more
            self._sender = asyncio.create_task(cut_off(self._socket, 4408, b"Too many messages wait."))

    def replace(self, name: str, raw: bytes) -> None:
        """Sends a message in place of one that waits under the same name, after those of other names."""
        self._newest.pop(name, None)
        self._newest[name] = raw
        self._wakes.set()

    def show(self, raw: bytes) -> None:
        """Sends a frame as soon as there is credit for it, unless a newer one comes before."""
        self._frame = raw
        self._wakes.set()

    def credit(self) -> None:
        """The other side has displayed its frame."""
        self._may_show = True
        self._wakes.set()

    def forget(self, name: str) -> None:
        """Drops the frame that waits, and what waits under a name."""
        self._frame = None
        self._newest.pop(name, None)

    async def _send(self) -> None:
        while True:
            await self._wakes.wait()
            self._wakes.clear()
            while (raw := self._next()) is not None:
                try:
                    await self._socket.send_bytes(raw)
                except (ConnectionError, RuntimeError):  # closed; whoever reads from it ends
                    return

    def _next(self) -> bytes | None:
        if self._ordered:
            return self._ordered.popleft()
        if self._newest:
            return self._newest.pop(next(iter(self._newest)))
        if self._frame is not None and self._may_show:
            frame, self._frame, self._may_show = self._frame, None, False
            return frame
        return None


async def cut_off(socket: web.WebSocketResponse, code: int, reason: bytes) -> None:
    """Closes a connection, also where the other side reads nothing any more."""
    with suppress(TimeoutError):
        async with asyncio.timeout(CLOSE_SECONDS):
            await socket.close(code=code, message=reason, drain=False)
