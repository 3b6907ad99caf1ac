"""The robots and clients that are connected to a hub."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from serl_ray.teleop.events import Client
from serl_ray.teleop.messages import WATCHED, Tab
from serl_ray.teleop.outbox import Outbox
from serl_ray.teleop.wire import Message, pack


class RobotPeer:
    """A robot that is connected, with its newest frame as it came, None before the first, and the number of clients
    that look at it, None before it has been told."""

    def __init__(self, name: str, described: dict[str, Any], outbox: Outbox) -> None:
        self.name, self.described, self.outbox = name, described, outbox
        self.frame: bytes | None = None
        self.watchers: int | None = None

    def tell_watchers(self, watchers: int) -> None:
        """Tells the robot how many clients look at it, where that has changed."""
        if watchers != self.watchers:
            self.watchers = watchers
            self.outbox.replace(WATCHED, pack(Message(WATCHED, {"watchers": watchers})))


class ClientPeer:
    """A client that is connected, and the name of the robot that it watches; empty for none."""

    def __init__(self, client: Client, outbox: Outbox) -> None:
        self.client, self.outbox, self.robot = client, outbox, ""

    @property
    def who(self) -> dict[str, str]:
        """The client's name and role, as fields of a message."""
        return {"client": self.client.name, "role": self.client.role.value}

    @property
    def waiting(self) -> tuple[str, str]:
        """The names under which the client's commands wait without and with the clutch."""
        return f"{self.client.name} released", f"{self.client.name} held"


def described_robots(robots: Mapping[str, RobotPeer]) -> dict[str, dict[str, Any]]:
    """The descriptions of robots by their names, as clients are told them."""
    return {name: robot.described for name, robot in robots.items()}


def welcome(who: Mapping[str, str], robots: Mapping[str, Any], tabs: list[Tab]) -> Message:
    """The message that tells a client who it is, which robots there are, and which tabs are offered."""
    return Message("welcome", {**who, "robots": dict(robots), "tabs": tabs})
