"""A robot and its operator in lock-step: each frame is answered over the real socket before the next step."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import parse_qsl

import numpy as np
from aiohttp import ClientError, ClientSession

from serl_ray.benchmarks.person import STEP_SECONDS, OneArm, Person, Sight, way_left
from serl_ray.teleop.events import Command, Decision, StepActor
from serl_ray.teleop.hub import CLIENTS
from serl_ray.teleop.session import Session
from serl_ray.teleop.wire import Message, pack, unpack
from serl_ray.teleop.wrapper import OperatedEnv

logger = logging.getLogger(__name__)

REDIAL_PAUSE = 0.5
"""Seconds before the client tries to reach the hub again."""


class LockstepSession(Session):
    """Session in simulated time, in which nobody acts before the newest frame has been answered.

    So the outcome depends neither on the speed of the machine nor on the network's.

    Args:
        env: robot of the session, in the tabletop with one arm, which nobody operates yet.
        setup_mode: set-up of its task.

    Attributes:
        sight: newest sight of the scene.
        failure: error of the operator's thread, which the robot's raises.
    """

    def __init__(self, env: OperatedEnv, setup_mode: OneArm) -> None:
        before = env.session
        super().__init__(before.layout, before.limits, twist_map=before.twist_map)
        self._env, self._setup_mode = env, setup_mode
        self._now, self._answered = 0.0, 0
        self._step: tuple[np.ndarray | None, np.ndarray | None] = None, None
        self.sight: Sight | None = None
        self.failure: Exception | None = None

    def clock(self) -> float:
        """Simulated seconds: each step takes `STEP_SECONDS`."""
        return self._now

    def begin(self, now: float) -> None:
        super().begin(now)
        self._step = None, None
        self._see()

    def executed(self, done: bool, now: float) -> None:
        self._now += STEP_SECONDS
        super().executed(done, self._now)
        self._see()

    def command(self, command: Command, now: float) -> None:
        super().command(command, now)
        self._answered = max(self._answered, command.frame)

    def decide(self, policy_action: np.ndarray, now: float) -> Decision:
        if self.failure:
            raise self.failure
        if self._env.view is None or self._answered < self._env.view.frame:
            return Decision(StepActor.NOBODY, source=StepActor.NOBODY)
        decision = super().decide(policy_action, now)
        self._step = policy_action, decision.action if decision.actor is StepActor.PERSON else None
        return decision

    def _see(self) -> None:
        inner: Any = self._env.unwrapped
        way = way_left(self._setup_mode, self._env.get_wrapper_attr("unselected")["object_state"])
        self.sight = Sight(self.episodes.number, self.episodes.steps, way, inner.expert_action(), *self._step)


class _Client:
    """The person's end of the socket: answers each message of the hub."""

    def __init__(self, session: LockstepSession, person: Person, robot: str) -> None:
        self._session, self._person, self._robot = session, person, robot
        self._name, self._frame, self._answered = "", 0, 0

    def answers(self, message: Message) -> Sequence[Message]:
        """The answers to a message: it watches the robot, asks for control, and commands what the person's hands do."""
        fields = message.fields
        if message.kind == "welcome":
            self._name = fields["client"]
            return [Message("watch", {"robot": self._robot})] if self._robot in fields["robots"] else []
        if message.kind == "refused":
            raise RuntimeError(f"The hub refuses a message of the person. {fields['reason']}")
        if message.kind not in ("frame", "state"):
            return []
        sent = [Message("displayed", {"frame": fields["frame"]})] if message.kind == "frame" else []
        self._frame = max(self._frame, fields.get("frame", 0))
        if fields["state"]["holder"] != self._name:
            return [*sent, self._press("request", fields["state"])]
        if self._frame == self._answered or self._session.sight is None:
            return [*sent, Message("alive")]
        self._answered = self._frame
        return [*sent, *self._commands(fields["state"], self._session.sight)]

    def _commands(self, state: dict[str, Any], sight: Sight) -> Sequence[Message]:
        hands = self._person.look(sight)
        grips = [
            self._press("gripper", state, gripper=gripper, direction=direction)
            for gripper, direction in hands.presses.items()
        ]
        device = {
            "epoch": state["epoch"],
            "frame": self._frame,
            "clutch": hands.clutch,
            "source": "person",
            "tail": False,
        }
        return [*grips, Message("command", device, {"action": hands.action})]

    def _press(self, press: str, state: dict[str, Any], **fields: int) -> Message:
        return Message("press", {"epoch": state["epoch"], "frame": self._frame, "press": press, **fields})


@contextmanager
def person_at(page: str, robot: str, session: LockstepSession, person: Person) -> Iterator[None]:
    """A person who operates a robot over the socket of the page at this address, in a thread of its own."""
    loop = asyncio.new_event_loop()
    task = loop.create_task(_operate(page, robot, session, person))
    thread = threading.Thread(target=_run, args=(loop, task), name="person", daemon=True)
    thread.start()
    try:
        yield
    finally:
        loop.call_soon_threadsafe(task.cancel)
        thread.join()
        loop.close()


def _run(loop: asyncio.AbstractEventLoop, task: asyncio.Task[None]) -> None:
    with suppress(asyncio.CancelledError):
        loop.run_until_complete(task)


async def _operate(page: str, robot: str, session: LockstepSession, person: Person) -> None:
    """Operates the robot, and dials again where the connection is lost."""
    address, _, fragment = page.partition("/#")
    while True:
        client = _Client(session, person, robot)
        try:
            async with ClientSession() as http, http.ws_connect(f"{address}{CLIENTS}", max_msg_size=0) as socket:
                await socket.send_bytes(pack(Message("hello", dict(parse_qsl(fragment)))))
                async for raw in socket:
                    for message in client.answers(unpack(raw.data)):
                        await socket.send_bytes(pack(message))
        except (ClientError, OSError) as error:
            logger.warning("The connection of the person is lost (%s), and tried again.", error)
        except Exception as error:  # the robot waits for answers that will not come, and raises it
            session.failure = error
            return
        await asyncio.sleep(REDIAL_PAUSE)
