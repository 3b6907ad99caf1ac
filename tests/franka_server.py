"""A fake of the original's Franka server: the same routes, an arm that is a point with an orientation, and faults."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

START = np.array([0.45, 0.05, 0.3, *Rotation.from_euler("xyz", [3.0, 0.1, -0.2]).as_quat()])
JOINTS = np.array([0.0, 0.0, 0.0, -1.9, 0.0, 2.0, 0.0])
RESET_POSE = [0.5, 0.0, 0.25, 3.1, 0.0, 0.0]
SHARE = 0.7
"""Share of the way to its target that the arm goes from one state that is asked for to the next."""
ANSWERS = ("clearerr", "update_param", "startimp", "stopimp", "activate_gripper", "reset_gripper")
"""Routes that change nothing which a state shows."""


class FakeFranka:
    """One arm on a port of this computer.

    Attributes:
        requests: the routes that were asked for, in order, with their bodies, or with the state that was answered.
        faults: by route, a function that is called with the handler before its answer; it returns whether it has
            answered.
        overrides: parts of the state that are wrong.
        is_stuck: whether the arm does not move.
    """

    def __init__(self) -> None:
        self.requests: list[tuple[str, Any]] = []
        self.faults: dict[str, Callable[[BaseHTTPRequestHandler], bool]] = {}
        self.overrides: dict[str, Any] = {}
        self.is_stuck = False
        self.pose, self.target = START.copy(), START.copy()
        self.gripper = self.gripper_target = 1.0
        self.vel, self.force, self.torque = np.zeros(6), np.array([0.1, -0.2, 3.0]), np.array([0.01, 0.02, -0.3])
        self._lock = threading.Lock()

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
        with self._lock:
            if route in ("getstate", "getpos"):
                self._move()
                body = self.state() | self.overrides
            self.requests.append((route, body))
            if route == "getstate":
                return json.dumps(body).encode()
            if route == "getpos":
                return json.dumps({"pose": body["pose"]}).encode()
            if route == "pose":
                self.target = np.array(body["arr"])
            elif route in ("open_gripper", "close_gripper"):
                self.gripper_target = float(route == "open_gripper")
            elif route == "jointreset":
                self.pose = self.target = START.copy()
            elif route not in ANSWERS:
                raise KeyError(route)
            return b"Done"

    def state(self) -> dict[str, Any]:
        return {
            "pose": self.pose.tolist(),
            "vel": self.vel.tolist(),
            "force": self.force.tolist(),
            "torque": self.torque.tolist(),
            "q": JOINTS.tolist(),
            "dq": [0.0] * 7,
            "jacobian": np.zeros((6, 7)).tolist(),
            "gripper_pos": self.gripper,
        }

    def _move(self) -> None:
        if self.is_stuck:
            return
        now, goal = Rotation.from_quat(self.pose[3:]), Rotation.from_quat(self.target[3:])
        turn = (goal * now.inv()).as_rotvec() * SHARE
        step = (self.target[:3] - self.pose[:3]) * SHARE
        self.vel = np.concatenate([step, turn]) * 10.0
        self.pose = np.concatenate([self.pose[:3] + step, (Rotation.from_rotvec(turn) * now).as_quat()])
        self.gripper += (self.gripper_target - self.gripper) * SHARE


class _Handler(BaseHTTPRequestHandler):
    arm: FakeFranka

    def do_POST(self) -> None:
        route = self.path.strip("/")
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else None
        if route in self.arm.faults and self.arm.faults[route](self):
            return
        try:
            answer = self.arm.answer(route, body)
        except KeyError:
            self.send_error(404)
            return
        with suppress(BrokenPipeError, ConnectionResetError):
            answer_with(self, answer)

    def log_message(self, format: str, *args: Any) -> None:
        pass


def answer_with(handler: BaseHTTPRequestHandler, answer: bytes) -> bool:
    """Sends an answer; for `faults`."""
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(answer)))
    handler.end_headers()
    handler.wfile.write(answer)
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
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"arm": arm}))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield arm, f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def arm_settings(url: str, **changes: Any) -> dict[str, Any]:
    """The settings of one arm."""
    settings = {
        "server": url,
        "translation_scale": 0.02,
        "rotation_scale": 0.1,
        "box_low": [0.3, -0.2, 0.1, 2.5, -0.5, -1.0],
        "box_high": [0.7, 0.2, 0.5, 3.15, 0.5, 1.0],
        "reset_pose": RESET_POSE,
        "compliance": {"translational_stiffness": 2000},
        "precision": {"translational_stiffness": 3000},
    }
    return settings | changes


def write_settings(path: Path, arms: list[dict[str, Any]], **changes: Any) -> str:
    """The path of a settings file for an arm that needs no time."""
    fast = {"hz": 200, "settle_seconds": 0.0, "reset_seconds": 0.02, "reset_speed": 1.0, "lateness": 5.0}
    with path.open("w") as file:
        json.dump({"arms": arms} | fast | changes, file)  # which is YAML, without aliases
    return str(path)
