"""SpaceMice on macOS and Windows, whose reports hidapi reads; Linux hands them over as files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from serl_ray.teleop.devices.motion import Device
from serl_ray.teleop.devices.ports import MOST_READS, DeviceLost
from serl_ray.teleop.devices.spacemouse import VENDORS, SpaceMouse
from serl_ray.utils.errors import SetupError

REPORT_BYTES = 64
MULTI_AXIS_USAGE = (1, 8)
"""Page and number of the usage by which a SpaceMouse is known among its vendors' mice and receivers."""


class HidReports:
    """The reports of a device of hidapi.

    Args:
        device: device that is open, and does not wait.
    """

    def __init__(self, device: Any) -> None:
        self._device = device

    def read(self) -> Iterator[bytes]:
        """The reports that have come since the last call.

        Raises:
            DeviceLost: the device is gone.
        """
        for _ in range(MOST_READS):
            try:
                report = self._device.read(REPORT_BYTES)
            except (OSError, ValueError) as error:  # hidapi raises the second one for a device that is closed
                raise DeviceLost(f"The SpaceMouse is gone ({error}).") from error
            if not report:
                return
            yield bytes(report)

    def close(self) -> None:
        """Closes the device."""
        self._device.close()


@dataclass(frozen=True)
class HidMouse:
    """A SpaceMouse that is plugged in, as `plugged.FoundDevice` describes one on Linux.

    Attributes:
        path: name that hidapi has for it.
        kind: spacemouse.
        name: name that it gives itself.
        product: USB number of its model.
    """

    path: str
    name: str
    product: int
    kind: str = SpaceMouse.source
    is_readable: bool = True

    def is_called(self, name: str) -> bool:
        """True if the name is its path or its kind."""
        return name in (self.path, self.kind)

    def open(self) -> Device:
        """The device, open.

        Raises:
            OSError: it is gone, or the system does not let it be opened.
        """
        device = _hidapi().device()
        device.open_path(self.path.encode())
        device.set_nonblocking(True)
        return SpaceMouse(HidReports(device), self.name, self.product)

    def permission(self) -> str:
        """The way to let this user open the device."""
        return "Allow the terminal to monitor input, in the privacy settings of the system."


def hid_mice() -> list[HidMouse]:
    """The SpaceMice that hidapi finds, in the order of their paths.

    Raises:
        SetupError: hidapi is not installed.
    """
    found = {
        each["path"].decode(): each
        for each in _hidapi().enumerate()
        if each["vendor_id"] in VENDORS and (each["usage_page"], each["usage"]) == MULTI_AXIS_USAGE
    }
    return [
        HidMouse(path, each["product_string"] or "SpaceMouse", each["product_id"])
        for path, each in sorted(found.items())
    ]


def _hidapi() -> ModuleType:
    try:
        import hid
    except ImportError as error:
        raise SetupError("SpaceMice need hidapi on this system: pip install 'serl-ray[devices]'.") from error
    module: ModuleType = hid
    return module
