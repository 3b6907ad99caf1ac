"""What a reader of the table of cases expects of a session, kept beside it."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

import numpy as np
from stage import TWO_ARMS, Stage

from serl_ray.teleop.episodes import SessionEpisodes
from serl_ray.teleop.events import Client, ClientRole, Command, Decision, Press, Verdict
from serl_ray.teleop.grips import GRIP_SECONDS
from serl_ray.teleop.intervention import COMMAND_SECONDS, FRAME_SECONDS
from serl_ray.teleop.lease import LEASE_SECONDS
from serl_ray.teleop.twists import Twist, TwistMap

SIZE = TWO_ARMS.action_dim


def numbers(motion: Twist | np.ndarray) -> np.ndarray:
    """The numbers that a device has sent."""
    return motion.numbers if isinstance(motion, Twist) else motion


def wanted(motion: Twist | np.ndarray) -> np.ndarray:
    """The action that a device asks for; a twist's is that of its arm."""
    if not isinstance(motion, Twist):
        return motion
    arms = [np.zeros(7, np.float32), np.zeros(7, np.float32)]
    arms[motion.arm][:6] = motion.numbers
    return np.concatenate(arms)


class Received(NamedTuple):
    """A command that was sent under the lease of its time."""

    command: Command
    numbers: bytes
    at: float


class Gripped(NamedTuple):
    """A press for a gripper that was not refused, in the intervention with this number of all."""

    takeover: int
    gripper: int
    direction: int
    at: float


class Expected:
    """A session, and what has happened to it so far."""

    def expect(self, attended: bool, hands_off: bool, held_seconds: float | None) -> None:
        """Everything from the start."""
        episodes, self.hands_off = SessionEpisodes(held_seconds), hands_off
        self.stage = Stage(TWO_ARMS, attended, TwistMap(TWO_ARMS, arms=2), hands_off, episodes)
        self.session = self.stage.session
        self.holder: Client | None = None
        self.epoch, self.renewed = 0, 0.0
        self.is_stopped = self.is_paused = False
        self.received: dict[int, Received] = {}
        self.driver_epoch = 0
        self.taken: dict[int, float] = {}
        self.steps: dict[int, int] = {}
        self.settled: dict[int, Verdict | None] = {}
        self.endings: Counter[int] = Counter()
        self.grips: list[Gripped] = []
        self.executed: list[tuple[np.ndarray, bytes]] = []
        self.previous = np.zeros(SIZE, np.float32)

    @property
    def number(self) -> int:
        return self.session.episodes.number

    @property
    def is_running(self) -> bool:
        return self.session.episodes.is_running

    def lives(self, client: Client) -> None:
        """A sign of life renews the lease that its sender has."""
        if self.stage.now - self.renewed > LEASE_SECONDS:
            self.holder = None
        if client == self.holder:
            self.renewed = self.stage.now

    def expects(self, press: Press, client: Client, is_valid: bool) -> None:
        """What a press changes about who may act."""
        if press is Press.STOP:
            self.is_stopped = True
        elif press is Press.REQUEST:
            outranks = (
                client.role is ClientRole.DEVICE
                and self.holder is not None
                and self.holder.role is not ClientRole.DEVICE
            )
            if client.role is not ClientRole.VIEWER and (self.holder is None or outranks):
                self.holder, self.epoch, self.renewed = client, self.epoch + 1, self.stage.now
        elif is_valid and press is Press.RELEASE:
            self.holder = None
        elif is_valid and press in (Press.PAUSE, Press.RESUME) and not self.hands_off:
            self.is_paused = press is Press.PAUSE
        elif is_valid and press is Press.REARM:
            newest = self.received.get(self.epoch)
            self.is_stopped &= newest is not None and newest.command.clutch

    def is_a_persons(self, decision: Decision) -> None:
        """The action is the newest command's, of whoever has control, holds the clutch and sees the robot."""
        command, _, at = self.received[self.epoch]
        assert command.client == self.holder and command.clutch and self.driver_epoch == self.epoch
        assert self.stage.now - at <= COMMAND_SECONDS
        assert command.frame in self.taken
        assert self.stage.now - self.taken.get(command.frame + 1, self.stage.now) <= FRAME_SECONDS
        assert decision.intervention > 0
        assert (decision.source, decision.tail) == (command.source, command.tail)
        expected = self.session.limits.limited(wanted(command.motion), self.previous, TWO_ARMS)
        continuous, grippers = list(TWO_ARMS.continuous_indices), list(TWO_ARMS.gripper_indices)
        np.testing.assert_array_equal(decision.action[continuous], expected[continuous])
        for gripper, value in enumerate(decision.action[grippers]):
            if value:
                self.was_pressed(gripper, int(value))
        self.executed.append((decision.action, decision.action.tobytes()))

    def was_pressed(self, gripper: int, direction: int) -> None:
        """A gripper's command is that of one press, in the same intervention and not long ago."""
        takeover, now = self.session.counts["takeovers"], self.stage.now
        pressed = [
            grip for grip in self.grips if grip[:3] == (takeover, gripper, direction) and now - grip.at <= GRIP_SECONDS
        ]
        assert pressed
        self.grips.remove(pressed[0])
