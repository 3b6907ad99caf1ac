"""Robots of the env remote: scripted ones, whose every word the test says, and envs that serl_robot serves."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from hub_peers import SECONDS, Peer, until
from line_envs import LineEnv
from serl_robot.serving import Serving

from serl_ray.envs.remote import RemoteEnv
from serl_ray.teleop.wire import Message

SETUP = "single-arm-learned-gripper"
TOKEN = "a-token-of-a-test-which-is-long"
STATE = np.arange(4, dtype=np.float32)
HELLO: dict[str, Any] = {
    "protocol": 1,
    "version": "0.1.0",
    "name": "arm",
    "setup_mode": SETUP,
    "hz": 10.0,
    "methods": [],
    "seen_from": "behind",
    "observations": {"state": {"dtype": "float32", "shape": [4]}},
    "action_shape": [7],
}
ACTION = np.linspace(-0.5, 0.5, 7, dtype=np.float32)


def free_port() -> int:
    """A port of which the next fifteen are free as well, at the moment."""
    while True:
        with socket.create_server(("127.0.0.1", 0)) as server:
            port: int = server.getsockname()[1]
        if port < 2**16 - 16 and all(_is_free(each) for each in range(port, port + 16)):
            return port


def _is_free(port: int) -> bool:
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


def _listens(port: int) -> bool:
    """True if somebody listens, who is not asked by taking the port for a moment, which would send them to another."""
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


class ScriptedRobot(Peer):
    """A robot that says what the test lets it say."""

    def __init__(self, port: int, token: str = TOKEN, hello: bool = True, **changed: Any) -> None:
        super().__init__(f"ws://127.0.0.1:{port}/robot", {"Authorization": f"Bearer {token}"})
        if hello:
            self.send("hello", **{**HELLO, **changed})

    def hear(self, message: Message) -> None:
        super().hear(message)
        if message.kind == "close":
            self._closing = asyncio.ensure_future(self._socket.close())

    def begin(self, **info: Any) -> Message:
        """Answers the next reset, which is returned."""
        message = self.next("reset")
        self.send("started", {"obs/state": STATE}, number=message.fields["number"], info=info)
        return message

    def answer(self, state: np.ndarray = STATE, arrays: dict[str, np.ndarray] | None = None, **changed: Any) -> Message:
        """Answers the next step, which is returned."""
        message = self.next("step")
        fields = {"number": message.fields["number"], "info": {}, "reward": 0.0, "step_seconds": 0.01}
        fields |= {"terminated": False, "truncated": False, **changed}
        self.send("result", {"obs/state": state, **(arrays or {})}, **fields)
        return message


def connected(**kwargs: Any) -> tuple[RemoteEnv, ScriptedRobot]:
    """An env and its robot."""
    port = free_port()
    came: list[ScriptedRobot] = []
    dialling = threading.Thread(target=lambda: came.append(dialled(port, **kwargs)), daemon=True)
    dialling.start()
    env = RemoteEnv(SETUP, port=port)
    dialling.join(SECONDS)
    return env, came[0]


def dialled(port: int, **kwargs: Any) -> ScriptedRobot:
    """A scripted robot, as soon as somebody listens."""
    until(lambda: _listens(port))
    robot = ScriptedRobot(port, **kwargs)
    robot.next("welcome")
    return robot


class PausableEnv(LineEnv):
    """Keeps what was asked of it, and never succeeds; its steps last until they are let go, if a test holds them.

    Attributes:
        calls: names of the calls in their order.
        executed: executed actions.
        goes_on: event that a step waits for.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.calls: list[str] = []
        self.executed: list[np.ndarray] = []
        self.goes_on, self.is_in_step = threading.Event(), threading.Event()
        self.goes_on.set()

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        self.calls.append("reset")
        super().reset(seed=seed, options=options)
        self.goal = self.point + 15.0  # out of reach, so that no episode ends by chance
        return self._observe(), {}

    def step(self, action: np.ndarray) -> Any:
        self.calls.append("step")
        self.executed.append(np.array(action))
        self.is_in_step.set()
        assert self.goes_on.wait(SECONDS)
        return super().step(action)

    def hold(self) -> None:
        self.calls.append("hold")

    def stop(self) -> None:
        self.calls.append("stop")
        self.goes_on.set()


@contextmanager
def served(env: Any, port: int, hz: float = 50.0, name: str = "arm", setup_mode: str = SETUP) -> Iterator[Serving]:
    """Serves an env by the robot's own package, in a thread."""
    serving = Serving(env, f"ws://127.0.0.1:{port}", TOKEN, hz=hz, setup_mode=setup_mode, name=name)
    thread = threading.Thread(target=serving.run, daemon=True)
    thread.start()
    try:
        yield serving
    finally:
        serving.end()
        thread.join(SECONDS)
