"""The person at a LeRobot robot: takes over by a teleoperator, and judges episodes."""

from __future__ import annotations

import time
from typing import Any, Callable, NamedTuple

import numpy as np

from serl_robot.lerobot.body import RobotFault
from serl_robot.lerobot.devices import Device, Wish
from serl_robot.lerobot.keys import HELP, Keys
from serl_robot.lerobot.settings import LeRobotSettings
from serl_robot.spaces import UnservableEnv

REFUSAL_SECONDS = 1.0
"""Seconds between two refusals to let a person take over."""
TAKE, SUCCESS, FAILURE, RERECORD, BEGIN = " ", "s", "f", "r", "\n"


class Verdict(NamedTuple):
    """A person's judgement of an episode in a step."""

    success: bool = False
    failure: bool = False
    rerecord: bool = False


class Pilot:
    """A person with a teleoperator, keys, or both.

    Taking over is refused while a leader arm is not where the robot is, which is told. Each reset takes control back.

    Args:
        teleop: teleoperator of LeRobot's interface, connected; None without one.
        device: its device.
        keys: keys of the terminal.
        settings: settings of the robot.
        tell: prints a sentence for the person.
        clock: monotonic clock in seconds.

    Attributes:
        source: name of the teleoperator.
        interventions: number of interventions so far.

    Raises:
        UnservableEnv: nothing could tell when the person takes over.
    """

    def __init__(
        self,
        teleop: Any,
        device: Device | None,
        keys: Keys,
        settings: LeRobotSettings,
        tell: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._device, self._keys, self._tell, self._clock = device, keys, tell, clock
        self._judges = settings.person_judges
        self._events: Callable[[], dict[Any, Any]] | None = getattr(teleop, "get_teleop_events", None)
        self.source = str(getattr(teleop, "name", "teleoperator"))
        self.interventions = 0
        self._wants = self._is_driving = False
        self._refused_at = -float("inf")
        can_tell = self._events is not None or keys.is_there or (device is not None and device.is_held is not None)
        if device is not None and not can_tell:
            raise UnservableEnv(
                f"The teleoperator {self.source} has no button to take over, and this program has no terminal whose "
                "space bar would do: start it in a terminal (ssh -t, tmux)."
            )
        if settings.wait_for_person and not keys.is_there:
            raise UnservableEnv("wait_for_person needs a terminal, in which a person presses Enter (ssh -t, tmux).")
        if keys.is_there:
            tell(HELP)

    @property
    def can_judge(self) -> bool:
        """True if success comes from a person."""
        return self._judges and (self._keys.is_there or self._events is not None)

    def reset(self) -> None:
        """Takes control back, and forgets what was pressed.

        Raises:
            RobotFault: the teleoperator cannot be read, so that nobody could take over.
        """
        self._wants = self._is_driving = False
        self._keys.read()
        self._polled()

    def has_begun(self) -> bool:
        """True once a person has pressed Enter."""
        return BEGIN in self._keys.read().replace("\r", "\n")

    def step(self, targets: np.ndarray, measured: np.ndarray) -> tuple[Wish | None, Verdict]:
        """The wish of a person who drives, else None; and their judgement.

        Args:
            targets: places (P,) that were sent last.
            measured: measured places (P,).

        Raises:
            RobotFault: the teleoperator cannot be read.
        """
        events = {getattr(name, "value", name): bool(value) for name, value in self._polled().items()}
        pressed = self._keys.read()
        if TAKE in pressed and self._device is not None:
            self._wants = not self._wants
        wants = self._wants or events.get("is_intervention", False)
        if self._device is not None:
            wants = wants or bool(self._device.is_held)
        return self._wish(wants, targets, measured), self._verdict(events, pressed)

    def close(self) -> None:
        """Gives the terminal back."""
        self._keys.close()

    def _polled(self) -> dict[Any, Any]:
        """The events of the teleoperator, which is read."""
        try:
            if self._device is not None:
                self._device.poll()
            return self._events() if self._events is not None else {}
        except Exception as error:
            text = f"The teleoperator {self.source} cannot be read ({type(error).__name__}: {error})"
            raise RobotFault(f"{text}; nothing is sent to the robot.") from error

    def _wish(self, wants: bool, targets: np.ndarray, measured: np.ndarray) -> Wish | None:
        if not wants or self._device is None:
            if self._is_driving:
                self._tell("The policy drives.")
            self._is_driving = False
            return None
        if not self._is_driving:
            refusal = self._device.refusal(measured)
            if refusal:
                self._refuse(refusal)
                return None
            self._device.begin(targets)
            self._is_driving = True
            self.interventions += 1
            self._tell("You drive.")
        return self._device.wish(targets)

    def _verdict(self, events: dict[str, bool], pressed: str) -> Verdict:
        success = SUCCESS in pressed or events.get("success", False)
        rerecord = RERECORD in pressed or events.get("rerecord_episode", False)
        ended = events.get("terminate_episode", False) or events.get("failure", False)
        failure = FAILURE in pressed or (ended and not success and not rerecord)
        if success and not self._judges:
            self._refuse("A reward classifier judges here (person_judges is false): the press for success is not used.")
            success = False
        return Verdict(success, failure and not success, rerecord and not success)

    def _refuse(self, sentence: str) -> None:
        """Tells why something is not done, now and then."""
        if self._clock() - self._refused_at >= REFUSAL_SECONDS:
            self._refused_at = self._clock()
            self._tell(sentence)
