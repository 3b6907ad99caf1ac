"""Device files and a `/sys` that a test writes itself."""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Iterable
from pathlib import Path

from serl_ray.teleop.devices.events import EVENT
from serl_ray.teleop.devices.motion import AT_REST, Motion, Numbers
from serl_ray.teleop.devices.plugged import MULTI_AXIS

SPACE_NAVIGATOR, COMPACT, PRO, RECEIVER = (0x046D, 0xC626), (0x256F, 0xC635), (0x046D, 0xC62B), (0x256F, 0xC652)
SEPARATE = {SPACE_NAVIGATOR, COMPACT, PRO}
"""Models that report translation and rotation one after the other."""


class DeviceFile:
    """A named pipe in the place of a device's file, which keeps what is written apart, as a report is."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            os.mkfifo(path)
        self._number: int | None = os.open(path, os.O_RDWR)
        fcntl.fcntl(self._number, fcntl.F_SETFL, os.O_RDWR | os.O_DIRECT)

    def write(self, *pieces: bytes) -> None:
        assert self._number is not None
        for piece in pieces:
            os.write(self._number, piece)

    def unplug(self) -> None:
        """The file ends for whoever has it open, and is there no more."""
        self.path.unlink(missing_ok=True)
        if self._number is not None:
            os.close(self._number)
            self._number = None


class FakeDevice:
    """A device that moves as a test says."""

    has_motion = True

    def __init__(self, source: str = "spacemouse") -> None:
        self.source, self.name = source, f"fake {source}"
        self.motion, self.presses = Motion(), list[str]()
        self.lost: OSError | None = None
        self.is_closed = False

    def move(self, *twist: float, tail: bool = False) -> None:
        self.motion = Motion((*twist, *AT_REST[len(twist) :]), True, tail)

    def rest(self) -> None:
        self.motion = Motion()

    def poll(self, now: float) -> tuple[Motion, list[str]]:
        if self.lost is not None:
            raise self.lost
        presses, self.presses = self.presses, []
        return self.motion, presses

    def close(self) -> None:
        self.is_closed = True


def axes_reports(*axes: int, model: tuple[int, int] = COMPACT) -> list[bytes]:
    """The reports of a deflection, as a model sends it."""
    if model in SEPARATE:
        return [struct.pack("<B3h", 1, *axes[:3]), struct.pack("<B3h", 2, *axes[3:])]
    return [struct.pack("<B6h", 1, *axes)]


def keys_report(*bits: int) -> bytes:
    return b"\x03" + sum(1 << bit for bit in bits).to_bytes(4, "little")


def input_events(*events: tuple[int, int, int]) -> bytes:
    return b"".join(EVENT.pack(0, 0, *event) for event in events)


def add_space_mouse(root: Path, number: int, model: tuple[int, int], plug: str = "usb-1", name: str = "Mouse") -> Path:
    """Plugs a SpaceMouse in: its folder in `/sys`, and no file yet. Returns the path of that."""
    vendor, product = model
    folder = root / f"sys/class/hidraw/hidraw{number}/device"
    folder.mkdir(parents=True)
    lines = [f"HID_ID=0003:{vendor:08X}:{product:08X}", f"HID_NAME={name}", f"HID_PHYS={plug}", "HID_UNIQ="]
    (folder / "uevent").write_text("\n".join(lines))
    (folder / "report_descriptor").write_bytes(MULTI_AXIS + b"\xa1\x01")
    return root / f"dev/hidraw{number}"


def add_input_device(root: Path, number: int, name: str, keys: Iterable[int]) -> Path:
    """Plugs an input device with these keys in, with an empty file."""
    folder = root / f"sys/class/input/event{number}/device"
    (folder / "capabilities").mkdir(parents=True)
    (folder / "id").mkdir()
    (folder / "name").write_text(f"{name}\n")
    (folder / "phys").write_text(f"usb-{number}\n")
    (folder / "id/vendor").write_text("045e\n")
    (folder / "id/product").write_text("028e\n")
    bits, words = sum(1 << key for key in set(keys)), []
    while bits:
        words.append(f"{bits & (1 << 64) - 1:x}")
        bits >>= 64
    (folder / "capabilities/key").write_text(" ".join(reversed(words)) + "\n")
    path = root / f"dev/input/event{number}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def rounded(twist: Numbers) -> list[float]:
    return [round(number, 3) for number in twist]
