"""The env of a robot that another computer moves."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box

from serl_ray.data.episodes import EnvFault, StepResult
from serl_ray.data.observations import Observation
from serl_ray.data.schema import ACTION_TOLERANCE
from serl_ray.envs.remote.connection import RobotConnection
from serl_ray.envs.remote.listener import RobotListener
from serl_ray.envs.remote.token import TOKEN_FILE, TOKEN_VARIABLE, robot_token
from serl_ray.teleop.server import THIS_MACHINE, reachable_host
from serl_ray.teleop.wire import Message
from serl_ray.types import SETUP_MODES
from serl_ray.utils.errors import SetupError

logger = logging.getLogger(__name__)

FIRST_PORT = 8765
NOTE_SECONDS = 10.0
"""Seconds between two notes that a robot is waited for."""
TWIST_SECONDS = 0.5
"""Seconds that a robot may take to make an action of a twist, in which a stop of an operator waits."""
SLOW_PERIODS, SLOW_STEPS = 2, 5
"""Periods that a step may take at the robot, and longer steps in a row from which it is too slow for its rate."""
LOOK_SECONDS = 5.0
"""Seconds that a robot may take for live frames."""


class RemoteEnv(gymnasium.Env):
    """A robot whose own computer dials in, by the package serl_robot; docs/remote.md.

    Its spaces are the robot's. It keeps time itself: a step is executed at the next tick of its own clock. `stop` and
    `hold` may be called from any thread, and do not wait. An env of a robot with `live_frames` or `twist_to_action` has
    these, too. Every fault is an EnvFault with one sentence; the robot is stopped or held by then.

    Args:
        setup_mode: one of `serl_ray.types.SETUP_MODES`, which must be the robot's.
        host: address to listen on; 0.0.0.0 for all of this computer's.
        port: first port to try; each worker of a computer has one of its own, of sixteen.
        connect_seconds: seconds to wait for the robot, at the start and in a reset; None for no limit.

    Raises:
        SetupError: the port cannot be had, the token is wrong, or no robot came in time.

    Attributes:
        hz: steps per second that the robot is held to.
        step_seconds: seconds that the newest step took at the robot.
    """

    live_frames: Callable[[], dict[str, np.ndarray]]
    twist_to_action: Callable[[int, np.ndarray, str], np.ndarray]

    def __init__(
        self,
        setup_mode: str,
        host: str = THIS_MACHINE,
        port: int = FIRST_PORT,
        connect_seconds: float | None = None,
    ) -> None:
        if setup_mode not in SETUP_MODES:
            raise ValueError(f"setup_mode is {setup_mode!r}; choose one of {', '.join(SETUP_MODES)}.")
        if not 0 < port < 2**16:
            raise ValueError(f"port is {port!r}; it must be from 1 to {2**16 - 1}.")
        self._setup_mode, self._host, self._connect_seconds = setup_mode, host, connect_seconds
        self._stops = self._num_slow = 0
        self._listener = RobotListener(host, port, setup_mode, robot_token(), version("serl-ray"))
        try:
            self._connection = self._robot()
        except BaseException as error:
            self._listener.close()
            if isinstance(error, EnvFault):
                raise SetupError(str(error)) from error
            raise
        self._describe()

    def _describe(self) -> None:
        """Takes over the robot's description."""
        hello = self._connection.hello
        self.hz, self.step_seconds = hello.hz, 0.0
        self.metadata = {"render_modes": [], "seen_from": hello.seen_from}
        self.observation_space = gymnasium.spaces.Dict({**hello.spaces})
        self.action_space = Box(-1.0, 1.0, (hello.action_dim,), np.float32)
        if "live_frames" in hello.methods:
            self.live_frames = self._live_frames
        if "twist_to_action" in hello.methods:
            self.twist_to_action = self._twist_to_action

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Starts an episode as soon as the robot is there."""
        if options:
            raise ValueError(f"options is {options!r:.100}, and a reset sends none to a robot: leave it out.")
        super().reset(seed=seed)
        stops, self._num_slow = self._stops, 0
        self._connection = self._robot()
        if self._stops != stops:
            raise EnvFault("error", f"A stop came while the robot {self._name} was waited for; it has not moved.")
        answer = self._asked("reset", seed=None if seed is None else int(seed))
        return _arrays(answer, "obs/"), _info(answer)

    def step(self, action: np.ndarray) -> StepResult:
        """Executes the action (A + G,) at the robot's next tick."""
        action = np.asarray(action, np.float32)
        if action.shape != self.action_space.shape or not (np.abs(action) <= 1 + ACTION_TOLERANCE).all():
            raise ValueError(f"The action must be {self.action_space.shape} numbers in [-1, 1], not {action!r:.200}.")
        answer = self._asked("step", {"action": action})
        fields = answer.fields
        self.step_seconds = float(fields["step_seconds"])
        self._check_pace()
        return (
            _arrays(answer, "obs/"),
            float(fields["reward"]),
            fields["terminated"],
            fields["truncated"],
            _info(answer),
        )

    def hold(self) -> None:
        """Tells the robot that the next step may take its time; it holds until then."""
        self._connection.tell("hold")

    def stop(self) -> None:
        """Stops the robot at once; it takes no step until the next reset."""
        self._stops += 1  # for a reset that waits for the robot, whom nobody can tell
        self._connection.tell("stop")

    def close(self) -> None:
        """Tells the robot that the run is over, and frees the port."""
        self._listener.close()

    def _asked(self, kind: str, arrays: dict[str, np.ndarray] | None = None, **fields: Any) -> Message:
        """The answer to a reset or a step; EnvFault where that failed."""
        try:
            answer = self._connection.ask(kind, arrays, **fields)
        except BaseException:  # a deadline or an interrupt: it may move still
            self.stop()
            raise
        match answer.kind:
            case "late":
                raise EnvFault(
                    "timeout",
                    f"The robot {self._name} waited {answer.fields['seconds']:.2f} s for its next step, more than two "
                    f"periods at {self.hz:g} Hz, and held: the step was not executed. Likely causes: a loaded "
                    "computer (put RAY_worker_niceness=0 in front of the command, so that Ray's workers get normal "
                    "priority, and step it in a process of its own by --num_workers 1), a slow network, or a rate that "
                    "they cannot hold (serve the robot at a lower --hz).",
                )
            case "fault":
                text = " ".join(answer.fields["text"].split())
                raise EnvFault(answer.fields.get("kind", "error"), f"The robot {self._name} has stopped. {text}")
        return answer

    def _check_pace(self) -> None:
        """Stops a robot that takes too long for several steps in a row, and raises EnvFault."""
        self._num_slow = self._num_slow + 1 if self.step_seconds > SLOW_PERIODS / self.hz else 0
        if self._num_slow >= SLOW_STEPS:
            self.stop()
            raise EnvFault(
                "timeout",
                f"The robot {self._name} is too slow for {self.hz:g} Hz, and is stopped: {SLOW_STEPS} steps in a row "
                f"took more than two periods there, the last one {self.step_seconds:.2f} s. Make its step faster "
                "(cameras, bus, load of its computer), or serve it at a lower --hz.",
            )

    def _live_frames(self) -> dict[str, np.ndarray]:
        """The newest images (H, W, 3) by camera; ConnectionError while the robot is away."""
        connection = self._listener.connection
        try:
            if connection is None:
                raise TimeoutError
            answer = connection.ask("look", seconds=LOOK_SECONDS)
        except (EnvFault, TimeoutError) as error:
            raise ConnectionError(f"The robot {self._name} does not answer at the moment.") from error
        if "text" in answer.fields:
            raise RuntimeError(answer.fields["text"])
        return answer.arrays

    def _twist_to_action(self, arm: int, twist: np.ndarray, frame: str) -> np.ndarray:
        """The numbers of an arm that the robot makes of a twist (6,)."""
        twist = np.asarray(twist, np.float32)
        answer = self._connection.ask("twist", {"twist": twist}, TWIST_SECONDS, arm=int(arm), frame=str(frame))
        if "numbers" not in answer.arrays:
            raise RuntimeError(answer.fields.get("text", "The robot made no numbers of a twist."))
        return answer.arrays["numbers"]

    @property
    def _name(self) -> str:
        return self._connection.hello.name

    def _robot(self) -> RobotConnection:
        """The connection to the robot; while there is none, a note says how to start it."""
        started = time.monotonic()
        while (connection := self._listener.connection) is None:
            waited = time.monotonic() - started
            left = NOTE_SECONDS if self._connect_seconds is None else self._connect_seconds - waited
            if left <= 0:
                raise EnvFault("lost", f"No robot came within {self._connect_seconds:g} s. {self._how_to_connect()}")
            logger.warning("Waiting for a robot (%.0f s). %s", waited, self._how_to_connect())
            self._listener.wait(min(left, NOTE_SECONDS))
        return connection

    def _how_to_connect(self) -> str:
        """The command that starts the robot, for the person at its computer."""
        host, port = reachable_host(self._host), self._listener.port
        command = f"serl-robot ws://{host}:{port} my_robot:make_env --hz 10 --setup_mode {self._setup_mode}"
        from_elsewhere = (
            f" From another computer, first run `ssh -N -L {port}:{THIS_MACHINE}:{port} HOST` there, or set env_kwargs "
            "host to 0.0.0.0."
            if host == THIS_MACHINE
            else ""
        )
        return (
            f"On the robot's computer run `{command}`, with the token of {TOKEN_FILE} or {TOKEN_VARIABLE} of this "
            f"one.{from_elsewhere}"
        )


def _arrays(message: Message, prefix: str) -> dict[str, np.ndarray]:
    """The arrays of a message whose names begin so."""
    return {name.removeprefix(prefix): array for name, array in message.arrays.items() if name.startswith(prefix)}


def _info(message: Message) -> dict[str, Any]:
    return {**message.fields["info"], **_arrays(message, "info/")}
