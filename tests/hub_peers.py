"""Clients and robots of a hub, which speak its protocol over a real socket."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine
from queue import Queue
from typing import Any
from urllib.parse import parse_qsl

import aiohttp
import numpy as np

from serl_ray.teleop.hub import CLIENTS
from serl_ray.teleop.wire import MAX_BYTES, Message, pack, unpack

SECONDS = 120.0
"""Seconds after which a test that still waits has failed."""
ROBOT = {"action_dim": 7, "arms": 1, "references": ["base"]}
"""Description of a robot of one arm and one gripper."""
JPEG = b"\xff\xd8\xff" + bytes(100)
LOOP = asyncio.new_event_loop()
threading.Thread(target=LOOP.run_forever, name="peers", daemon=True).start()


def in_loop(coroutine: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run_coroutine_threadsafe(coroutine, LOOP).result(SECONDS)


def until(condition: Callable[[], Any]) -> None:
    """Waits until something is so that another thread brings about."""
    ends = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < ends, "it has not come to pass"
        time.sleep(0.005)


class Peer:
    """A connection to a hub, whose messages are read at once and kept."""

    def __init__(self, url: str, headers: dict[str, str] | None = None) -> None:
        self.inbox: Queue[Message | None] = Queue()
        in_loop(self._open(url, headers))

    async def _open(self, url: str, headers: dict[str, str] | None) -> None:
        self._session = aiohttp.ClientSession()
        try:
            self._socket = await self._session.ws_connect(url, headers=headers, max_msg_size=MAX_BYTES)
        except aiohttp.ClientError:
            await self._session.close()
            raise
        self._reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        async for raw in self._socket:
            self.hear(unpack(raw.data))
        self.inbox.put(None)
        await self._session.close()

    def hear(self, message: Message) -> None:
        """A message has come; called in the thread of all peers."""
        self.inbox.put(message)

    def send(self, kind: str, arrays: dict[str, np.ndarray] | None = None, **fields: Any) -> None:
        self.send_raw(pack(Message(kind, fields, arrays or {})))

    def send_raw(self, raw: bytes | str) -> None:
        in_loop(self._socket.send_str(raw) if isinstance(raw, str) else self._socket.send_bytes(raw))

    def next(self, kind: str) -> Message:
        """The next message of a kind; those before it are dropped."""
        ends = time.monotonic() + SECONDS
        while (message := self.inbox.get(timeout=max(ends - time.monotonic(), 0.001))) is not None:
            if message.kind == kind:
                return message
        raise AssertionError(f"The hub has closed the connection ({self._socket.close_code}).")

    def close_code(self) -> int | None:
        """The code with which the hub closes the connection; waits for it."""
        while self.inbox.get(timeout=SECONDS) is not None:
            pass
        return self._socket.close_code

    def close(self) -> None:
        in_loop(self._socket.close())
        in_loop(self._session.close())


class HubClient(Peer):
    """A client, by the address of its page.

    Attributes:
        name: its name, given by the hub.
        robots: newest descriptions of the robots by name.
        tabs: tabs that the hub offers.
        state: newest state of the robot that it watches.
        frame: number of the newest frame that came.
    """

    def __init__(self, page: str) -> None:
        self.state: dict[str, Any] = {}
        self.robots: dict[str, Any] = {}
        self.frame = 0
        address, _, fragment = page.partition("/#")
        super().__init__(address.replace("http", "ws", 1) + CLIENTS, {"Origin": address})
        self.send("hello", **dict(parse_qsl(fragment)))
        welcome = self.next("welcome").fields
        self.name, self.tabs = welcome["client"], welcome["tabs"]

    def hear(self, message: Message) -> None:
        if message.kind == "welcome":
            self.robots = message.fields["robots"]
        if message.kind in ("frame", "state"):
            self.state = message.fields["state"]
        if message.kind == "frame":
            self.frame = message.fields["frame"]
        super().hear(message)

    def watch(self, robot: str) -> Message:
        """The first frame of a robot, which the client displays from now on."""
        self.send("watch", robot=robot)
        return self.next("frame")

    def display(self) -> None:
        self.send("displayed", frame=self.frame)

    def request(self) -> None:
        """Asks for control, and waits until it has it."""
        self.press("request")
        until(lambda: self.state.get("holder") == self.name)

    def press(self, press: str, **fields: Any) -> None:
        self.send("press", press=press, **{"epoch": self.state.get("epoch", 0), "frame": self.frame, **fields})

    def command(self, clutch: bool, action: np.ndarray, **fields: Any) -> None:
        self._command({"action": action}, clutch, fields)

    def twist(self, clutch: bool, twist: np.ndarray, arm: int = 0, reference: str = "base", **fields: Any) -> None:
        self._command({"twist": twist}, clutch, {"arm": arm, "reference": reference, **fields})

    def _command(self, motion: dict[str, np.ndarray], clutch: bool, fields: dict[str, Any]) -> None:
        shown = {"epoch": self.state.get("epoch", 0), "frame": self.frame, "source": "keyboard", "tail": False}
        self.send("command", motion, clutch=clutch, **{**shown, **fields})


class FakeRobot(Peer):
    """A robot without an env."""

    def __init__(self, address: dict[str, str], name: str = "fake", **described: Any) -> None:
        self.name = name
        super().__init__(address["url"])
        self.send("hello", secret=address["secret"], robot=name, described={**ROBOT, **described})

    def show(self, frame: int) -> None:
        message = Message("frame", {"robot": self.name, "frame": frame, "state": {}}, jpegs={"front": JPEG})
        self.send_raw(pack(message))

    def say(self, **state: Any) -> None:
        self.send("state", robot=self.name, state=state)
