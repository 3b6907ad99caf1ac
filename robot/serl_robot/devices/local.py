"""SpaceMice, gamepads and keyboards that are plugged into the robot's computer, as one device that gives actions."""

from __future__ import annotations

import logging
import threading
import time
from contextlib import ExitStack, closing, suppress
from typing import Any, Callable, Sequence

import numpy as np

from serl_robot.devices.hands import Grasp, Hands, HandsState
from serl_robot.devices.motion import Device
from serl_robot.devices.plugged import chosen_devices, linux_devices
from serl_robot.devices.ports import DeviceLost

logger = logging.getLogger(__name__)

POLL_SECONDS = 1 / 50
"""Seconds between two looks at the devices."""
REOPEN_SECONDS = 1.0
"""Seconds between tries to open devices that were lost."""
RELEASE_SECONDS = 1.0
"""Seconds after a press of the stop key in which another one stops as well: nobody who needs it counts presses."""
STALE_SECONDS = 1.0
"""Age in seconds of the newest look at the devices from which on nobody knows whether they are held."""
AXES_OF_FOUR = (0, 1, 2, 5)
"""Numbers of a twist that an arm of four numbers takes: x, y, z and yaw."""
GRIPS = {"close": -1.0, "open": 1.0}


class StopPressed(Exception):
    """The operator has stopped the robot by a key of a device."""


class UnusableDevice(ValueError):
    """A device that is not there, cannot be opened, or cannot drive this robot."""


class LocalDevices:
    """The devices of an operator at the robot, which a thread reads.

    Args:
        reopen: opens the devices, also after they were lost.
        env: env of the robot, whose `twist_to_action` and `metadata["seen_from"]` are used.
        setup_mode: layout of the action.
        speed: share of full scale, in (0, 1].
        clock: monotonic clock in seconds.

    Raises:
        OSError: there is no such device, or it cannot be opened.
        UnusableDevice: a device cannot drive this robot.
    """

    def __init__(
        self,
        reopen: Callable[[], Sequence[Device]],
        env: Any,
        setup_mode: str,
        speed: float = 0.5,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not 0 < speed <= 1:
            raise UnusableDevice(f"The speed is {speed:g}; it must be above 0, up to 1 for full scale.")
        self._reopen, self._clock = reopen, clock
        self._arms = 2 if setup_mode.startswith("dual") else 1
        self._per_arm = int(env.action_space.shape[0]) // self._arms
        self._has_grippers = setup_mode.endswith("learned-gripper")
        self._moving = self._per_arm - self._has_grippers
        base = getattr(env, "unwrapped", env)
        self._convert = getattr(base, "twist_to_action", None)
        if self._convert is None and self._moving > 6:
            text = f"An arm has {self._moving} numbers, and a device moves a hand by six"
            raise UnusableDevice(f"{text}: give the env a twist_to_action(arm, twist, frame).")
        seen_from = (getattr(base, "metadata", None) or {}).get("seen_from", "behind")
        self._grasp = Grasp(speed=speed, seen_from=seen_from)
        self._hands = self._opened()
        self.source = ""
        self._state: HandsState | None = None
        self._grips: dict[int, float] = {}
        self._is_stopped, self._stop_pressed_at = False, -RELEASE_SECONDS
        self._tell_stop: Callable[[], None] | None = None
        self._lost: DeviceLost | None = None
        self._noted: set[str] = set()
        self._polled_at = clock()
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="devices", daemon=True)
        self._thread.start()

    def read(self) -> np.ndarray | None:
        """The action (n,) of whoever holds a device; None while nobody does.

        Raises:
            DeviceLost: a device is gone, or not read any more; it is opened again when it comes back.
            StopPressed: the operator has pressed the stop, which another press releases.
        """
        with self._lock:
            if (error := self._error()) is not None:
                raise error
            state, grips = self._state, self._grips
            self._grips = {}
        if state is None or not state.clutch:
            return None
        self.source = state.source
        action = np.zeros((self._arms, self._per_arm), np.float32)
        for arm, twist in state.twists.items():
            action[arm, : self._moving] = self._numbers(arm, np.array(twist, np.float32))
        for arm, direction in grips.items():
            action[arm, -1] = direction
        return action.reshape(-1)

    def obstacle(self) -> str:
        """The reason why nobody may drive, and no episode begins; empty without one."""
        with self._lock:
            return str(self._error() or "")

    def on_stop(self, call: Callable[[], None]) -> None:
        """Has a function called, in the thread of the devices, whenever the operator presses the stop."""
        self._tell_stop = call

    def close(self) -> None:
        """Closes the devices."""
        self._closing.set()
        self._thread.join()
        if self._hands is not None:
            self._hands.close()

    def _numbers(self, arm: int, twist: np.ndarray) -> np.ndarray:
        """The numbers of an arm that a twist (6,) moves."""
        if self._convert is not None:
            return np.clip(np.asarray(self._convert(arm, twist, "base"), np.float32), -1, 1)
        return twist[list(AXES_OF_FOUR)] if self._moving == len(AXES_OF_FOUR) else twist[: self._moving]

    def _error(self) -> Exception | None:
        """The exception that keeps the robot still; None without one."""
        if self._lost is not None:
            return self._lost
        if self._is_stopped:
            return StopPressed("The operator has stopped the robot by a key at its computer; the same key releases.")
        if (age := self._clock() - self._polled_at) > STALE_SECONDS:
            return DeviceLost(f"The devices were last read {age:.1f} s ago, so nobody knows whether they are held.")
        return None

    def _opened(self) -> Hands | None:
        return Hands(self._reopen(), self._grasp, self._arms)

    def _run(self) -> None:
        while not self._closing.wait(POLL_SECONDS if self._hands is not None else REOPEN_SECONDS):
            try:
                self._poll()
            except DeviceLost as error:
                self._lose(error)
            except OSError as error:  # it cannot be opened yet
                self._note(str(error))
            except Exception as error:  # whatever it is, nobody must go on driving by the last look
                self._lose(DeviceLost(f"The devices cannot be read ({type(error).__name__}: {error})."))

    def _poll(self) -> None:
        if self._hands is None:
            self._hands = self._opened()
            self._noted.clear()
            logger.warning("The device is back.")
        assert self._hands is not None
        state = self._hands.poll(self._clock())
        with self._lock:
            self._state, self._lost, self._polled_at = state, None, self._clock()
            for name, arm in state.presses:
                self._press(name, arm)
            if not state.clutch:
                self._grips = {}

    def _press(self, name: str, arm: int) -> None:
        if name == "stop":
            self._press_stop()
        elif name in GRIPS and self._has_grippers:
            self._grips[arm] = GRIPS[name]
        else:
            self._note(f"The key for {name!r} does nothing at the robot; it is for the operator's page.")

    def _press_stop(self) -> None:
        now = self._clock()
        is_release = self._is_stopped and now - self._stop_pressed_at >= RELEASE_SECONDS
        self._is_stopped, self._stop_pressed_at = not is_release, now
        logger.warning("The robot is %s by a key of a device.", "released" if is_release else "stopped")
        if self._is_stopped and self._tell_stop is not None:
            self._tell_stop()

    def _lose(self, error: DeviceLost) -> None:
        hands, self._hands = self._hands, None
        with self._lock:
            self._lost, self._state, self._grips = error, None, {}
        self._note(f"{error} The robot takes no step until it is back.")
        if hands is not None:
            with suppress(OSError):
                hands.close()

    def _note(self, text: str) -> None:
        """Logs a remark once."""
        if text not in self._noted:
            self._noted.add(text)
            logger.warning("%s", text)


def local_devices(env: Any, setup_mode: str, wanted: Sequence[str] = (), speed: float = 0.5) -> LocalDevices:
    """The devices that are plugged in here, of Linux.

    Args:
        env: env of the robot.
        setup_mode: layout of the action.
        wanted: paths, or `spacemouse` or `gamepad`; with none, all SpaceMice, or else the first gamepad.
        speed: share of full scale, in (0, 1].

    Raises:
        UnusableDevice: there is no such device, it cannot be opened, or cannot drive this robot.
    """

    def opened() -> Sequence[Device]:
        with ExitStack() as stack:
            devices = [stack.enter_context(closing(each.open())) for each in chosen_devices(wanted, linux_devices())]
            stack.pop_all()
        return devices

    try:
        return LocalDevices(opened, env, setup_mode, speed)
    except OSError as error:
        raise UnusableDevice(str(error)) from error
