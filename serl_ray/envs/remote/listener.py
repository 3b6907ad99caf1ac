"""The listener of a rollout worker: one robot dials in at a time, and again after a loss."""

from __future__ import annotations

import asyncio
import errno
import hmac
import logging
import threading
from collections import Counter
from collections.abc import Sequence

from aiohttp import hdrs, web

from serl_ray.envs.remote.connection import RobotConnection
from serl_ray.envs.remote.hello import PROTOCOL, RobotHello, RobotRefused
from serl_ray.teleop.hub import HELLO_SECONDS, ROBOTS
from serl_ray.teleop.messages import ROBOT_HEARTBEAT_SECONDS
from serl_ray.teleop.outbox import Outbox, cut_off
from serl_ray.teleop.throttle import delay_refusal
from serl_ray.teleop.wire import MAX_BYTES, Message, WireError, pack, unpack
from serl_ray.utils.errors import SetupError

logger = logging.getLogger(__name__)

NUM_PORTS = 16
"""Ports from the first one that the workers of a computer may have; robots dial all of them."""
FAREWELL_SECONDS = 3.0
"""Seconds for a robot to close its connection when the run is over."""
BIND_SECONDS = 10.0


class RobotListener:
    """Listens in a thread of its own, until it is closed.

    Args:
        host: address to listen on.
        port: first port to try; the next ones are for further workers.
        setup_mode: set-up of the run, which must be the robot's.
        token: token that a robot must have.
        version: version of serl_ray, for the robot's log.

    Raises:
        SetupError: neither port can be had.

    Attributes:
        port: port that it listens on.
        refused: numbers of refused calls, by reason.
    """

    def __init__(self, host: str, port: int, setup_mode: str, token: str, version: str) -> None:
        self._setup_mode, self._header = setup_mode, f"Bearer {token}".encode()
        self._version = version
        self.refused: Counter[str] = Counter()
        self._changed = threading.Condition()
        self._connection: RobotConnection | None = None
        self._first: RobotHello | None = None
        self._is_closed = False
        self._said: set[str] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="robot listener", daemon=True)
        self._thread.start()
        try:
            ports = range(port, min(port + NUM_PORTS, 2**16))
            self.port = asyncio.run_coroutine_threadsafe(self._listen(host, ports), self._loop).result(BIND_SECONDS)
        except BaseException:
            self._end()
            raise

    @property
    def connection(self) -> RobotConnection | None:
        """The robot that is connected; None without one."""
        with self._changed:
            return self._connection

    def wait(self, seconds: float) -> RobotConnection | None:
        """The robot, once it is connected; None if there is none within some seconds."""
        with self._changed:
            self._changed.wait_for(lambda: self._connection is not None or self._is_closed, seconds)
            return self._connection

    def close(self) -> None:
        """Tells the robot that the run is over, and ends the thread; a second call does nothing."""
        with self._changed:
            if self._is_closed:
                return
            self._is_closed = True
            self._changed.notify_all()
            if self._connection is not None:
                self._connection.tell("close")
                self._changed.wait_for(lambda: self._connection is None, FAREWELL_SECONDS)
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result(BIND_SECONDS)
        self._end()

    async def _listen(self, host: str, ports: Sequence[int]) -> int:
        """Listens on the first port that is free, and returns it."""
        app = web.Application()
        app.add_routes([web.get(ROBOTS, self._robot)])
        self._runner = web.AppRunner(app, shutdown_timeout=1.0, access_log=None)
        await self._runner.setup()
        for port in ports:
            try:
                await web.TCPSite(self._runner, host, port).start()
            except OSError as error:
                if error.errno == errno.EADDRINUSE:
                    continue
                await self._runner.cleanup()
                raise SetupError(
                    f"No robot can be awaited at {host}:{port} ({error.strerror}). Set env_kwargs host to an address "
                    "of this computer, and port to one from 1024."
                ) from error
            return int(self._runner.addresses[-1][1])
        await self._runner.cleanup()
        raise SetupError(
            f"Ports {ports[0]} to {ports[-1]} of {host} are all in use, and this worker needs one for its robot. End "
            "what has them (ss -ltnp), or set env_kwargs port to another first port."
        )

    async def _robot(self, request: web.Request) -> web.StreamResponse:
        given = request.headers.get(hdrs.AUTHORIZATION, "").encode(errors="replace")
        if not hmac.compare_digest(given, self._header):
            self._refuse("token", f"Somebody at {request.remote} dialled with a wrong token, and was sent away.")
            await delay_refusal()
            raise web.HTTPUnauthorized(text="The token is wrong.")
        socket = web.WebSocketResponse(
            heartbeat=ROBOT_HEARTBEAT_SECONDS, max_msg_size=MAX_BYTES, compress=False, timeout=FAREWELL_SECONDS
        )
        await socket.prepare(request)
        try:
            hello = await self._welcome(socket)
        except RobotRefused as refusal:
            await _send_away(socket, refusal)
            return socket
        async with Outbox(socket) as outbox:
            connection = self._take(RobotConnection(hello, outbox, self._loop))
            outbox.put(pack(Message("welcome", {"protocol": PROTOCOL, "version": self._version})))
            cause = "this worker ends"
            try:
                cause = await connection.hear(socket)
            except WireError as error:
                cause = f"it sent a message that cannot be taken: {error}"
                self.refused["message"] += 1
                await _send_away(socket, RobotRefused(cause, may_retry=True))
            finally:
                self._lose(connection, cause)
        return socket

    async def _welcome(self, socket: web.WebSocketResponse) -> RobotHello:
        """The hello of a robot that can be taken now; RobotRefused for any other."""
        try:
            hello = RobotHello.of(unpack(await socket.receive_bytes(timeout=HELLO_SECONDS)))
            hello.check_setup(self._setup_mode)
            if self._first is not None:
                hello.check_same(self._first)
        except (WireError, TypeError, TimeoutError) as error:
            reason = f"The first message is no hello of a robot: {error or 'it did not come'}"
            self._refuse("hello", f"A robot was sent away. {reason}")
            raise RobotRefused(reason) from error
        except RobotRefused as refusal:
            self._refuse("robot", f"A robot was sent away. {refusal}")
            raise
        if self._connection is not None or self._is_closed:
            self.refused["busy"] += 1
            raise RobotRefused(f"This worker has the robot {self._name()} already.", may_retry=True)
        return hello

    def _take(self, connection: RobotConnection) -> RobotConnection:
        hello, is_back = connection.hello, self._first is not None
        with self._changed:
            self._connection, self._first = connection, self._first or hello
            self._changed.notify_all()
        logger.warning(
            "The robot %s is %s (port %d, %g Hz).", hello.name, "back" if is_back else "here", self.port, hello.hz
        )
        return connection

    def _lose(self, connection: RobotConnection, cause: str) -> None:
        with self._changed:
            self._connection = None
            connection.lose(cause)
            self._changed.notify_all()
            if not self._is_closed:
                logger.warning("The robot %s is lost: %s. It stops by itself.", connection.hello.name, cause)

    def _refuse(self, reason: str, sentence: str) -> None:
        """Counts a refusal, and says it once."""
        self.refused[reason] += 1
        if sentence not in self._said:
            self._said.add(sentence)
            logger.warning("%s", sentence)

    def _name(self) -> str:
        return self._connection.hello.name if self._connection else "of a run that ends"

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=BIND_SECONDS)
        self._loop.close()


async def _send_away(socket: web.WebSocketResponse, refusal: RobotRefused) -> None:
    """Tells a robot why it is not taken, and closes its connection."""
    try:
        await socket.send_bytes(pack(Message("refused", {"reason": str(refusal), "retry": refusal.may_retry})))
    except ConnectionError:  # it has gone already
        return
    await cut_off(socket, 4400, b"refused")
