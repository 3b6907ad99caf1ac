"""`serl devices`: SpaceMice, gamepads and keyboards at this computer, and the robots that they drive."""

from __future__ import annotations

import asyncio
import getpass
import os
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, ClassVar, Self

from pydantic import Field, model_validator

from serl_ray.cli.parser import given_options
from serl_ray.options.operator import DeviceOptions
from serl_ray.utils.options import Options, refuse_unused

if TYPE_CHECKING:
    from serl_ray.teleop.devices.motion import Device
    from serl_ray.teleop.devices.plugged import PluggedDevice

ADDRESS = "SERL_DEVICE_ADDRESS"
"""Environment variable with the address of a run's devices, which is a secret and so no argument."""
KEYS_HELP = "S success, F failure, R reset, Backspace discard, P pause, Enter control, Space or Esc stop, Y re-arm"
LINE_SECONDS = 1 / 20
"""Seconds between two lines of live values."""


class Devices(Options):
    """List the SpaceMice, gamepads and keyboards at this computer, show their values, or drive a robot with them."""

    title: ClassVar[str] = "use"

    live: bool = False
    """Show what the devices report, until Ctrl-C."""
    drive: bool = False
    """Drive a robot of a run. The address that the run has printed for devices is read from the environment variable
    SERL_DEVICE_ADDRESS, or else asked for."""
    robot: str = ""
    """Name of the robot to drive, where a run has several."""
    devices: DeviceOptions = Field(default_factory=DeviceOptions)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.live and self.drive:
            raise ValueError("live and drive are both given: choose one.")
        refuse_unused(self, ("robot",), self.drive, "--drive")
        names = ("operator_arm", "operator_speed", "seen_from")
        refuse_unused(self.devices, names, self.drive, "--drive")
        return self


def main(argv: Sequence[str]) -> int:
    """Lists, shows or drives; returns 1 where nothing is listed."""
    options = Devices.of(**given_options("serl devices", argv, Devices))

    from serl_ray.teleop.devices.finding import found_devices, open_devices

    if options.drive:
        _drive(options)
        return 0
    if options.live:
        _show(open_devices(options.devices.operator_devices))
        return 0
    found = found_devices()
    print("\n".join(_listed(device) for device in found) or "There is no SpaceMouse, gamepad or keyboard here.")
    return int(not found)


def _listed(device: PluggedDevice) -> str:
    line = f"{device.path}  {device.kind:<10}  {device.name}"
    return line if device.is_readable else f"{line}\n    may not be opened by you. {device.permission()}"


def _show(devices: Sequence[Device]) -> None:
    """A line for each device, written over and over on a terminal."""
    is_terminal, lines = sys.stdout.isatty(), 0
    with ExitStack() as stack:
        for device in devices:
            stack.enter_context(closing(device))
        pressed = dict.fromkeys(range(len(devices)), "")
        while True:
            print(f"\x1b[{lines}A" if is_terminal and lines else "", end="")
            for number, device in enumerate(devices):
                motion, presses = device.poll(time.monotonic())
                pressed[number] = ", ".join(presses) or pressed[number]
                axes = " ".join(f"{value:+.2f}" for value in motion.twist)
                clutch = "tail" if motion.tail else "HELD" if motion.clutch else "    "
                print(f"{device.name[:30]:<30} {axes} {clutch} {pressed[number]:<12}", flush=True)
            lines = len(devices)
            time.sleep(LINE_SECONDS)


def _drive(options: Devices) -> None:
    from serl_ray.teleop.devices.client import DeskAddress, DeviceClient
    from serl_ray.teleop.devices.finding import open_devices
    from serl_ray.teleop.devices.hands import Grasp
    from serl_ray.teleop.devices.terminal import TerminalKeys

    address = DeskAddress.of(_asked_address())
    has_keys = sys.stdin.isatty() and os.name == "posix"
    chosen = options.devices

    def opened() -> list[Device]:
        return [*open_devices(chosen.operator_devices), *([TerminalKeys(sys.stdin.fileno())] if has_keys else [])]

    if has_keys:
        print(f"Keys here: {KEYS_HELP}.")
    grasp = Grasp(chosen.operator_arm, chosen.operator_speed, chosen.seen_from)
    asyncio.run(DeviceClient(address, opened(), opened, grasp, options.robot).run())


def _asked_address() -> str:
    """The address of a run's devices, which no list of processes shows."""
    if address := os.environ.get(ADDRESS):
        return address
    if sys.stdin.isatty():
        return getpass.getpass("Address for devices, as the run has printed it: ")
    return sys.stdin.readline()
