"""A client of the hub that drives a robot with devices at its own computer, by the side of browsers and before them."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import aiohttp

from serl_ray.teleop.devices.desk import Desk
from serl_ray.teleop.devices.hands import Grasp, Hands
from serl_ray.teleop.devices.motion import Device
from serl_ray.teleop.devices.ports import DeviceLost
from serl_ray.teleop.events import ClientRole
from serl_ray.teleop.hub import CLIENTS, HEARTBEAT_SECONDS
from serl_ray.teleop.wire import MAX_BYTES, Message, pack, unpack

TICK_SECONDS = 1 / 50
"""Seconds between two commands."""
ALIVE_SECONDS = 1.0
"""Seconds between two signs of life."""
REJOIN_SECONDS = 1.0
"""Seconds between tries to reach the hub, and to open a device."""
WRONG_SECRET = 4401
"""Code with which the hub closes the connection of a client with a wrong secret."""


class NotServed(ValueError):
    """A device cannot drive: the address is wrong, or the robot is not there."""


@dataclass(frozen=True)
class DeskAddress:
    """The address where devices join the hub.

    Attributes:
        url: address of the hub's socket.
        role: device, which outranks browsers, or operator.
        secret: secret of this role.
    """

    url: str
    role: str
    secret: str = field(repr=False)

    @classmethod
    def of(cls, page: str) -> DeskAddress:
        """The address in that of a page, which has the role and the secret behind the `#`.

        Raises:
            NotServed: it is no such address, or that of a viewer.
        """
        parts = urlsplit(page.strip())
        given = dict(parse_qsl(parts.fragment))
        role, secret = given.get("role", ""), given.get("secret", "")
        if parts.scheme not in ("http", "https") or not parts.netloc or not secret:
            raise NotServed("The address is not one that a run has printed: those end in #role=...&secret=....")
        if role not in (ClientRole.DEVICE, ClientRole.OPERATOR):
            raise NotServed(f"The address is for the role {role!r:.40}; give that of a device, or of an operator.")
        return cls(f"{parts.scheme.replace('http', 'ws', 1)}://{parts.netloc}{CLIENTS}", role, secret)


class DeviceClient:
    """Drives a robot until it is cancelled; it dials again where the hub is gone, and opens devices that come back.

    A device that is lost while it drives ends the connection without a hand-back, so that the robot holds.

    Args:
        address: address of the hub.
        devices: devices that are open; they are closed when this is cancelled.
        reopen: opens them again, or raises OSError while they are not there.
        grasp: use that is made of them.
        robot: name of the robot; empty for the only one.
        tell: prints a sentence for the person.
        clock: monotonic clock in seconds.
    """

    def __init__(
        self,
        address: DeskAddress,
        devices: Sequence[Device],
        reopen: Callable[[], Sequence[Device]],
        grasp: Grasp,
        robot: str = "",
        tell: Callable[[str], None] = print,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._address, self._grasp, self._robot = address, grasp, robot
        self._devices, self._reopen = devices, reopen
        self._tell, self._clock = tell, clock
        self._told = ""
        self._desk: Desk | None = None

    async def run(self) -> None:
        """Drives.

        Raises:
            NotServed: the secret is wrong, or several robots are there and none is named.
        """
        while True:
            try:
                await self._join()
                self._tell_once("The connection to the hub is gone; it is dialled again.")
            except DeviceLost as error:
                self._tell_once(str(error))
                close_devices(self._devices)
                self._devices = ()
                self._devices = await self._opened_again()
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                self._tell_once(f"The hub cannot be reached ({error}); it is dialled again.")
            except BaseException:
                close_devices(self._devices)
                raise
            await asyncio.sleep(REJOIN_SECONDS)

    async def _opened_again(self) -> Sequence[Device]:
        """The devices, as soon as they are there again."""
        while True:
            await asyncio.sleep(REJOIN_SECONDS)
            with suppress(OSError):
                return self._reopen()

    async def _join(self) -> None:
        """Drives for as long as there is a connection."""
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(self._address.url, heartbeat=HEARTBEAT_SECONDS, max_msg_size=MAX_BYTES) as socket,
        ):
            self._desk = None
            await _send(socket, [Message("hello", {"secret": self._address.secret, "role": self._address.role})])
            tasks = {asyncio.create_task(self._hear(socket)), asyncio.create_task(self._drive(socket))}
            try:
                done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                if not socket.closed and not any(_has_failed(task) for task in tasks):
                    await self._let_go(socket)
            for task in done:
                task.result()
            if socket.close_code == WRONG_SECRET:
                raise NotServed("The hub refuses the secret: take the address that this run has printed.")

    async def _hear(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        """Takes in what the hub sends, and answers it."""
        async for raw in socket:
            if raw.type is not aiohttp.WSMsgType.BINARY:
                continue
            message = unpack(raw.data)
            match message.kind:
                case "welcome":
                    await _send(socket, self._welcomed(message.fields))
                case "gone" if message.fields["robot"] == self._robot:
                    self._desk = None
                    self._tell(f"{self._robot} has left.")
                case "refused":
                    self._tell(f"The hub refuses a message: {message.fields['reason']}")
                case _ if self._desk:
                    await _send(socket, self._desk.hear(message))

    def _welcomed(self, fields: dict[str, Any]) -> list[Message]:
        """Chooses the robot, once it is there."""
        robots = fields["robots"]
        if self._desk:
            return []
        if not self._robot and len(robots) > 1:
            raise NotServed(f"There are the robots {', '.join(sorted(robots))}: name one by --robot.")
        name = self._robot or next(iter(robots), "")
        if name not in robots:
            self._tell_once(f"Waiting for {f'the robot {name}' if name else 'a robot'}.")
            return []
        self._robot = name
        hands = Hands(self._devices, self._grasp, robots[name]["arms"])
        hands.poll(self._clock())  # whose presses were made before there was anything to press them for
        self._desk = Desk(hands, fields["client"], name, robots[name], self._tell)
        self._tell_once(f"{name}: ready. Move a device to take control.")
        return [Message("watch", {"robot": name})]

    async def _drive(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        """Sends what the devices do."""
        alive_at = self._clock()
        while not socket.closed:
            now = self._clock()
            if self._desk:
                await _send(socket, self._desk.tick(now))
            if now >= alive_at:
                alive_at = now + ALIVE_SECONDS
                await _send(socket, [Message("alive")])
            await asyncio.sleep(TICK_SECONDS)

    async def _let_go(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        """Hands the robot back at the end."""
        with suppress(ConnectionError, TimeoutError):
            async with asyncio.timeout(REJOIN_SECONDS):
                await _send(socket, self._desk.let_go() if self._desk else [])

    def _tell_once(self, sentence: str) -> None:
        """Prints a sentence, unless it is the one that this printed last."""
        if sentence != self._told:
            self._told = sentence
            self._tell(sentence)


class DeviceThread:
    """A client with devices in a thread of its own, for a command that does something else."""

    def __init__(self, client: DeviceClient, tell: Callable[[str], None] = print) -> None:
        self._client, self._tell = client, tell
        self._loop = asyncio.new_event_loop()
        self._task = self._loop.create_task(self._run())
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=[self._task], name="devices")
        self._thread.daemon = True
        self._thread.start()

    def close(self) -> None:
        """Hands the robot back, and ends the thread."""
        self._loop.call_soon_threadsafe(self._task.cancel)
        self._thread.join(timeout=5.0)

    async def _run(self) -> None:
        try:
            await self._client.run()
        except asyncio.CancelledError:
            pass
        except NotServed as error:
            self._tell(f"The devices drive no more. {error}")


def close_devices(devices: Sequence[Device]) -> None:
    """Closes several devices."""
    for device in devices:
        device.close()


def _has_failed(task: asyncio.Task[None]) -> bool:
    return task.done() and not task.cancelled() and task.exception() is not None


async def _send(socket: aiohttp.ClientWebSocketResponse, messages: Sequence[Message]) -> None:
    for message in messages:
        await socket.send_bytes(pack(message))
