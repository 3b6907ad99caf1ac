"""A person who records, without a page: what they do when the robot waits, and after each step that they see."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from operated_robots import LAYOUT, PUSHED, Clock, WitnessEnv
from stage import ANNA

from serl_ray.envs.guard import Guard
from serl_ray.teleop.episodes import SessionEpisodes
from serl_ray.teleop.events import Command, Press, Pressed
from serl_ray.teleop.session import Session
from serl_ray.teleop.wrapper import OperatedEnv


class WaitingEnv(WitnessEnv):
    """An env that succeeds only where it is told to, and tells when it waits."""

    def __init__(self, clock: Clock, horizon: int) -> None:
        super().__init__(clock, horizon=horizon)
        self.waits: Callable[[], None] = lambda: None
        self.succeeds = False

    def step(self, action: np.ndarray) -> Any:
        observation, _, _, truncated, info = super().step(action)
        success = self.succeeds and truncated
        return observation, float(success), success, truncated and not success, {**info, "success": success}

    def hold(self) -> None:
        super().hold()
        self.waits()


class PersonsRobot(OperatedEnv):
    """A robot of a recording whose person acts in the robot's own thread, so that nothing happens by chance.

    Args:
        episodes: episodes of its session.
        horizon: steps after which the env ends an episode.

    Attributes:
        witness: the env itself.
        when_waiting: what the person does when the robot begins to wait.
        after_step: what the person does when a step is shown, by its number in the episode.
    """

    def __init__(self, episodes: SessionEpisodes, horizon: int = 8) -> None:
        self.witness = WaitingEnv(Clock(), horizon)
        session = Session(LAYOUT, has_policy=False, episodes=episodes)
        super().__init__(Guard(self.witness, None, None), session, self.witness.clock)
        self.witness.waits = lambda: self.when_waiting()
        self.when_waiting: Callable[[], None] = self.drive
        self.after_step: dict[int, Callable[[], None]] = {}
        self.is_holding = False

    def step(self, action: np.ndarray) -> Any:
        result = super().step(action)
        if self.is_holding:
            self.command(True)
        self.after_step.get(self.session.episodes.steps, lambda: None)()
        return result

    def reset(self, **kwargs: Any) -> Any:
        self.is_holding = False
        return super().reset(**kwargs)

    def command(self, clutch: bool) -> None:
        """The person moves the robot while the clutch is held."""
        assert self.view is not None
        command = Command(ANNA, self.session.lease.epoch, self.view.frame, clutch, PUSHED, "keyboard")
        self.session.command(command, self.clock())

    def press(self, press: Press, frames_ago: int = 0) -> None:
        """The person presses a key, and sees the newest frame or one before it."""
        frame = 0 if self.view is None else self.view.frame - frames_ago
        self.pressed(Pressed(ANNA, self.session.lease.epoch, press, frame))

    def drive(self) -> None:
        """The person takes control, and presses the clutch."""
        if self.session.lease.holder is None:
            self.press(Press.REQUEST)
        self.session.alive(ANNA, self.clock())
        if self.view is not None:
            self.command(False)
            self.command(True)
            self.is_holding = True
