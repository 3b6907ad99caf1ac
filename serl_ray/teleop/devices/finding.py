"""Devices that are plugged in, and those of them that somebody wants, open.

Linux shows them in `/sys`; other systems show their SpaceMice by hidapi.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path

from serl_ray.teleop.devices.hid_mice import hid_mice
from serl_ray.teleop.devices.motion import Device
from serl_ray.teleop.devices.plugged import PluggedDevice, chosen_devices, linux_devices


def found_devices(root: Path = Path("/")) -> Sequence[PluggedDevice]:
    """The SpaceMice, gamepads and keyboards at this computer, each kind in the order of the plugs.

    Args:
        root: folder that holds `sys` and `dev`.

    Raises:
        SetupError: another system than Linux has no hidapi.
    """
    return linux_devices(root) if sys.platform == "linux" else hid_mice()


def open_devices(wanted: Sequence[str]) -> list[Device]:
    """The devices at this computer that `wanted` names, open; of several, all or none.

    Raises:
        OSError: there is no such device, or it cannot be opened.
    """
    with ExitStack() as stack:
        opened = [stack.enter_context(closing(device.open())) for device in chosen_devices(wanted, found_devices())]
        stack.pop_all()
    return opened
