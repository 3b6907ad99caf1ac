"""A stand-in for one arm of the original's Franka server: the same routes, and a point with an orientation."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from serl_ray.teleop.server import THIS_MACHINE

START_POSE = np.array([0.45, 0.05, 0.3, *Rotation.from_euler("xyz", [3.0, 0.1, -0.2]).as_quat()])
START_JOINTS = np.array([0.0, 0.0, 0.0, -1.9, 0.0, 2.0, 0.0])
RESET_POSE = [0.5, 0.0, 0.25, 3.1, 0.0, 0.0]
SHARE = 0.7
"""Share of the way to its target that the arm goes from one state that is asked for to the next."""
STILL_ROUTES = ("clearerr", "update_param", "startimp", "stopimp", "activate_gripper", "reset_gripper")
"""Routes that change nothing which a state shows."""


class PointArm:
    """One arm, which is a point with an orientation.

    Attributes:
        pose: position in metres and quaternion (7,).
        target: pose that it moves to (7,).
        gripper: opening of the gripper, 0 closed to 1 open.
        lock: lock that is held while a request is answered.
    """

    def __init__(self) -> None:
        self.pose, self.target = START_POSE.copy(), START_POSE.copy()
        self.gripper = self.gripper_target = 1.0
        self.vel, self.force, self.torque = np.zeros(6), np.array([0.1, -0.2, 3.0]), np.array([0.01, 0.02, -0.3])
        self.lock = threading.RLock()

    def answer(self, route: str, body: Any) -> bytes:
        """The server's answer; KeyError for an unknown route."""
        with self.lock:
            if route in ("getstate", "getpos"):
                self.move()
                state = self.state()
                return json.dumps(state if route == "getstate" else {"pose": state["pose"]}).encode()
            if route == "pose":
                self.target = np.array(body["arr"])
            elif route in ("open_gripper", "close_gripper"):
                self.gripper_target = float(route == "open_gripper")
            elif route == "jointreset":
                self.pose = self.target = START_POSE.copy()
            elif route not in STILL_ROUTES:
                raise KeyError(route)
            return b"Done"

    def state(self) -> dict[str, Any]:
        """The state, as JSON."""
        return {
            "pose": self.pose.tolist(),
            "vel": self.vel.tolist(),
            "force": self.force.tolist(),
            "torque": self.torque.tolist(),
            "q": START_JOINTS.tolist(),
            "dq": [0.0] * 7,
            "jacobian": np.zeros((6, 7)).tolist(),
            "gripper_pos": self.gripper,
        }

    def move(self) -> None:
        """Goes a share of the way to the target."""
        now, goal = Rotation.from_quat(self.pose[3:]), Rotation.from_quat(self.target[3:])
        turn = (goal * now.inv()).as_rotvec() * SHARE
        step = (self.target[:3] - self.pose[:3]) * SHARE
        self.vel = np.concatenate([step, turn]) * 10.0
        self.pose = np.concatenate([self.pose[:3] + step, (Rotation.from_rotvec(turn) * now).as_quat()])
        self.gripper += (self.gripper_target - self.gripper) * SHARE


class ArmHandler(BaseHTTPRequestHandler):
    """Handler of the requests for an arm."""

    arm: PointArm

    def do_POST(self) -> None:
        """Answers a request."""
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else None
        self.reply(self.path.strip("/"), body)

    def reply(self, route: str, body: Any) -> None:
        """Asks the arm, and sends its answer."""
        try:
            answer = self.arm.answer(route, body)
        except KeyError:
            self.send_error(404)
            return
        with suppress(BrokenPipeError, ConnectionResetError):
            self.send(answer)

    def send(self, answer: bytes) -> None:
        """Sends an answer."""
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing."""


@contextmanager
def serving_arm(arm: PointArm, handler: type[ArmHandler] = ArmHandler) -> Iterator[str]:
    """The address of an arm, which is served by a thread."""
    server = ThreadingHTTPServer((THIS_MACHINE, 0), type("Handler", (handler,), {"arm": arm}))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"http://{THIS_MACHINE}:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def serve_arm(told: Connection) -> None:
    """Serves an arm whose address is told, until this end of the pipe is closed; for a process of its own."""
    with serving_arm(PointArm()) as url:
        told.send(url)
        with suppress(EOFError):
            told.recv()


def arm_settings(url: str, **changes: Any) -> dict[str, Any]:
    """The settings of the arm at an address."""
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
