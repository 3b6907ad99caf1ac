"""The link of a robot to the hub: one thread, which sends the newest view and hands over what operators send."""

from __future__ import annotations

import asyncio
import io
import logging
import threading
from collections.abc import Callable
from typing import Any

import aiohttp
import numpy as np
from PIL import Image

from serl_ray.teleop.events import Client, ClientRole
from serl_ray.teleop.live import LiveFrames
from serl_ray.teleop.messages import (
    INTERRUPT,
    ROBOT_HEARTBEAT_SECONDS,
    WATCHED,
    command_of,
    fields_of,
    is_role,
    is_text,
    is_whole,
    pressed_of,
)
from serl_ray.teleop.views import View
from serl_ray.teleop.wire import MAX_BYTES, Message, WireError, pack, unpack
from serl_ray.teleop.wrapper import OperatedEnv

logger = logging.getLogger(__name__)

VIEW_SECONDS = 1 / 30
"""Least seconds between two views, whatever the rate of the robot's steps."""
STATE_SECONDS = 0.2
"""Seconds between two states while there is no new view."""
REDIAL_SECONDS = (0.5, 5.0)
"""Seconds before the first try to reach the hub again, and before all later ones."""
JPEG_QUALITY = 85
REFUSALS = {4401: "wrong secret", 4413: "too many robots, or too long a description"}
"""Codes with which the hub closes a connection, and does so again."""


class Link:
    """Link of one robot; it dials out, and again where the hub is gone.

    Args:
        env: env of the robot.
        name: name of the robot, unique in the hub.
        address: finds the hub: its `url`, such as `ws://HOST:PORT/robot`, and its `secret` for robots.
        described: what clients are told of the robot, as JSON.
    """

    def __init__(
        self, env: OperatedEnv, name: str, address: Callable[[], dict[str, str]], described: dict[str, Any]
    ) -> None:
        self._env, self._name, self._address, self._described = env, name, address, described
        self._clients: dict[str, Client] = {}
        self._live = LiveFrames.of(env)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name=f"link of {name}", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ends the link."""
        self._closing.set()
        if self._live is not None:
            self._live.close()
        self._thread.join(timeout=5.0)

    async def _run(self) -> None:
        pause = REDIAL_SECONDS[0]
        while not self._closing.is_set():
            try:
                address = self._address()
                async with (
                    aiohttp.ClientSession() as session,
                    session.ws_connect(
                        address["url"], heartbeat=ROBOT_HEARTBEAT_SECONDS, max_msg_size=MAX_BYTES
                    ) as socket,
                ):
                    await self._talk(socket, address["secret"])
                    if socket.close_code in REFUSALS:
                        logger.warning("The hub refuses the robot %s (%s).", self._name, REFUSALS[socket.close_code])
                    else:
                        pause = REDIAL_SECONDS[0]
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                logger.info("The hub cannot be reached (%s); the next try is in %g s.", error, pause)
            except Exception:  # a fault of ours must not leave the robot without its operators
                logger.exception("The link of %s has failed, and begins anew.", self._name)
            self._lose_clients()
            await asyncio.to_thread(self._closing.wait, pause)
            pause = REDIAL_SECONDS[1]

    async def _talk(self, socket: aiohttp.ClientWebSocketResponse, secret: str) -> None:
        """Sends and receives until the connection is closed, or one of both fails."""
        hello = {"secret": secret, "robot": self._name, "described": self._described}
        await socket.send_bytes(pack(Message("hello", hello)))
        tasks = {asyncio.create_task(self._send(socket)), asyncio.create_task(self._receive(socket))}
        done, running = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        for task in done:
            task.result()

    async def _receive(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        async for raw in socket:
            if raw.type is aiohttp.WSMsgType.BINARY:
                self._take(raw.data)

    async def _send(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        """Sends each new view while somebody looks, of several the newest, and now and then the state."""
        sent: View | None = None
        while not self._closing.is_set():
            view = await asyncio.to_thread(self._next_view, sent)
            if view is None:
                await socket.send_bytes(pack(self._state()))
                continue
            sent = view
            try:
                packed = pack(self._message(view))
            except WireError as error:
                logger.warning("Operators of %s do not see a frame. %s", self._name, error)
                continue
            await socket.send_bytes(packed)
            await asyncio.sleep(VIEW_SECONDS)
        await socket.send_bytes(pack(self._state()))  # what has come of it
        await socket.close()

    def _state(self) -> Message:
        return Message("state", {"robot": self._name, "state": self._env.state()})

    def _next_view(self, sent: View | None) -> View | None:
        """The newest view, as soon as somebody looks and it has not been sent; None where there is none for a while."""
        env = self._env
        with env.changed:
            is_wanted = env.changed.wait_for(
                lambda: env.watchers > 0 and (env.live or env.view) not in (None, sent), STATE_SECONDS
            )
            return env.live or env.view if is_wanted else None

    def _message(self, view: View) -> Message:
        actions = {"executed": view.executed, "policy": _finite(view.policy)}
        action = {name: None if value is None else np.asarray(value).tolist() for name, value in actions.items()}
        fields = {
            "robot": self._name,
            "frame": view.frame,
            "is_live": view.is_live,
            "seconds": view.seconds,
            "state": self._env.state(),
            "numbers": dict(view.numbers),
            "action": {"actor": view.actor, **action},
        }
        return Message("frame", fields, jpegs={key: _jpeg(image) for key, image in view.images.items()})

    def _take(self, raw: bytes) -> None:
        """Hands a client's message over to the session; one of another form is dropped, and named."""
        try:
            message = unpack(raw)
            if message.kind == INTERRUPT:
                if not self._env.session.hands_off:  # an evaluation may follow the last experience
                    self._env.interrupted.set()
                return
            if message.kind == WATCHED:
                self._watch(fields_of(message, watchers=is_whole)["watchers"])
                return
            names = {"client": message.fields.pop("client", None), "role": message.fields.pop("role", None)}
            who = fields_of(Message("relayed", names), client=is_text, role=is_role)
            self._hand_over(
                message, self._clients.setdefault(who["client"], Client(who["client"], ClientRole(who["role"])))
            )
        except WireError as error:
            logger.warning("A message from the hub is dropped. %s", error)

    def _hand_over(self, message: Message, client: Client) -> None:
        env, session, now = self._env, self._env.session, self._env.clock
        if message.kind == "press":
            env.pressed(pressed_of(message, client))
            return
        with env.changed:
            match message.kind:
                case "command":
                    session.command(command_of(message, client, self._described), now())
                case "alive":
                    session.alive(client, now())
                case "left":
                    session.left(client, now())
                    self._clients.pop(client.name)
                case kind:
                    raise WireError(f"A message is {kind!r:.40}, which is none of a client's.")
            env.changed.notify_all()

    def _watch(self, watchers: int) -> None:
        with self._env.changed:
            self._env.watchers = watchers
            self._env.changed.notify_all()

    def _lose_clients(self) -> None:
        with self._env.changed:
            for client in self._clients.values():
                self._env.session.left(client, self._env.clock())
            self._clients.clear()
            self._env.watchers = 0
            self._env.changed.notify_all()


def _finite(action: np.ndarray | None) -> np.ndarray | None:
    """The policy's action; None where it has numbers that JSON does not."""
    return action if action is not None and np.isfinite(action).all() else None


def _jpeg(image: np.ndarray) -> bytes:
    """An image (H, W, 3) or (H, W, 1) uint8 as JPEG."""
    file = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image[..., :3]).save(file, "JPEG", quality=JPEG_QUALITY)
    return file.getvalue()
