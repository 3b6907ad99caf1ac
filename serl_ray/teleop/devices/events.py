"""Events of Linux's input devices, by their numbers in the kernel's `input-event-codes.h`."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from .ports import Port

EVENT = struct.Struct("@llHHi")
"""The kernel's `struct input_event`: seconds, microseconds, type, code and value; 24 bytes, or 16 on 32 bits."""
ABSOLUTE = struct.Struct("@6i")
"""The kernel's `struct input_absinfo`: value, least, greatest, fuzz, flat and resolution."""
EV_SYN, EV_KEY, EV_ABS = 0, 1, 3
SYN_DROPPED = 3
EVIOCGABS = 0x80184540
"""Request for the range of an axis, to which the number of the axis is added."""
EVIOCGRAB = 0x40044590
"""Request for all events of a device, which nobody else gets then."""


class InputEvent(NamedTuple):
    """An event: a key (0 up, 1 down, 2 repeated), an axis, or a mark between events."""

    kind: int
    code: int
    value: int


class EventPort:
    """The events of an input device.

    Args:
        port: file of the device.
    """

    def __init__(self, port: Port) -> None:
        self._port, self._rest = port, b""

    def read(self) -> Iterator[InputEvent]:
        """The events that have come since the last call.

        Raises:
            DeviceLost: the device is gone.
        """
        for piece in self._port.read():
            raw = self._rest + piece
            whole = len(raw) - len(raw) % EVENT.size
            self._rest = raw[whole:]
            for _, _, *event in EVENT.iter_unpack(raw[:whole]):
                yield InputEvent(*event)

    def close(self) -> None:
        """Closes the file of the device."""
        self._port.close()


def is_gap(event: InputEvent) -> bool:
    """True where the kernel has dropped events, so that nobody knows which keys are held."""
    return event.kind == EV_SYN and event.code == SYN_DROPPED


def ranges_of(port: Port, axes: tuple[int, ...]) -> dict[int, tuple[int, int]]:
    """The least and the greatest value of those axes that an input device has."""
    import fcntl  # which other systems than Linux do not need, and Windows does not have

    ranges = {}
    for axis in axes:
        try:
            raw = fcntl.ioctl(port.number, EVIOCGABS + axis, bytes(ABSOLUTE.size))
        except OSError:  # the device has no such axis
            continue
        _, least, greatest, *_ = ABSOLUTE.unpack(raw)
        if least < greatest:
            ranges[axis] = (least, greatest)
    return ranges


def grab(port: Port) -> None:
    """Takes all events of a device, until it is closed.

    Raises:
        OSError: somebody else has taken them.
    """
    import fcntl

    fcntl.ioctl(port.number, EVIOCGRAB, 1)
