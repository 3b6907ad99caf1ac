"""Serves an env to a trainer on another computer."""

from __future__ import annotations

import logging
import queue
import socket
from contextlib import contextmanager
from typing import Any, Iterator

import serl_robot
from serl_robot.adapter import RobotEnv
from serl_robot.brake import Brake
from serl_robot.control import Control
from serl_robot.dialling import Dialler
from serl_robot.intervene import intervene_of
from serl_robot.link import Link
from serl_robot.orders import PROTOCOL, Order
from serl_robot.signals import Terminated, terminable, unhurried
from serl_robot.spaces import SETUP_MODES, UnservableEnv, description
from serl_robot.trainer import robot_token, trainer_urls
from serl_robot.wire import Message, pack

logger = logging.getLogger(__name__)

HZ_LIMITS = (1.0, 1000.0)
"""Least and greatest number of steps a second."""


def serve(
    env: Any,
    url: str,
    token: str | None = None,
    *,
    hz: float,
    setup_mode: str,
    name: str | None = None,
    frozen_after: float = 0.0,
) -> None:
    """Serves an env until Ctrl-C, SIGTERM or SIGHUP, and then stops the robot and closes the env.

    Args:
        env: env of gymnasium's API with a flat observation_space, actions in [-1, 1], and perhaps `hold`, `stop`,
            `live_frames` and `twist_to_action`.
        url: address of the trainer, such as `ws://gpu-box:8765`.
        token: token of the trainer; None for that of SERL_ROBOT_TOKEN, else of ~/.serl/robot_token.
        hz: greatest number of steps a second.
        setup_mode: layout of the action, such as `single-arm-learned-gripper`.
        name: name of the robot; None for that of this computer.
        frozen_after: seconds after which a camera whose image stays the same has frozen, which stops the robot; 0 for
            never.

    Raises:
        UnservableEnv: the env cannot be served; the message says what to change.
        UnknownTrainer: the address or the token is wrong.
        Refused: the trainer does not take this robot.
    """
    with logged(), terminable():
        Serving(env, url, token, hz=hz, setup_mode=setup_mode, name=name, frozen_after=frozen_after).run()


class Serving:
    """An env that is served; see `serve`."""

    def __init__(
        self,
        env: Any,
        url: str,
        token: str | None = None,
        *,
        hz: float,
        setup_mode: str,
        name: str | None = None,
        frozen_after: float = 0.0,
    ) -> None:
        if setup_mode not in SETUP_MODES:
            raise UnservableEnv(f"The setup_mode is {setup_mode!r}; it must be one of {', '.join(SETUP_MODES)}.")
        if not HZ_LIMITS[0] <= hz <= HZ_LIMITS[1]:
            raise UnservableEnv(f"The rate is {hz} Hz; it must be from {HZ_LIMITS[0]:g} to {HZ_LIMITS[1]:g}.")
        urls, secret = trainer_urls(url), robot_token(token)
        self._env = RobotEnv(env, frozen_after)
        self._orders: queue.Queue[Order] = queue.Queue()
        self._brake = Brake(self._env.stop, self._env.hold)
        if (intervene := intervene_of(env)) is not None:
            intervene.on_stop(lambda: self._brake.pull(0, "by a key of a device at the robot"))
        self._control = Control(self._env, self._brake, self._orders, hz)
        fields, bounds = description(env)
        fields.update(
            protocol=PROTOCOL,
            version=serl_robot.__version__,
            name=name or socket.gethostname(),
            setup_mode=setup_mode,
            hz=float(hz),
            methods=self._env.methods,
            seen_from=self._env.seen_from,
        )
        dialler = Dialler(urls, secret, pack(Message("hello", fields, bounds)))
        self._link = Link(dialler, self._orders, self._brake, self._env.action_dim, self._env.live_frames)

    def run(self) -> None:
        """Serves until `end`, an exception or a signal, and then stops the robot and closes the env."""
        self._link.start()
        try:
            self._control.run()
        except Terminated:
            logger.warning("The process ends; the robot is stopped.")
        finally:
            with unhurried():
                self._brake.mark(2**62)
                self._control.rest()
                self._link.close()
                self._brake.end()
                self._env.close()

    def end(self) -> None:
        """Ends `run`, from another thread."""
        self._brake.pull(2**62)
        self._orders.put(Order(2**62, "ended", error=Terminated()))


@contextmanager
def logged() -> Iterator[None]:
    """Prints the log, where the program has not said what becomes of it."""
    package = logging.getLogger("serl_robot")
    if package.hasHandlers():
        yield
        return
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    level = package.level
    package.addHandler(handler)
    package.setLevel(logging.INFO)  # else Python's level, which leaves out that of an episode
    try:
        yield
    finally:
        package.setLevel(level)
        package.removeHandler(handler)
