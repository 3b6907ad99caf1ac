"""A network that stalls."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

from hub_peers import LOOP, in_loop


class StallingProxy:
    """Passes on what goes to a port of this machine and what comes from it, unless it stalls; nothing is lost.

    Attributes:
        port: port to connect to instead.
    """

    def __init__(self, target: int) -> None:
        self._target, self._tasks = target, set[asyncio.Task[None]]()
        self._flows = asyncio.Event()

    def __enter__(self) -> Self:
        in_loop(self._start())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        in_loop(self._end())

    def stall(self) -> None:
        LOOP.call_soon_threadsafe(self._flows.clear)

    def flow(self) -> None:
        """Passes on what has come meanwhile, and all that follows."""
        LOOP.call_soon_threadsafe(self._flows.set)

    async def _start(self) -> None:
        self._flows.set()
        self._server = await asyncio.start_server(self._connect, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _end(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self._target)
        for source, sink in ((reader, back), (there, writer)):
            self._tasks.add(asyncio.create_task(self._pass_on(source, sink)))

    async def _pass_on(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while received := await source.read(65536):
                await self._flows.wait()
                sink.write(received)
        finally:
            sink.close()
