"""A robot in real time, for tests of the page in a browser."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import Any

import numpy as np
from line_envs import LineEnv
from operated_robots import LAYOUT, POLICY

from serl_ray.envs.guard import Guard
from serl_ray.teleop.link import Link
from serl_ray.teleop.server import HubServer
from serl_ray.teleop.session import Session
from serl_ray.teleop.wrapper import Interrupted, OperatedEnv

STEP_SECONDS = 0.05


class EndlessEnv(LineEnv):
    """An env whose episodes do not end by themselves, and whose image tells its steps."""

    def step(self, action: np.ndarray) -> Any:
        self.steps %= 200
        return super().step(action)


class LiveRobot:
    """A robot that takes steps of its policy in a thread until it is closed.

    Args:
        server: hub that it joins.
        name: name of the robot.
        attended: whether it waits while no operator is there.
        asks: sentence that asks a person to put the scene in order before each episode.
    """

    def __init__(self, server: HubServer, name: str, attended: bool = False, asks: str = "") -> None:
        guarded = Guard(EndlessEnv(cameras=("front", "wrist"), horizon=1000), None, None)
        self.env = OperatedEnv(guarded, Session(LAYOUT, attended=attended), asks=asks)
        self._link = Link(self.env, name, server.robots, self.env.described(20.0))
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._closing.set()
        self.env.close()
        self._thread.join()
        self._link.close()

    def _run(self) -> None:
        with suppress(Interrupted):
            self.env.reset(seed=1)
            while not self._closing.wait(STEP_SECONDS):
                if self.env.step(np.array(POLICY))[3]:
                    self.env.reset(seed=1)
