"""Ray, wherever the code runs: the cluster of a submitted job, or one on this machine."""

from __future__ import annotations

import inspect
import logging
import math
import os
import platform
import signal
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray

from serl_ray.cluster.ray_private import (
    NO_PRESTART,
    default_object_store,
    on_this_machine_alone,
    without_token_notice,
)
from serl_ray.utils.memory import free_memory, num_cores

MIN_OBJECT_STORE = 80 * 2**20
"""Bytes that Ray's object store has at least."""


def start_ray(num_processes: int, memory_gb: float | None = None, resources: dict[str, float] | None = None) -> bool:
    """Joins the cluster of a submitted job, else starts Ray here, with room for so many processes beside the tasks that
    read.

    What is started here listens on 127.0.0.1 alone, and has no dashboard.

    Args:
        num_processes: number of processes at a time.
        memory_gb: size of the object store in GB; what does not fit goes to disk. By default Ray's share of the free
            memory.
        resources: custom resources, where Ray is started here.

    Returns:
        Whether Ray was started here, by this call.

    Raises:
        ConnectionError: no cluster answers at `RAY_ADDRESS`, or one that this process cannot join.
        ValueError: the folder of temporary files has too long a name, or this is Windows.
    """
    if platform.system() == "Windows":
        raise ValueError(
            "Training needs Linux or macOS: on Windows run it in WSL (https://learn.microsoft.com/windows/wsl). "
            "Trained agents act on Windows, too, by SACAgent.load and SACHybridAgent.load."
        )
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    if ray.is_initialized():
        return False
    with _kept_handlers():
        if address := os.environ.get("RAY_ADDRESS", "").strip():
            _join(address)
            return False
        object_store = memory_gb * 1e9 if memory_gb else default_object_store(free_memory())
        start_here(
            num_cpus=max(num_cores(), num_processes + 2),
            object_store_memory=int(max(object_store, MIN_OBJECT_STORE)),
            resources=resources,
        )
    return True


def _join(address: str) -> None:
    """Joins the cluster at `RAY_ADDRESS`; ConnectionError where it has other versions, or is no cluster of Ray."""
    check_answers(address)
    try:
        ray.init(logging_level=logging.WARNING)
    except (RuntimeError, ConnectionError) as error:
        raise ConnectionError(
            f"RAY_ADDRESS is {address}, and this process cannot join the cluster there: {' '.join(str(error).split())} "
            "Use the cluster's versions of Ray and Python here, or unset RAY_ADDRESS to use this machine alone."
        ) from error


def check_answers(address: str, seconds: float = 5.0) -> None:
    """Raises ConnectionError if nothing listens at host:port; Ray itself would wait for minutes."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if not port.isdecimal():  # such as auto, which Ray resolves
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), seconds).close()
    except OSError as error:
        raise ConnectionError(
            f"RAY_ADDRESS is {address}, where no cluster answers ({error}). Start the cluster, or unset RAY_ADDRESS to "
            "use this machine alone."
        ) from error


@contextmanager
def _kept_handlers() -> Iterator[None]:
    """Puts the caller's own signal handlers back, which Ray replaces by its own when it starts.

    SIGHUP is blocked meanwhile: Ray's processes inherit that, and so outlive a terminal until the run is saved.
    """
    handlers = {signum: signal.getsignal(signum) for signum in signal.valid_signals()}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP}) if hasattr(signal, "SIGHUP") else None
    try:
        yield
    finally:
        if before is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
    if threading.current_thread() is threading.main_thread():
        for signum, handler in handlers.items():
            if inspect.isroutine(handler) and handler is not signal.default_int_handler:
                signal.signal(signum, handler)


def start_here(**options: Any) -> None:
    """Starts Ray for this machine alone; `options` are those of `ray.init`.

    By itself Ray listens on every interface, and takes 127.0.0.1 for a name of the machine's outer address. Where it
    has no clusters, as on macOS, it listens on 127.0.0.1 alone.

    Raises:
        ValueError: the folder of temporary files has too long a name for the sockets that Ray puts there.
    """
    with on_this_machine_alone(), without_token_notice():
        try:
            ray.init(
                address="local",
                include_dashboard=False,
                logging_level=logging.WARNING,
                _system_config=NO_PRESTART,
                **options,
            )
        except OSError as error:
            if "AF_UNIX" not in str(error):
                raise
            folder = os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()
            raise ValueError(
                f"The folder of temporary files, {folder}, has {len(os.fsencode(folder))} bytes in its name, too many "
                "for the sockets that Ray puts there. Set a shorter one: TMPDIR=/tmp."
            ) from error


def places(needs: dict[str, float]) -> float:
    """Number of processes with these needs for which the nodes of the cluster have room."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return sum(
        min((node.get(name, 0.0) // need for name, need in needs.items() if need), default=math.inf) for node in nodes
    )
