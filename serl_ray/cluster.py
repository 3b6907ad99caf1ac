"""Ray, wherever the code runs: the cluster of a submitted job, or one on this machine."""

from __future__ import annotations

import logging
import os

import ray


def start_ray(num_processes: int) -> bool:
    """Joins the cluster of a submitted job, else starts Ray here, with room for so many processes beside the tasks that read.

    Returns:
        Whether Ray was started here, by this call.
    """
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    if ray.is_initialized():
        return False
    if "RAY_ADDRESS" in os.environ:
        ray.init(logging_level=logging.WARNING)
        return False
    ray.init(num_cpus=max(os.cpu_count() or 1, num_processes + 2), include_dashboard=False, logging_level=logging.WARNING)
    return True
