"""The side of a robot's devices in the talk with its session, without sockets: what is sent, and when."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from serl_ray.teleop.devices.hands import Hands, HandsState
from serl_ray.teleop.events import Press
from serl_ray.teleop.twists import Reference
from serl_ray.teleop.wire import Message

GRIP_WAIT_SECONDS = 1.0
"""Seconds for which a press for a gripper waits for control of the robot."""
NO_STATE: dict[str, Any] = {"holder": None, "epoch": 0, "is_paused": False, "refusals": [], "counts": {}}
"""State of a robot that has said nothing yet."""
GRIPS = {"close": -1, "open": 1}


class Desk:
    """The place of a person with devices, at one robot, for one connection.

    Moving a device takes control of the robot, from a browser as well. A clutch that was held before the connection, or
    when control was lost, counts again once it has been seen released.

    Args:
        hands: devices of the person.
        client: name of this client, given by the hub.
        robot: name of the robot.
        described: its description.
        tell: prints a sentence for the person.
    """

    def __init__(
        self, hands: Hands, client: str, robot: str, described: dict[str, Any], tell: Callable[[str], None]
    ) -> None:
        self._hands, self._client, self._robot, self._tell = hands, client, robot, tell
        self._grippers = len(described.get("grippers", []))
        self._frame = 0
        self._state = NO_STATE
        self._must_release, self._was_held = True, False
        self._begun_epoch: int | None = None
        self._grips: list[tuple[str, int, float]] = []

    @property
    def is_mine(self) -> bool:
        """True while this client has control of the robot."""
        return bool(self._state["holder"] == self._client)

    def hear(self, message: Message) -> list[Message]:
        """Takes a message of the robot in; returns the answers to it."""
        if message.fields.get("robot") != self._robot or message.kind not in ("frame", "state"):
            return []
        before, was_mine = self._state, self.is_mine
        self._state = message.fields["state"]
        if was_mine and not (self.is_mine and self._state["epoch"] == before["epoch"]):
            self._must_release, self._begun_epoch = True, None
            self._tell(f"{self._robot}: control is gone.")
        elif self.is_mine and not was_mine:
            self._tell(f"{self._robot}: you have control.")
        self._tell_refusals(before)
        if message.kind == "state":
            return []
        self._frame = message.fields["frame"]
        return [Message("displayed", {"frame": self._frame})]  # the person looks at the robot itself

    def tick(self, now: float) -> list[Message]:
        """The messages of this moment: what the devices do, and what was pressed.

        Raises:
            DeviceLost: a device is gone.
        """
        hands = self._hands.poll(now)
        self._must_release = self._must_release and hands.clutch
        is_held = hands.clutch and not self._must_release
        messages: list[Message] = []
        if self.is_mine:
            messages.append(self._command(hands, is_held))
        elif is_held and not self._was_held:
            messages.append(self._press(Press.REQUEST))
        self._was_held = is_held
        for name, arm in hands.presses:
            if name in GRIPS:
                self._grips.append((name, arm, now))
            else:
                messages.append(self._press(self._meant(name)))
        return messages + self._due_grips(messages, now)

    def let_go(self) -> list[Message]:
        """The last messages, by which the robot is handed back."""
        if not self.is_mine:
            return []
        nothing = HandsState({0: (0.0,) * 6}, False, False, "none", [])
        return [self._command(nothing, False), self._press(Press.RELEASE)]

    def _command(self, hands: HandsState, is_held: bool) -> Message:
        """The state of the devices; the first one under a lease is that of a released clutch, as a takeover needs."""
        is_first = self._begun_epoch != self._state["epoch"]
        self._begun_epoch = self._state["epoch"]
        arm, *others = hands.twists
        fields = {
            "epoch": self._state["epoch"],
            "frame": self._frame,
            "clutch": is_held and not is_first,
            "source": hands.source,
            "tail": hands.tail,
            "arm": arm,
            "reference": Reference.BASE.value,
        }
        arrays = {"twist": np.array(hands.twists[arm], np.float32)}
        if others:
            arrays["other"] = np.array(hands.twists[others[0]], np.float32)
        return Message("command", fields, arrays)

    def _press(self, press: str, **more: Any) -> Message:
        epoch = self._state["epoch"] if self.is_mine else 0
        return Message("press", {"epoch": epoch, "frame": self._frame, "press": press, **more})

    def _meant(self, name: str) -> str:
        """The press that a key stands for."""
        if name == "control":
            return Press.RELEASE if self.is_mine else Press.REQUEST
        return Press.RESUME if name == "pause" and self._state["is_paused"] else name

    def _due_grips(self, sent: list[Message], now: float) -> list[Message]:
        """The presses for grippers that can be sent, which is while the robot is driven."""
        is_driving = any(message.fields.get("clutch") for message in sent)
        waiting = [grip for grip in self._grips if now - grip[2] <= GRIP_WAIT_SECONDS]
        if len(waiting) < len(self._grips):
            self._tell("A press for the gripper has come to nothing: the robot was not driven.")
        self._grips = [] if is_driving else waiting
        due = waiting if is_driving else []
        return [
            self._press(Press.GRIPPER, gripper=arm if self._grippers > 1 else 0, direction=GRIPS[name])
            for name, arm, _ in due
        ]

    def _tell_refusals(self, before: dict[str, Any]) -> None:
        new = self._state["counts"].get("refused", 0) - before["counts"].get("refused", 0)
        for refusal in self._state["refusals"][-new:] if new > 0 and before is not NO_STATE else []:
            self._tell(f"{self._robot}: {refusal}")
