"""Devices that are plugged in, as Linux shows them in `/sys`, and what is missing where one cannot be opened."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from .events import EventPort, grab, ranges_of
from .gamepad import PAD_AXES, Gamepad
from .keyboard import KEY_MOTION, KEY_PRESSES, SPACE, Keyboard
from .motion import Device
from .ports import Port
from .spacemouse import VENDORS, SpaceMouse

MULTI_AXIS = b"\x05\x01\x09\x08"
"""Beginning of the report descriptor of a SpaceMouse, by which it is known among its vendors' mice and receivers."""
A_BUTTON = 0x130
"""Code of the button that every gamepad has."""
WORD_BITS = 8 * struct.calcsize("@l")
"""Bits of a word in a list of capabilities."""
RULES_FILE = "/etc/udev/rules.d/71-serl-ray.rules"
"""File of udev's rules; its number lies before that of the rule that reads the tag `uaccess`."""
RELOAD = "sudo udevadm control -R && sudo udevadm trigger"


@dataclass(frozen=True)
class FoundDevice:
    """A device that is plugged in.

    Attributes:
        path: its file.
        kind: spacemouse, gamepad or keyboard.
        name: name that it gives itself.
        vendor: USB number of its vendor.
        product: USB number of its model.
        plug: place where it is plugged in, which outlives a restart; empty where it is not known.
    """

    path: Path
    kind: str
    name: str
    vendor: int
    product: int
    plug: str

    @property
    def is_readable(self) -> bool:
        """True if this user may open it."""
        return os.access(self.path, os.R_OK)

    def is_called(self, name: str) -> bool:
        """True if the name is its path or its kind; a keyboard, which also types elsewhere, goes by its path alone."""
        is_kind = name == self.kind and self.kind != Keyboard.source
        return is_kind or Path(name).resolve() == self.path.resolve()

    def open(self) -> Device:
        """The device, open.

        Raises:
            OSError: it is gone, this user may not open it, or somebody else has it.
        """
        if not self.is_readable and self.path.exists():
            raise PermissionError(f"{self.path} ({self.name}) may not be opened by you. {self.permission()}")
        port = Port(self.path)
        if self.kind == SpaceMouse.source:
            return SpaceMouse(port, self.name, self.product)
        if self.kind == Gamepad.source:
            return Gamepad(EventPort(port), self.name, ranges_of(port, PAD_AXES))
        try:
            grab(port)
        except OSError as error:
            port.close()
            raise OSError(f"{self.path} ({self.name}) is used by another program ({error.strerror}).") from error
        return Keyboard(EventPort(port), self.name)

    def permission(self) -> str:
        """The commands that let this user open the device."""
        if self.kind != SpaceMouse.source:
            return "Join the group of input devices: sudo usermod -aG input $USER; then log out and in again."
        ids = f"{self.vendor:04X}:{self.product:04X}"
        rule = f'KERNEL=="hidraw*", KERNELS=="*:{ids}.*", GROUP="input", MODE="0660", TAG+="uaccess"'
        return (
            f"Add a rule for udev: echo '{rule}' | sudo tee -a {RULES_FILE}; {RELOAD}. It lets in whoever sits at this "
            "computer; over ssh, also join the group: sudo usermod -aG input $USER; then log out and in again."
        )


class PluggedDevice(Protocol):
    """A device that is plugged in, of Linux or of another system."""

    @property
    def path(self) -> Any:
        """Name by which the system knows it."""
        ...

    @property
    def kind(self) -> str:
        """Kind of device: spacemouse, gamepad or keyboard."""
        ...

    @property
    def name(self) -> str:
        """Name that it gives itself."""
        ...

    @property
    def is_readable(self) -> bool:
        """True if this user may open it."""
        ...

    def is_called(self, name: str) -> bool:
        """True if the name stands for it."""
        ...

    def open(self) -> Device:
        """The device, open."""
        ...

    def permission(self) -> str:
        """The way to let this user open the device."""
        ...


def linux_devices(root: Path = Path("/")) -> list[FoundDevice]:
    """The SpaceMice, gamepads and keyboards at a computer with Linux, each kind in the order of the plugs.

    Args:
        root: folder that holds `sys` and `dev`.
    """
    found = [*_space_mice(root), *_input_devices(root)]
    kinds = (SpaceMouse.source, Gamepad.source, Keyboard.source)
    return sorted(found, key=lambda device: (kinds.index(device.kind), device.plug, str(device.path)))


def _space_mice(root: Path) -> Iterator[FoundDevice]:
    for folder in (root / "sys/class/hidraw").glob("hidraw*"):
        lines = _text(folder / "device/uevent").splitlines()
        facts = dict(line.split("=", 1) for line in lines if "=" in line)
        _, vendor, product = (int(part, 16) for part in facts.get("HID_ID", "0:0:0").split(":"))
        if vendor in VENDORS and MULTI_AXIS in _bytes(folder / "device/report_descriptor"):
            name, plug = facts.get("HID_NAME", ""), facts.get("HID_PHYS", "")
            yield FoundDevice(root / "dev" / folder.name, SpaceMouse.source, name, vendor, product, plug)


def _input_devices(root: Path) -> Iterator[FoundDevice]:
    for folder in (root / "sys/class/input").glob("event*"):
        device = folder / "device"
        if kind := _kind_of(_bits(_text(device / "capabilities/key"))):
            vendor, product = (int(_text(device / "id" / name) or "0", 16) for name in ("vendor", "product"))
            name, plug = _text(device / "name"), _text(device / "phys")
            yield FoundDevice(root / "dev/input" / folder.name, kind, name, vendor, product, plug)


def _kind_of(keys: int) -> str | None:
    """The kind of an input device, by the codes of its keys as bits."""
    if keys >> A_BUTTON & 1:
        return Gamepad.source
    has_all = all(keys >> code & 1 for code in (SPACE, *KEY_MOTION, *KEY_PRESSES))
    return Keyboard.source if has_all else None


def _bits(text: str) -> int:
    """The number of a list of capabilities, whose words are hexadecimal, the highest one first."""
    number = 0
    for word in text.split():
        number = number << WORD_BITS | int(word, 16)
    return number


def _text(path: Path) -> str:
    return _bytes(path).decode(errors="replace").strip()


def _bytes(path: Path) -> bytes:
    """The bytes of a file of the kernel; none where a device has just gone, or does not have it."""
    try:
        return path.read_bytes()
    except OSError:
        return b""


def chosen_devices(wanted: Sequence[str], found: Sequence[PluggedDevice]) -> list[PluggedDevice]:
    """The devices to use.

    Args:
        wanted: paths of devices, or kinds, each of which stands for all devices of this kind; with none, all SpaceMice,
            or where there are none the first gamepad.
        found: devices that are plugged in.

    Raises:
        FileNotFoundError: there is no such device.
    """
    if not wanted:
        mice = [device for device in found if device.kind == SpaceMouse.source]
        mice = mice or [device for device in found if device.kind == Gamepad.source][:1]
        if not mice:
            raise FileNotFoundError(
                "There is no SpaceMouse and no gamepad at this computer. Plug one in, or name a keyboard by its path."
            )
        return mice
    chosen: list[PluggedDevice] = []
    for name in wanted:
        matching = [device for device in found if device.is_called(name)]
        if not matching:
            paths = ", ".join(str(device.path) for device in found) or "none"
            raise FileNotFoundError(
                f"There is no device {name!r}. Name a path, {SpaceMouse.source} or {Gamepad.source}; devices: {paths}."
            )
        chosen += [device for device in matching if device not in chosen]
    return chosen
