"""A robot's session with people around it, and a clock that only the test moves.

Times are sums of powers of two, so that a limit can be met exactly.
"""

from __future__ import annotations

import numpy as np

from serl_ray.teleop.episodes import SessionEpisodes
from serl_ray.teleop.events import Client, ClientRole, Command, Decision, Press, Pressed, StepActor
from serl_ray.teleop.hands_off import HandsOffSession
from serl_ray.teleop.session import Session
from serl_ray.teleop.twists import Twist, TwistMap
from serl_ray.types import ActionLayout

ANNA, BEN = Client("anna", ClientRole.OPERATOR), Client("ben", ClientRole.OPERATOR)
EVE = Client("eve", ClientRole.VIEWER)
MOUSE, PEDALS = Client("mouse", ClientRole.DEVICE), Client("pedals", ClientRole.DEVICE)

LAYOUT = ActionLayout.from_setup("single-arm-learned-gripper", 7)
TWO_ARMS = ActionLayout.from_setup("dual-arm-learned-gripper", 14)
STEP = 0.125
"""Seconds of a step."""
MOMENT = 1 / 64
"""Seconds that are just too much."""
PUSH = 0.25
"""Number of a person's action that no limit changes, also in the first step."""


class Stage:
    """A session whose newest frame everybody has displayed at once."""

    def __init__(
        self,
        layout: ActionLayout = LAYOUT,
        attended: bool = False,
        twist_map: TwistMap | None = None,
        hands_off: bool = False,
        episodes: SessionEpisodes | None = None,
    ) -> None:
        session = HandsOffSession if hands_off else Session
        self.session = session(layout, attended=attended, twist_map=twist_map, episodes=episodes)
        self.policy = np.full(layout.action_dim, -0.75, np.float32)
        self.push = np.zeros(layout.action_dim, np.float32)
        self.push[0] = PUSH
        self.now, self.frame = 64.0, 0

    @property
    def epoch(self) -> int:
        return self.session.lease.epoch

    def wait(self, seconds: float) -> None:
        self.now += seconds

    def begin(self) -> None:
        self.session.begin(self.now)
        self.show()

    def show(self) -> None:
        self.frame += 1
        self.session.episodes.showed(self.frame, self.now)

    def command(
        self,
        clutch: bool,
        client: Client = ANNA,
        epoch: int | None = None,
        frame: int | None = None,
        action: Twist | np.ndarray | None = None,
        tail: bool = False,
    ) -> None:
        epoch = self.epoch if epoch is None else epoch
        frame = self.frame if frame is None else frame
        action = self.push if action is None else action
        self.session.command(Command(client, epoch, frame, clutch, action, "keyboard", tail), self.now)

    def press(
        self,
        press: Press,
        client: Client = ANNA,
        epoch: int | None = None,
        frame: int | None = None,
        gripper: int = 0,
        direction: int = 0,
    ) -> None:
        epoch = self.epoch if epoch is None else epoch
        frame = self.frame if frame is None else frame
        self.session.pressed(Pressed(client, epoch, press, frame, gripper, direction), self.now)

    def decide(self) -> Decision:
        return self.session.decide(self.policy, self.now)

    def step(self, done: bool = False) -> Decision:
        """A decision, its execution, and the frame after it."""
        decision = self.decide()
        self.wait(STEP)
        if decision.action is not None:
            self.session.executed(done, self.now)
            self.show()
        return decision

    def steps(self, number: int, done: bool = False) -> None:
        """Steps of whoever acts, the last of them perhaps the episode's."""
        for left in reversed(range(number)):
            assert self.step(done and not left).actor is not StepActor.NOBODY

    def take_over(self, client: Client = ANNA) -> None:
        """A client asks for control, and presses the clutch."""
        self.press(Press.REQUEST, client)
        self.command(False, client)
        self.command(True, client)

    def ends(self) -> None:
        """The env ends the episode at its next step."""
        self.steps(1, done=True)


def begun(layout: ActionLayout = LAYOUT, attended: bool = False, hands_off: bool = False) -> Stage:
    """A session in its first episode."""
    stage = Stage(layout, attended, hands_off=hands_off)
    stage.begin()
    return stage


def driven(layout: ActionLayout = LAYOUT) -> Stage:
    """A session that Anna has taken over."""
    stage = begun(layout)
    stage.take_over()
    return stage
