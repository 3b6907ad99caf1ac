"""The hub: robots and operators meet here, over websockets, and every message is passed on to the other side."""

from __future__ import annotations

import itertools
import logging
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from aiohttp import WSMsgType, hdrs, web

from serl_ray.teleop.events import Client, ClientRole
from serl_ray.teleop.fleet import RunCurves, Thumbnails
from serl_ray.teleop.keys import ROBOT_ROLE, HubKeys
from serl_ray.teleop.messages import (
    INTERRUPT,
    ROBOT_HEARTBEAT_SECONDS,
    Tab,
    command_of,
    fields_of,
    is_bool,
    is_robot,
    is_role,
    is_text,
    is_whole,
    pressed_of,
)
from serl_ray.teleop.outbox import Outbox, cut_off
from serl_ray.teleop.peers import ClientPeer, RobotPeer, count_watchers, described_robots, is_room_for, welcome
from serl_ray.teleop.sorting import Sorter
from serl_ray.teleop.sorting_routes import MAX_BODY, SortingRoutes
from serl_ray.teleop.throttle import Throttle, delay_refusal
from serl_ray.teleop.wire import MAX_BYTES, Message, WireError, pack, unpack

logger = logging.getLogger(__name__)

WEB = Path(__file__).parent / "web"
HELLO_SECONDS = 5.0
"""Seconds within which whoever connects must say who it is."""
HEARTBEAT_SECONDS = 1.0
"""Seconds between pings; a connection whose pong fails to come is closed."""
MAX_RATE = 200
"""Messages that a client may send in a second, in the mean over five."""
CLIENT_HELLO = {"secret": is_text, "role": is_role}
ROBOT_HELLO = {"secret": is_text, "robot": is_text, "described": is_robot}
CLIENTS, ROBOTS = "/ws", "/robot"
"""Paths of the sockets of clients and of robots."""
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' blob:; frame-ancestors 'none'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


class Hub:
    """The hub's application, for any aiohttp server.

    Args:
        keys: secrets of the roles.
        hosts: names of this machine that are answered, with any port, since a tunnel has one of its own; a page of
            another site that leads here by a name of its own has another one.
        hosts_for_robots: further names, which are answered to robots alone.
        tabs: tabs of the page that clients are offered, in their order.
        sorter: images that operators sort; None for none.

    Attributes:
        app: the application.
        refused: numbers of refused connections and messages, by reason.
    """

    def __init__(
        self,
        keys: HubKeys,
        hosts: set[str],
        hosts_for_robots: Collection[str] = (),
        tabs: Sequence[Tab] = ("drive", "fleet"),
        sorter: Sorter | None = None,
    ) -> None:
        self._tabs = list(tabs)
        self._keys, self._hosts, self._hosts_for_robots = keys, hosts, {*hosts, *hosts_for_robots}
        self._robots: dict[str, RobotPeer] = {}
        self._viewers: dict[str, ClientPeer] = {}
        self._numbers = itertools.count(1)
        self._is_interrupted = False
        self._curves = RunCurves()
        self._throttle = Throttle()
        self.refused: Counter[str] = Counter()
        self.app = web.Application(middlewares=[self._guard], client_max_size=MAX_BODY)
        self.app.add_routes([web.get("/", _index), web.get(CLIENTS, self._client), web.get(ROBOTS, self._robot)])
        if sorter:
            self.app.add_routes(SortingRoutes(sorter, keys, self.refused).routes())
        self.app.router.add_static("/", WEB)

    def interrupt_robots(self) -> None:
        """Tells all robots that the run ends, also those that come back later."""
        self._is_interrupted = True
        for robot in self._robots.values():
            robot.outbox.put(pack(Message(INTERRUPT)))

    def tell(self, name: str, result: Mapping[str, float]) -> None:
        """Tells clients a result of the run of this name; see `RunCurves`."""
        self._curves.add(name, result)
        raw = pack(self._curves.message())
        for viewer in self._viewers.values():
            viewer.outbox.replace("run", raw)

    @web.middleware
    async def _guard(self, request: web.Request, handler: Any) -> web.StreamResponse:
        """Answers requests for this host alone, and those of its own pages."""
        origin = request.headers.get("Origin")
        hosts = self._hosts_for_robots if request.path == ROBOTS else self._hosts
        # Without the header, aiohttp would ask the system for a name, and the hub would wait for the answer.
        is_ours = hdrs.HOST in request.headers and request.url.host in hosts
        if not is_ours or origin not in (None, f"http://{request.host}", f"https://{request.host}"):
            self.refused["origin" if is_ours else "host"] += 1
            raise web.HTTPForbidden(text="This host or origin is not served.")
        response: web.StreamResponse = await handler(request)
        if not response.prepared:
            response.headers.update(HEADERS)
        return response

    async def _hello(self, request: web.Request, socket: web.WebSocketResponse) -> Message | None:
        """The first message of a connection; None where it does not come, or its secret is wrong."""
        await socket.prepare(request)
        try:
            message = unpack(await socket.receive_bytes(timeout=HELLO_SECONDS))
            checks = ROBOT_HELLO if request.path == ROBOTS else CLIENT_HELLO
            role = fields_of(message, **checks).get("role", ROBOT_ROLE)
            if message.kind == "hello" and self._keys.fits(role, message.fields["secret"]):
                return message
        except (WireError, TypeError, TimeoutError):
            pass
        self.refused["secret"] += 1
        await delay_refusal()
        await cut_off(socket, 4401, b"The secret or the first message is wrong.")
        return None

    async def _client(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(heartbeat=HEARTBEAT_SECONDS, max_msg_size=MAX_BYTES)
        hello = await self._hello(request, socket)
        if hello is None:
            return socket
        client = Client(f"{hello.fields['role']}-{next(self._numbers)}", ClientRole(hello.fields["role"]))
        async with Outbox(socket) as outbox:
            viewer = self._viewers[client.name] = ClientPeer(client, outbox)
            try:
                self._welcome(viewer)
                outbox.put(pack(self._curves.message()))
                await self._serve(viewer, socket)
            finally:
                del self._viewers[client.name]
                self._throttle.forget(client.name)
                self._relay(viewer, Message("left"))
                self._count_watchers()
        return socket

    async def _serve(self, viewer: ClientPeer, socket: web.WebSocketResponse) -> None:
        async for raw in socket:
            if raw.type is not WSMsgType.BINARY or not self._throttle.counts(viewer.client.name, MAX_RATE):
                self.refused["rate or text"] += 1
                await cut_off(socket, 4400, b"Too many messages, or text.")
                return
            try:
                self._take(viewer, unpack(raw.data))
            except WireError as error:
                self.refused["message"] += 1
                viewer.outbox.put(pack(Message("refused", {"reason": str(error)})))

    def _take(self, viewer: ClientPeer, message: Message) -> None:
        """A message of a client; WireError for one that is not passed on."""
        if message.kind != "command" and (message.arrays or message.jpegs):
            raise WireError(f"A {message.kind!r:.40} message has no blobs.")
        match message.kind:
            case "watch":
                self._watch(viewer, fields_of(message, robot=is_text)["robot"])
            case "displayed":
                fields_of(message, frame=is_whole)
                viewer.outbox.credit()
            case "command" if robot := self._robots.get(viewer.robot):
                command_of(message, viewer.client, robot.described)
                self._relay(viewer, message)
            case "press" if viewer.robot in self._robots:
                pressed_of(message, viewer.client)
                self._relay(viewer, message)
            case "alive":
                fields_of(message)
                self._relay(viewer, message)
            case "fleet":
                self._look(viewer, fields_of(message, on=is_bool)["on"])
            case "seen":
                viewer.displayed(fields_of(message, robot=is_text)["robot"])
            case "command" | "press":
                raise WireError("The robot that you watch is not connected.")
            case kind:
                raise WireError(f"A message is {kind!r:.40}, which is none of a client's.")

    def _watch(self, viewer: ClientPeer, robot: str) -> None:
        if robot not in self._robots:
            raise WireError(f"There is no robot {robot!r:.60}.")
        if robot != viewer.robot:
            self._relay(viewer, Message("left"))
            viewer.outbox.forget("state")  # what waits is of the robot that was watched before
        viewer.robot = robot
        self._count_watchers()
        viewer.outbox.credit()
        if frame := self._robots[robot].frame:  # the robot may send no other for a long time
            viewer.outbox.show(frame)

    def _count_watchers(self) -> None:
        """Tells every robot how many clients look at it."""
        count_watchers(self._robots.values(), self._viewers.values())

    def _look(self, viewer: ClientPeer, is_on: bool) -> None:
        """A client looks at the fleet, or does so no more."""
        viewer.thumbnails = Thumbnails(viewer.outbox) if is_on else None
        self._count_watchers()
        for robot in self._robots.values():
            viewer.look(robot)

    def _relay(self, viewer: ClientPeer, message: Message) -> None:
        """Passes a client's message on to its robot; of several commands that wait, the newest goes of those that hold
        the clutch, and of those that do not, so that a clutch is seen released even over a slow network."""
        if robot := self._robots.get(viewer.robot):
            relayed = pack(Message(message.kind, {**message.fields, **viewer.who}, message.arrays))
            if message.kind == "command":
                robot.outbox.replace(viewer.waiting[message.fields["clutch"]], relayed)
            else:
                robot.outbox.put(relayed, after=viewer.waiting)

    async def _robot(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(heartbeat=ROBOT_HEARTBEAT_SECONDS, max_msg_size=MAX_BYTES)
        hello = await self._hello(request, socket)
        if hello is None:
            return socket
        name, described = hello.fields["robot"], hello.fields["described"]
        if not is_room_for({**described_robots(self._robots), name: described}, self._tabs):
            logger.warning(
                "The robot %s is sent away: there are too many robots, or its description is too long.", name
            )
            self.refused["robot"] += 1
            await cut_off(socket, 4413, b"There are too many robots, or the description is too long.")
            return socket
        async with Outbox(socket) as outbox:
            robot = self._robots[name] = RobotPeer(name, described, outbox)
            try:
                logger.debug("The robot %s is here.", name)
                self._welcome(*self._viewers.values())
                self._count_watchers()
                if self._is_interrupted:
                    outbox.put(pack(Message(INTERRUPT)))
                await self._hear(robot, socket)
            except WireError as error:
                logger.warning("The robot %s is sent away: its message cannot be read. %s", name, error)
            finally:
                self._lose(robot)
        return socket

    async def _hear(self, robot: RobotPeer, socket: web.WebSocketResponse) -> None:
        async for raw in socket:
            if raw.type is not WSMsgType.BINARY:
                raise WireError("It is text, or too long.")
            self._show(robot, raw.data)

    def _show(self, robot: RobotPeer, raw: bytes) -> None:
        """Passes a robot's view or state on to everybody who watches it."""
        kind = robot.keep(raw).kind
        for viewer in self._viewers.values():
            viewer.look(robot)
            if viewer.robot == robot.name:
                if kind == "frame":
                    viewer.outbox.show(raw)
                else:
                    viewer.outbox.replace("state", raw)

    def _lose(self, robot: RobotPeer) -> None:
        if self._robots.get(robot.name) is robot:  # one that has come back is another connection
            del self._robots[robot.name]
            for viewer in self._viewers.values():
                viewer.lose(robot)

    def _welcome(self, *viewers: ClientPeer) -> None:
        robots = described_robots(self._robots)
        for viewer in viewers:
            viewer.outbox.put(pack(welcome(viewer.who, robots, self._tabs)))


async def _index(request: web.Request) -> web.FileResponse:
    return web.FileResponse(WEB / "index.html")
