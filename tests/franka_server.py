"""A fake of the original's Franka server: an arm that is a point with an orientation, its requests, and faults."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import numpy as np

from serl_ray.benchmarks.franka_arm import ArmHandler, PointArm, serving_arm


class FakeFranka(PointArm):
    """One arm on a port of this computer.

    Attributes:
        requests: the routes that were asked for, in order, with their bodies, or with the state that was answered.
        faults: by route, a function that is called with the handler before its answer; it returns whether it has
            answered.
        overrides: parts of the state that are wrong.
        is_stuck: whether the arm does not move.
    """

    def __init__(self) -> None:
        super().__init__()
        self.requests: list[tuple[str, Any]] = []
        self.faults: dict[str, Callable[[BaseHTTPRequestHandler], bool]] = {}
        self.overrides: dict[str, Any] = {}
        self.is_stuck = False

    @property
    def routes(self) -> list[str]:
        return [route for route, _ in self.requests]

    def count(self, route: str) -> int:
        return self.routes.count(route)

    @property
    def answers(self) -> list[dict[str, Any]]:
        """The states that were answered."""
        return [body for route, body in self.requests if route == "getstate"]

    @property
    def poses(self) -> list[np.ndarray]:
        """The targets (7,) that were sent."""
        return [np.array(body["arr"]) for route, body in self.requests if route == "pose"]

    def answer(self, route: str, body: Any) -> bytes:
        with self.lock:
            answer = super().answer(route, body)
            self.requests.append((route, json.loads(answer) if route in ("getstate", "getpos") else body))
            return answer

    def state(self) -> dict[str, Any]:
        return super().state() | self.overrides

    def move(self) -> None:
        if not self.is_stuck:
            super().move()


class FaultyHandler(ArmHandler):
    """Handler that plays the arm's faults."""

    arm: FakeFranka

    def reply(self, route: str, body: Any) -> None:
        if route not in self.arm.faults or not self.arm.faults[route](self):
            super().reply(route, body)


def answer_with(handler: BaseHTTPRequestHandler, answer: bytes) -> bool:
    """Sends an answer; for `faults`."""
    assert isinstance(handler, ArmHandler)
    handler.send(answer)
    return True


def refuse(handler: BaseHTTPRequestHandler) -> bool:
    """A fault: an exception in the server."""
    handler.send_error(500)
    return True


def drop(handler: BaseHTTPRequestHandler) -> bool:
    """A fault: the connection is closed without an answer."""
    handler.connection.close()
    return True


def stall(seconds: float) -> Callable[[BaseHTTPRequestHandler], bool]:
    """A fault: the answer comes late."""

    def wait(handler: BaseHTTPRequestHandler) -> bool:
        time.sleep(seconds)
        return False

    return wait


@contextmanager
def served() -> Iterator[tuple[FakeFranka, str]]:
    """A fake arm, and its address."""
    arm = FakeFranka()
    with serving_arm(arm, FaultyHandler) as url:
        yield arm, url


def write_settings(path: Path, arms: list[dict[str, Any]], **changes: Any) -> str:
    """The path of a settings file for an arm that needs no time."""
    fast = {"hz": 200, "settle_seconds": 0.0, "reset_seconds": 0.02, "reset_speed": 1.0, "lateness": 5.0}
    with path.open("w") as file:
        json.dump({"arms": arms} | fast | changes, file)  # which is YAML, without aliases
    return str(path)
