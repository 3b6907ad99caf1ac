"""A trainer that does what a test says, and robots that are served to it by serl_robot."""

from __future__ import annotations

import queue
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from serl_robot import Box, Dict
from serl_robot.serving import Serving
from websockets.sync.server import ServerConnection, serve

from serl_ray.teleop.wire import MAX_BYTES, Message, pack, unpack

DEADLINE = 30.0
"""Seconds after which something that a test waits for counts as missing."""
TOKEN = "a-token-of-the-tests"
MODE = "single-arm-learned-gripper"


class RecordingArm:
    """A robot that notes each call, and answers as a test says.

    Attributes:
        calls: names of the calls, in their order.
        actions: actions that were executed.
        next_step: what the next steps return or raise, each a function of the step's usual result.
        blocked: while it is clear, steps wait for it, or for `stop`.
    """

    observation_space = Dict({"state": Box(-10, 10, (3,)), "front": Box(0, 255, (8, 6, 3), np.uint8)})
    action_space = Box(-1, 1, (4,))
    metadata = {"seen_from": "left"}

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.calls: list[str] = []
        self.actions: list[np.ndarray] = []
        self.seeds: list[int | None] = []
        self.threads: set[int] = set()
        self.next_step: list[Any] = []
        self.blocked = threading.Event()
        self.blocked.set()
        self.rng = np.random.default_rng(0)
        self.observation: dict[str, np.ndarray] = {}

    def reset(self, seed: int | None = None) -> tuple[Any, dict[str, Any]]:
        self.seeds.append(seed)
        self._note("reset")
        return self._observe(), {}

    def step(self, action: np.ndarray) -> tuple[Any, ...]:
        self.actions.append(action.copy())
        action[:] = np.nan  # an env may use the array that it was given
        self._note("step")
        self.threads.add(threading.get_ident())
        assert self.blocked.wait(DEADLINE)
        result = (self._observe(), 0.5, False, False, {"distance": np.float32(0.25)})
        return self.next_step.pop(0)(result) if self.next_step else result

    def stop(self) -> None:
        self._note("stop")

    def hold(self) -> None:
        self._note("hold")

    def close(self) -> None:
        self._note("close")

    def has_been(self, *calls: str, times: int = 1) -> None:
        """Waits until each of these calls has come so often."""
        with self.changed:
            ok = self.changed.wait_for(lambda: all(self.calls.count(call) >= times for call in calls), DEADLINE)
        assert ok, f"{calls} {times} times, but {self.calls}"

    def _note(self, call: str) -> None:
        with self.changed:
            self.calls.append(call)
            self.changed.notify_all()

    def _observe(self) -> dict[str, np.ndarray]:
        image = self.rng.integers(0, 256, (8, 6, 3)).astype(np.uint8)
        self.observation = {"state": self.rng.uniform(-1, 1, 3).astype(np.float32), "front": image}
        return self.observation


class NoBrakes(RecordingArm):
    """The same without optional methods: actions of zeros hold it."""

    stop = hold = None  # type: ignore[assignment]


class Talk:
    """A connection of a robot, from the trainer's end.

    Attributes:
        hello: the robot's first message.
        token: what it has in place of a password.
    """

    def __init__(self, socket: ServerConnection) -> None:
        self.socket = socket
        self.over = threading.Event()
        assert socket.request is not None
        self.token = socket.request.headers.get("Authorization", "")
        self.hello = self._read()
        self.alive = 0
        self._number = 0

    def welcome(self) -> Talk:
        self.send("welcome", protocol=1, version="test")
        return self

    def refuse(self, reason: str, retry: bool) -> None:
        self.send("refused", reason=reason, retry=retry)
        self.hang_up()

    def send(self, kind: str, /, arrays: dict[str, np.ndarray] | None = None, **fields: Any) -> None:
        self.socket.send(pack(Message(kind, fields, arrays or {})))

    def receive(self, *kinds: str) -> Message:
        """The next message that is not a sign of life, unless that is asked for; it must be of one of these kinds."""
        while True:
            message = self._read()
            self.alive += message.kind == "alive"
            if message.kind != "alive" or "alive" in kinds:
                assert message.kind in kinds, message
                return message

    def reset(self, seed: int | None = None) -> Message:
        return self.ask("reset", "started", seed=seed)

    def step(self, *action: float, answer: str = "result") -> Message:
        return self.ask("step", answer, {"action": np.array(action or (0,) * 4, np.float32)})

    def begin_step(self) -> int:
        self._number += 1
        self.send("step", {"action": np.zeros(4, np.float32)}, number=self._number)
        return self._number

    def ask(self, kind: str, answer: str, arrays: dict[str, np.ndarray] | None = None, /, **fields: Any) -> Message:
        self._number += 1
        self.send(kind, arrays, number=self._number, **fields)
        message = self.receive(answer)
        assert message.fields["number"] == self._number
        return message

    def closed(self) -> str:
        """The reason that the robot gives for closing the connection."""
        while True:
            try:
                self._read()
            except Exception:
                return self.socket.close_reason or ""

    def hang_up(self) -> None:
        self.socket.close()
        self.over.set()

    def break_off(self) -> None:
        """Ends the connection as a computer does that loses its power, as far as the other end can see that."""
        self.socket.socket.shutdown(socket.SHUT_RDWR)
        self.over.set()

    def _read(self) -> Message:
        raw = self.socket.recv(timeout=DEADLINE)
        assert isinstance(raw, bytes)
        return unpack(raw)


class ScriptedTrainer:
    """A trainer at a port of this computer, whose connections a test takes one by one."""

    def __init__(self, port: int = 0, statuses: list[int] | None = None) -> None:
        self._talks: queue.Queue[Talk] = queue.Queue()
        self._is_closing = False
        statuses = statuses or []

        def refused(connection: ServerConnection, request: Any) -> Any:
            return connection.respond(statuses.pop(0), "refused\n") if statuses else None

        self._server = serve(
            self._handle, "127.0.0.1", port, max_size=MAX_BYTES, compression=None, process_request=refused
        )
        self.port = self._server.socket.getsockname()[1]
        self.url = f"ws://127.0.0.1:{self.port}"
        self._open: list[Talk] = []
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def _handle(self, connection: ServerConnection) -> None:
        talk = Talk(connection)
        self._open.append(talk)
        self._talks.put(talk)
        if not self._is_closing:
            talk.over.wait()

    def accept(self) -> Talk:
        """The next connection of a robot, after its hello."""
        return self._talks.get(timeout=DEADLINE)

    def close(self) -> None:
        self._is_closing = True
        for talk in self._open:
            talk.hang_up()
        self._server.shutdown()


@contextmanager
def scripted_trainer(**kwargs: Any) -> Iterator[ScriptedTrainer]:
    trainer = ScriptedTrainer(**kwargs)
    try:
        yield trainer
    finally:
        trainer.close()


@contextmanager
def served(env: Any, url: str, hz: float = 20.0, setup_mode: str = MODE) -> Iterator[list[BaseException]]:
    """Serves an env in a thread during the block; what has ended it is in the list."""
    serving = Serving(env, url, TOKEN, hz=hz, setup_mode=setup_mode, name="arm")
    errors: list[BaseException] = []

    def run() -> None:
        try:
            serving.run()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, name="robot", daemon=True)
    thread.start()
    try:
        yield errors
    finally:
        serving.end()
        thread.join(DEADLINE)
        assert not thread.is_alive()


def wait_until(is_true: Any) -> None:
    """Waits until something holds that nobody tells of."""
    deadline = time.monotonic() + DEADLINE
    while not is_true():
        assert time.monotonic() < deadline
        time.sleep(0.01)
