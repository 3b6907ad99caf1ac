"""How much memory this process takes at its peak, whatever it took before."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

PROCESS = Path("/proc/self")


class Growth:
    """The resident memory of this process at its peak from now on, beyond what it is now."""

    def __init__(self) -> None:
        ctypes.CDLL(None).malloc_trim(0)  # else what was freed earlier is used again, and nothing grows
        (PROCESS / "clear_refs").write_text("5")  # the peak is what there is now
        self._before = _kilobytes("VmRSS")

    def bytes(self) -> int:
        """So many, so far."""
        return 1024 * (_kilobytes("VmHWM") - self._before)


@contextmanager
def at_most(growth: int) -> Iterator[None]:
    """Fails where memory grows by more bytes in between, if only for a moment."""
    if not PROCESS.exists():
        pytest.skip("this system does not tell a process's peak of memory anew")
    measured = Growth()
    yield
    assert measured.bytes() < growth


def _kilobytes(field: str) -> int:
    return int(re.search(rf"{field}:\s+(\d+) kB", (PROCESS / "status").read_text())[1])
