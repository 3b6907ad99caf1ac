"""A LeRobot robot behind a lock, so that a stop from another thread never meets a command on the same bus."""

from __future__ import annotations

import inspect
import logging
import math
import threading
from typing import Any, Mapping

from serl_robot.adapter import EnvFault
from serl_robot.spaces import UnservableEnv

logger = logging.getLogger(__name__)

PLACE = ".pos"
"""Ending of the name of a joint's place, in LeRobot's actions and observations."""
READ_TRIES = 3
"""Tries to read the robot: buses of cheap servos lose a packet now and then."""
STOP_SECONDS = 0.5
"""Longest time that a stop waits for a command that is under way."""


class RobotFault(EnvFault):
    """A failure of the robot or of its teleoperator, which ends the episode."""


class Stopped(RuntimeError):
    """The robot was stopped; it moves no more before the next reset."""


class Body:
    """A connected robot of LeRobot.

    Args:
        robot: robot of LeRobot's interface.

    Attributes:
        joints: names of the joints whose place can be commanded, without `.pos`.
        last: newest observation by name.

    Raises:
        UnservableEnv: the robot has no calibration, or no joints.
    """

    def __init__(self, robot: Any) -> None:
        self._robot = robot
        self._features = dict(robot.action_features)
        self.joints = [name[: -len(PLACE)] for name in self._features if name.endswith(PLACE)]
        if not self.joints:
            raise UnservableEnv(f"The robot's action has no joints (NAME.pos), but {', '.join(self._features)}.")
        self._others = {name: 0.0 for name in self._features if not name.endswith(PLACE)}
        self._lock, self._stopped = threading.Lock(), threading.Event()
        connect(robot, "robot")
        self.last: Mapping[str, Any] = {}
        self.observe()

    def observe(self) -> Mapping[str, Any]:
        """A new observation by name.

        Raises:
            RobotFault: the robot does not answer, or a joint has no place.
        """
        with self._lock:
            self.last = self._read()
        return self.last

    def glance(self) -> None:
        """Renews `last`, unless another thread is at the robot."""
        if self._lock.acquire(blocking=False):
            try:
                self.last = self._read()
            finally:
                self._lock.release()

    def places(self) -> dict[str, float]:
        """The place of each joint in the newest observation."""
        return {joint: float(self.last[joint + PLACE]) for joint in self.joints}

    def send(self, places: Mapping[str, float]) -> dict[str, float]:
        """Commands places by joint; returns those that were sent, which the robot may have limited.

        Raises:
            Stopped: the robot is stopped.
            RobotFault: the robot does not answer, or a place is NaN or infinite.
        """
        with self._lock:
            if self._stopped.is_set():
                raise Stopped("The robot is stopped; it takes no command before the next reset.")
            return self._send(places)

    def stop(self) -> None:
        """Keeps the robot where it is, under torque, from any thread; where it was last, if it cannot be read."""
        self._stopped.set()
        if not self._lock.acquire(timeout=STOP_SECONDS):
            logger.error("A command to the robot hangs; no other one follows it.")
            return
        try:
            try:
                self.last = self._read()
            except RobotFault as error:
                logger.error("%s It is stopped where it was last.", error)
            self._send(self.places())
        finally:
            self._lock.release()

    def release(self) -> None:
        """Lets a stopped robot move again."""
        self._stopped.clear()

    def wait(self, seconds: float) -> None:
        """Waits.

        Raises:
            Stopped: the robot was stopped meanwhile.
        """
        if self._stopped.wait(seconds):
            raise Stopped("The robot was stopped.")

    def disconnect(self) -> None:
        """Ends the connection; most arms lose their torque by it."""
        with self._lock:
            if self._robot.is_connected:
                self._robot.disconnect()

    def _read(self) -> Mapping[str, Any]:
        for tries_left in reversed(range(READ_TRIES)):
            try:
                found: Mapping[str, Any] = self._robot.get_observation()
                break
            except ConnectionError as error:  # LeRobot's for a lost packet
                if not tries_left:
                    raise _fault("read", error) from error
                logger.warning("The robot is read again: %s", error)
            except Exception as error:
                raise _fault("read", error) from error
        for joint in self.joints:
            place = found.get(joint + PLACE)
            if place is None or not math.isfinite(place):
                text = f"The robot's observation {joint}{PLACE} is {place}; nothing is sent to the robot."
                raise RobotFault(text, "not_finite")
        return found

    def _send(self, places: Mapping[str, float]) -> dict[str, float]:
        wanted = {joint + PLACE: float(places[joint]) for joint in self.joints}
        if odd := [name for name, place in wanted.items() if not math.isfinite(place)]:
            text = f"{', '.join(odd)} would be NaN or infinite (of a teleoperator or the kinematics)"
            raise RobotFault(f"{text}; nothing is sent to the robot.", "not_finite")
        try:
            sent = self._robot.send_action({**self._others, **wanted})
        except Exception as error:
            raise _fault("moved", error) from error
        sent = {**wanted, **(sent or {})}
        return {joint: float(sent[joint + PLACE]) for joint in self.joints}


def connect(device: Any, kind: str) -> None:
    """Connects a robot or a teleoperator that is calibrated, without LeRobot's dialogue for it.

    Raises:
        UnservableEnv: it is not calibrated.
    """
    if not device.is_connected:
        takes_calibrate = "calibrate" in inspect.signature(device.connect).parameters
        device.connect(**({"calibrate": False} if takes_calibrate else {}))
    is_calibrated = device.is_calibrated
    if not (is_calibrated() if callable(is_calibrated) else is_calibrated):
        device.disconnect()
        name = getattr(device, "name", type(device).__name__)
        raise UnservableEnv(
            f"The {kind} {name} (id {getattr(device, 'id', None)}) is not calibrated: run lerobot-calibrate with the "
            "same type, port and id first."
        )


def _fault(verb: str, error: Exception) -> RobotFault:
    text = f"The robot cannot be {verb} ({type(error).__name__}: {error})."
    if any(word in str(error).lower() for word in ("overload", "overheat", "temperature")):
        text += (
            " A motor protects itself: let it cool, switch the arm's power off and on, and lower gripper_lead or lead."
        )
    return RobotFault(text)
