"""Memory of the process: what glibc does with freed pages."""

from __future__ import annotations

import ctypes
import platform

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3  # mallopt(3)
KEPT = ((M_MMAP_THRESHOLD, 2**25), (M_TRIM_THRESHOLD, 2**28), (M_TOP_PAD, 2**26))


def keep_freed_memory() -> None:
    """Lets glibc keep up to 256 MB that an update has freed: the next update needs as much, and new pages take time.

    It changes the whole process, so only a command calls it. `serl benchmark learner
    --no_keep_memory` measures what it gains.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    libc = ctypes.CDLL(None)
    for option, value in KEPT:
        libc.mallopt(option, value)
