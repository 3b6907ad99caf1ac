"""Memory and cores of a container, by files as Linux's two kinds of control groups have them."""

from __future__ import annotations

import os
from types import SimpleNamespace

import psutil
import pytest

from serl_ray.cluster import start
from serl_ray.utils import memory

UNLIMITED = 9223372036854771712
"""What the first kind has for no limit."""


@pytest.fixture
def groups(tmp_path, monkeypatch):
    """Writes control groups, of a machine with 10 GB free and 8 cores: the lists of groups and of mounts, and files by
    name."""
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=10**10))
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(6)), raising=False)

    def write(membership, mounts, files):
        for name, text in {"membership": membership, "mounts": mounts.replace("ROOT", str(tmp_path)), **files}.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(f"{text}\n" if text else "")
        monkeypatch.setattr(memory, "MEMBERSHIP", tmp_path / "membership")
        monkeypatch.setattr(memory, "MOUNTS", tmp_path / "mounts")

    return write


V1 = (
    "cgroup ROOT/memory cgroup rw,memory 0 0\ncgroup ROOT/cpu,cpuacct cgroup rw,cpu,cpuacct 0 0\n"
    "tmpfs /tmp tmpfs rw 0 0"
)
V2 = "cgroup2 ROOT/fs cgroup2 rw,nosuid 0 0"
V1_GROUPS = "4:memory:/jobs/one\n3:cpu,cpuacct:/jobs/one\n1:name=systemd:/jobs/one"
CASES = {
    "no container": ("", "", {}, 10**10, 6),
    "v1 without limits": (
        V1_GROUPS,
        V1,
        {
            "memory/memory.limit_in_bytes": UNLIMITED,
            "memory/memory.usage_in_bytes": 10**9,
            "cpu,cpuacct/cpu.cfs_quota_us": -1,
            "cpu,cpuacct/cpu.cfs_period_us": 100000,
        },
        10**10,
        6,
    ),
    "v1": (
        V1_GROUPS,
        V1,
        {
            "memory/jobs/one/memory.limit_in_bytes": 4 * 10**9,
            "memory/jobs/one/memory.usage_in_bytes": 3 * 10**9,
            "memory/jobs/one/memory.stat": "cache 5\ntotal_active_file 300000000\ntotal_inactive_file 200000000",
            "cpu,cpuacct/jobs/one/cpu.cfs_quota_us": 150000,
            "cpu,cpuacct/jobs/one/cpu.cfs_period_us": 100000,
        },
        15 * 10**8,
        2,
    ),
    "v1, where only the mount point is seen": (
        "4:memory:/docker/1f\n3:cpu,cpuacct:/docker/1f",
        V1,
        {"memory/memory.limit_in_bytes": 4 * 10**9, "memory/memory.usage_in_bytes": 10**9},
        3 * 10**9,
        6,
    ),
    "v2": (
        "0::/",
        V2,
        {
            "fs/memory.max": 4 * 10**9,
            "fs/memory.current": 3 * 10**9,
            "fs/memory.stat": "anon 7\nactive_file 1000\ninactive_file 2000",
            "fs/cpu.max": "400000 100000",
        },
        10**9 + 3000,
        4,
    ),
    "v2, a limit above": (
        "0::/pod/a:b",
        V2,
        {
            "fs/pod/memory.max": 2 * 10**9,
            "fs/pod/memory.current": 3 * 10**9,
            "fs/pod/a:b/memory.max": "max",
            "fs/pod/a:b/memory.current": 10**9,
            "fs/pod/a:b/cpu.max": "max 100000",
            "fs/pod/cpu.max": "20000 100000",
        },
        0,
        1,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_the_least_of_the_machine_and_its_containers_counts(groups, case):
    membership, mounts, files, free, cores = CASES[case]
    groups(membership, mounts, files)
    assert (memory.free_memory(), memory.num_cores()) == (free, cores)


def test_ray_is_started_with_the_cores_and_the_memory_of_the_container(groups, monkeypatch):
    started = {}
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(start.ray, "is_initialized", lambda: False)
    monkeypatch.setattr(start, "start_here", lambda **options: started.update(options))
    groups(*CASES["v2"][:3])
    start.start_ray(0)
    assert started["num_cpus"] == 4 and start.MIN_OBJECT_STORE <= started["object_store_memory"] <= (10**9 + 3000) * 0.5
