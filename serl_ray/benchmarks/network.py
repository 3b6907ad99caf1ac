"""A network between two programs of this computer that delays, stalls and breaks connections on command."""

from __future__ import annotations

import asyncio
import threading
from types import TracebackType
from typing import Self

READ_BYTES = 2**16
SET_UP_SECONDS = 10.0


class SlowNetwork:
    """Passes on what goes to a port of this computer and what comes from it, used as a context.

    Args:
        target: the port.
        delay: seconds that each byte is on its way, one way.

    Attributes:
        port: port to connect to instead.
        delay: the same, which may be changed at any time.
    """

    def __init__(self, target: int, delay: float = 0.0) -> None:
        self._target, self.delay = target, delay
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._flows = asyncio.Event()
        self._flows.set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="slow network", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self.port = asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(SET_UP_SECONDS)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(SET_UP_SECONDS)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(SET_UP_SECONDS)
        self._loop.close()

    def stall(self) -> None:
        """Keeps everything back from now on; nothing is lost, and connections stay open."""
        self._loop.call_soon_threadsafe(self._flows.clear)

    def flow(self) -> None:
        """Passes on what was kept back, and all that follows."""
        self._loop.call_soon_threadsafe(self._flows.set)

    def drop(self) -> None:
        """Breaks all connections; new ones may be made."""
        self._loop.call_soon_threadsafe(self._abort)

    async def _start(self) -> int:
        self._server = await asyncio.start_server(self._connect, "127.0.0.1", 0)
        return int(self._server.sockets[0].getsockname()[1])

    async def _end(self) -> None:
        self._server.close()
        self._abort()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _abort(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, back}
        for source, sink in ((reader, back), (there, writer)):
            for task in self._passing(source, sink):
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    def _passing(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> list[asyncio.Task[None]]:
        """The tasks of one direction: one takes what comes, the other one hands it on when it is due."""
        under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        return [asyncio.create_task(self._take(source, under_way)), asyncio.create_task(self._hand_on(under_way, sink))]

    async def _take(self, source: asyncio.StreamReader, under_way: asyncio.Queue[tuple[float, bytes]]) -> None:
        received = b" "
        while received:
            try:
                received = await source.read(READ_BYTES)
            except OSError:
                received = b""
            under_way.put_nowait((self._loop.time() + self.delay, received))

    async def _hand_on(self, under_way: asyncio.Queue[tuple[float, bytes]], sink: asyncio.StreamWriter) -> None:
        try:
            while True:
                due, received = await under_way.get()
                await asyncio.sleep(due - self._loop.time())
                await self._flows.wait()
                if not received:
                    return
                sink.write(received)
        finally:
            self._writers.discard(sink)
            sink.close()
