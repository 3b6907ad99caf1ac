"""The robots and clients that are connected to a hub."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from serl_ray.teleop.events import Client
from serl_ray.teleop.fleet import Thumbnails
from serl_ray.teleop.messages import MAX_TEXT, WATCHED, Tab
from serl_ray.teleop.outbox import Outbox
from serl_ray.teleop.wire import Message, WireError, pack, unpack


class RobotPeer:
    """A robot that is connected.

    Attributes:
        frame: its newest frame as it came; None before the first.
        newest: its newest view and state, for thumbnails.
        watchers: number of clients that look at it; None before it has been told.
    """

    def __init__(self, name: str, described: dict[str, Any], outbox: Outbox) -> None:
        self.name, self.described, self.outbox = name, described, outbox
        self.frame: bytes | None = None
        self.newest = Message("thumbnail", {"robot": name})
        self.watchers: int | None = None

    def keep(self, raw: bytes) -> Message:
        """Keeps a message of the robot, and returns it; WireError for one that cannot be read."""
        message = unpack(raw)
        is_frame = message.kind == "frame"
        if is_frame:
            self.frame = raw
        fields = {**self.newest.fields, **message.fields, "robot": self.name}
        self.newest = Message("thumbnail", fields, jpegs=message.jpegs if is_frame else self.newest.jpegs)
        return message

    def tell_watchers(self, watchers: int) -> None:
        """Tells the robot how many clients look at it, where that has changed."""
        if watchers != self.watchers:
            self.watchers = watchers
            self.outbox.replace(WATCHED, pack(Message(WATCHED, {"watchers": watchers})))


class ClientPeer:
    """A client that is connected.

    Attributes:
        robot: name of the robot that it watches; empty for none.
        thumbnails: thumbnails of all robots, where it looks at the fleet; else None.
    """

    def __init__(self, client: Client, outbox: Outbox) -> None:
        self.client, self.outbox, self.robot = client, outbox, ""
        self.thumbnails: Thumbnails | None = None

    def look(self, robot: RobotPeer) -> None:
        """Looks at a robot's newest view, if the client looks at the fleet."""
        if self.thumbnails:
            self.thumbnails.offer(robot.name, robot.newest)

    def displayed(self, robot: str) -> None:
        """The client has displayed its thumbnail of a robot."""
        if self.thumbnails:
            self.thumbnails.displayed(robot)

    def lose(self, robot: RobotPeer) -> None:
        """A robot is not there any more."""
        self.outbox.put(pack(Message("gone", {"robot": robot.name})))
        if self.thumbnails:
            self.thumbnails.lose(robot.name)

    def sees(self, robot: RobotPeer) -> bool:
        """True if the client looks at a robot, which it may not be driving."""
        return self.robot == robot.name or self.thumbnails is not None

    @property
    def who(self) -> dict[str, str]:
        """The client's name and role, as fields of a message."""
        return {"client": self.client.name, "role": self.client.role.value}

    @property
    def waiting(self) -> tuple[str, str]:
        """The names under which the client's commands wait without and with the clutch."""
        return f"{self.client.name} released", f"{self.client.name} held"


def count_watchers(robots: Iterable[RobotPeer], clients: Iterable[ClientPeer]) -> None:
    """Tells every robot how many clients look at it."""
    clients = list(clients)
    for robot in robots:
        robot.tell_watchers(sum(client.sees(robot) for client in clients))


def described_robots(robots: Mapping[str, RobotPeer]) -> dict[str, dict[str, Any]]:
    """The descriptions of robots by their names, as clients are told them."""
    return {name: robot.described for name, robot in robots.items()}


def welcome(who: Mapping[str, str], robots: Mapping[str, Any], tabs: list[Tab]) -> Message:
    """The message that tells a client who it is, which robots there are, and which tabs are offered."""
    return Message("welcome", {**who, "robots": dict(robots), "tabs": tabs})


def is_room_for(robots: Mapping[str, Any], tabs: list[Tab]) -> bool:
    """True if so many robots fit into the message that tells clients of them."""
    try:
        pack(welcome({"client": "a" * MAX_TEXT, "role": "a" * MAX_TEXT}, robots, tabs))
    except WireError:
        return False
    return True
