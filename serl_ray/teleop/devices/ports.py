"""Files of devices, read without waiting."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

CHUNK = 4096
"""Most bytes of one read: a file of events hands over whole ones, and a file of reports one at a time."""
MOST_READS = 256
"""Reads of one call, after which a device that floods has to wait."""


class DeviceLost(OSError):
    """A device was unplugged, or its file has ended or failed."""


class Port:
    """The file of a device.

    Args:
        path: path of the file.

    Raises:
        OSError: the file cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.number = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)

    def read(self) -> Iterator[bytes]:
        """The pieces that have come since the last call, each as the kernel hands it over.

        Raises:
            DeviceLost: the device is gone.
        """
        for _ in range(MOST_READS):
            try:
                piece = os.read(self.number, CHUNK)
            except BlockingIOError:
                return
            except OSError as error:
                raise DeviceLost(f"The device at {self._path} is gone ({error.strerror}).") from error
            if not piece:
                raise DeviceLost(f"The device at {self._path} is gone (end of file).")
            yield piece

    def close(self) -> None:
        """Closes the file."""
        os.close(self.number)
