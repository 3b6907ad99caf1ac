"""Clients of a hub, which answer every frame at once, behind a network that may be slow."""

from __future__ import annotations

import asyncio
import multiprocessing
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from urllib.parse import parse_qsl, urlsplit

import numpy as np
from aiohttp import ClientConnectionError, ClientSession

from serl_ray.teleop.server import THIS_MACHINE
from serl_ray.teleop.twists import TWIST_DIM, Reference
from serl_ray.teleop.wire import Message, pack, unpack


@contextmanager
def answering(page: str, robot: str, delay: float = 0.0) -> Iterator[None]:
    """A client in a process of its own, as a browser is, with control of a robot but its clutch released.

    Args:
        page: address of the hub's page, with the secret of the client's role.
        robot: name of the robot to watch.
        delay: seconds that the network adds in each direction.
    """
    client = multiprocessing.get_context("spawn").Process(target=_answer_always, args=[page, robot, delay], daemon=True)
    client.start()
    try:
        yield
    finally:
        client.kill()
        client.join()


def _answer_always(page: str, robot: str, delay: float) -> None:
    with suppress(ClientConnectionError):
        asyncio.run(_answer(page, robot, delay))


async def _answer(page: str, robot: str, delay: float) -> None:
    """Watches a robot, asks for control where it may, and answers every frame by a command, until the hub is gone."""
    address = urlsplit(page)
    network = await asyncio.start_server(lambda r, w: _forward(r, w, address.port, delay), THIS_MACHINE, 0)
    port = network.sockets[0].getsockname()[1]
    hello = dict(parse_qsl(address.fragment))
    async with ClientSession() as http, http.ws_connect(f"http://{THIS_MACHINE}:{port}/ws") as socket:
        await socket.send_bytes(pack(Message("hello", hello)))
        async for raw in socket:
            for message in _answers(unpack(raw.data), robot, hello["role"]):
                await socket.send_bytes(pack(message))


def _answers(message: Message, robot: str, role: str) -> Sequence[Message]:
    """The client's answers to a message of the hub."""
    fields = message.fields
    if message.kind == "welcome":
        return [Message("watch", {"robot": robot})] if robot in fields["robots"] else []
    if message.kind != "frame":
        return [Message("alive")] if message.kind == "state" else []
    frame, epoch = fields["frame"], fields["state"]["epoch"]
    displayed = Message("displayed", {"frame": frame})
    if role == "viewer":
        return [displayed, Message("alive")]
    request = Message("press", {"epoch": epoch, "frame": frame, "press": "request"})
    device = {"epoch": epoch, "frame": frame, "clutch": False, "source": "benchmark", "tail": False}
    twist = {"arm": 0, "reference": Reference.BASE.value}
    command = Message("command", device | twist, {"twist": np.zeros(TWIST_DIM, np.float32)})
    return [displayed, command if fields["state"]["holder"] else request]


async def _forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int, delay: float) -> None:
    """Forwards a connection, each piece of it later by `delay` seconds."""
    upstream_reader, upstream_writer = await asyncio.open_connection(THIS_MACHINE, port)
    await asyncio.gather(_pipe(reader, upstream_writer, delay), _pipe(upstream_reader, writer, delay))


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay: float) -> None:
    loop = asyncio.get_running_loop()
    with suppress(ConnectionError):
        while piece := await reader.read(2**16):
            loop.call_later(delay, writer.write, piece)
    loop.call_later(delay, writer.close)
