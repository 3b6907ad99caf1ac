"""Ray, wherever the code runs: the cluster of a submitted job, or one on this machine."""

from __future__ import annotations

import logging
import math
import os
from typing import Any

import ray
from ray._private import ray_constants

MIN_OBJECT_STORE = 80 * 2**20
"""Bytes that Ray's object store has at least."""


def start_ray(num_processes: int, memory_gb: float | None = None, resources: dict[str, float] | None = None) -> bool:
    """Joins the cluster of a submitted job, else starts Ray here, with room for so many processes beside the tasks that read.

    What is started here listens on 127.0.0.1 alone, and has no dashboard.

    Args:
        num_processes: that are wanted at a time.
        memory_gb: of the object store, from which what does not fit goes to disk; by default Ray chooses.
        resources: of one's own naming, where Ray is started here.

    Returns:
        Whether Ray was started here, by this call.
    """
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    if ray.is_initialized():
        return False
    if "RAY_ADDRESS" in os.environ:
        ray.init(logging_level=logging.WARNING)
        return False
    start_here(
        num_cpus=max(os.cpu_count() or 1, num_processes + 2),
        object_store_memory=int(max(memory_gb * 1e9, MIN_OBJECT_STORE)) if memory_gb else None,
        resources=resources,
    )
    return True


def start_here(**options: Any) -> None:
    """Starts Ray for this machine alone; `options` are those of `ray.init`.

    By itself Ray listens on every interface, and takes 127.0.0.1 for a name of the machine's outer address. Where it has no
    clusters, as on macOS, it listens on 127.0.0.1 alone.
    """
    has_clusters = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        ray.init(address="local", include_dashboard=False, logging_level=logging.WARNING, **options)
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = has_clusters


def places(needs: dict[str, float]) -> float:
    """How many processes that each need so much of some resources the nodes of the cluster have room for, all in all."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return sum(min((node.get(name, 0.0) // need for name, need in needs.items() if need), default=math.inf) for node in nodes)
