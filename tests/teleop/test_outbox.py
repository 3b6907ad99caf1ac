"""Messages that wait for a slow network: the newest frame, the newest of each name, and not too many of the others."""

from __future__ import annotations

import asyncio

import pytest

from serl_ray.teleop import outbox
from serl_ray.teleop.outbox import MOST_WAITING, Outbox


class Socket:
    """A connection whose other side reads when it is told to."""

    def __init__(self, reads=True):
        self.reads = asyncio.Event()
        self.sent, self.code = [], None
        if reads:
            self.reads.set()

    async def send_bytes(self, raw):
        await self.reads.wait()
        self.sent.append(raw)

    async def close(self, code, message, drain):
        self.code = code
        await self.reads.wait()


async def sent(socket):
    """What has been sent once there is nothing left to send."""
    socket.reads.set()
    for _ in range(50):
        await asyncio.sleep(0)
    return socket.sent


def test_of_what_can_be_replaced_the_newest_is_sent():
    async def run():
        socket = Socket()
        async with Outbox(socket) as box:
            for number in (b"1", b"2", b"3"):
                box.replace("state", b"state" + number)
                box.show(b"frame" + number)
            box.put(b"first")
            assert await sent(socket) == [b"first", b"state3"]
            box.credit()
            assert await sent(socket) == [b"first", b"state3", b"frame3"]

    asyncio.run(run())


def test_a_message_is_sent_after_the_command_that_came_before_it():
    async def run():
        socket = Socket()
        async with Outbox(socket) as box:
            box.replace("anna", b"command 1")
            box.replace("anna", b"command 2")
            box.put(b"press", after=("anna",))
            box.replace("anna", b"command 3")
            assert await sent(socket) == [b"command 2", b"press", b"command 3"]

    asyncio.run(run())


def test_what_is_replaced_is_sent_after_what_waited_before_it():
    async def run():
        socket = Socket()
        async with Outbox(socket) as box:
            box.replace("held", b"held 1")
            box.replace("released", b"released")
            box.replace("held", b"held 2")
            assert await sent(socket) == [b"released", b"held 2"], "the newest comes last"

    asyncio.run(run())


def test_what_is_forgotten_is_not_sent():
    async def run():
        socket = Socket()
        async with Outbox(socket) as box:
            box.replace("state", b"state")
            box.show(b"frame")
            box.forget("state")
            box.credit()
            assert await sent(socket) == []
            box.show(b"frame of another")
            assert await sent(socket) == [b"frame of another"]

    asyncio.run(run())


@pytest.mark.parametrize("closes", [True, False])
def test_a_reader_who_reads_no_more_is_cut_off(closes, monkeypatch):
    monkeypatch.setattr(outbox, "CLOSE_SECONDS", 0.01)

    async def run():
        socket = Socket(reads=False)
        async with Outbox(socket) as box:
            for _ in range(10 * MOST_WAITING):
                box.put(b"refused")
                await asyncio.sleep(0)
            assert socket.code == 4408
            if closes:
                assert await sent(socket) == []

    asyncio.run(run())
