"""Memory and cores of this process: what its container leaves of the machine's, and what glibc does with freed
pages."""

from __future__ import annotations

import ctypes
import math
import os
import platform
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import psutil

MEMBERSHIP, MOUNTS = Path("/proc/self/cgroup"), Path("/proc/self/mounts")
"""Linux's lists of the control groups of this process, and of mounted file systems."""
CGROUP_FILES = {
    "cgroup": ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_active_file", "total_inactive_file"),
    "cgroup2": ("memory.max", "memory.current", "active_file", "inactive_file"),
}
"""By kind of control group: the files of limit and usage, and the names in `memory.stat` of pages that can be
dropped."""

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3  # mallopt(3)
MALLOC_OPTIONS = ((M_MMAP_THRESHOLD, 2**25), (M_TRIM_THRESHOLD, 2**28), (M_TOP_PAD, 2**26))


def free_memory() -> int:
    """Bytes that this process can still take: the least of the machine's free memory and of what its containers
    leave."""
    left = [_memory_left(kind, group) for kind, group in _control_groups("memory")]
    return max(min([int(psutil.virtual_memory().available), *(number for number in left if number is not None)]), 0)


def num_cores() -> int:
    """Number of cores that this process can use: the least of the machine's, its affinity, and its containers'
    shares."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else math.inf
    shares = [_core_share(kind, group) for kind, group in _control_groups("cpu")]
    return max(math.ceil(min([os.cpu_count() or 1, affinity, *(share for share in shares if share is not None)])), 1)


def keep_freed_memory() -> None:
    """Lets glibc keep up to 256 MB that an update has freed: the next update needs as much, and new pages take time.

    It changes the whole process, so only a command calls it. `serl benchmark learner
    --no_keep_memory` measures what it gains.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    libc = ctypes.CDLL(None)
    for option, value in MALLOC_OPTIONS:
        libc.mallopt(option, value)


def _control_groups(controller: str) -> Iterator[tuple[str, Path]]:
    """The kind and the folder of each control group around this process that can limit what the controller gives.

    A container may see its own group at the mount point, whatever path is listed for it.
    """
    mounts = [line.split() for line in _lines(MOUNTS)]
    for _, controllers, group in (line.split(":", 2) for line in _lines(MEMBERSHIP)):
        kind = "cgroup" if controllers else "cgroup2"
        if kind == "cgroup" and controller not in controllers.split(","):
            continue
        for _, mount, found, options, *_ in mounts:
            if found == kind and (kind == "cgroup2" or controller in options.split(",")):
                inner = PurePosixPath(group.strip("/"))
                yield from ((kind, Path(mount, folder)) for folder in (inner, *inner.parents))


def _memory_left(kind: str, group: Path) -> int | None:
    """Bytes below the limit of a group, where files in memory count as free; None without a limit."""
    limit_file, usage_file, *droppable = CGROUP_FILES[kind]
    limit, usage = _number(group / limit_file), _number(group / usage_file)
    if limit is None or usage is None:
        return None
    stat = dict(line.split(" ", 1) for line in _lines(group / "memory.stat"))
    return limit - usage + sum(int(stat.get(name, 0)) for name in droppable)


def _core_share(kind: str, group: Path) -> float | None:
    """Cores that a group may use, such as 1.5; None without a limit."""
    if kind == "cgroup2":
        quota, period = ([*_lines(group / "cpu.max"), "max 1"][0]).split()
    else:
        quota, period = (str(_number(group / name)) for name in ("cpu.cfs_quota_us", "cpu.cfs_period_us"))
    return int(quota) / int(period) if quota.isdecimal() and period.isdecimal() else None


def _number(path: Path) -> int | None:
    [text] = _lines(path) or ["max"]
    return int(text) if text.isdecimal() else None


def _lines(path: Path) -> list[str]:
    """The lines of a file of the system; none where it does not exist or is not ours to read."""
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
