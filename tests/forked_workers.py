"""Ray's worker processes and its nodes' agents, forked from one that has done their imports.

The tests start hundreds of workers and dozens of nodes, and each process would import for seconds. Nodes that are
started with `with_forks` run this file in place of Ray's `default_worker.py`, and in front of the agents' scripts: it
has a server, which all nodes of a test process share, fork the process, and waits until that has ended. Only the
workers of a cluster's first job are forked: Ray reads a worker's job from the environment when it is imported. And
only the agents of nodes that start after a worker: Ray waits for agents, for which the server's imports take too long.
"""

from __future__ import annotations

import fcntl
import gc
import importlib.util
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import Any

IMPORTS = ("ray.train", "serl_ray.runs.train", "serl_ray.sweeps.run", "serl_ray.classifier.train")
IMPORTS += ("ray.dashboard.agent", "ray.dashboard.http_server_agent")
FOR, JOB, RAYLET = "SERL_TESTS_PID", "RAY_JOB_ID", "RAY_RAYLET_PID"
FIRST_JOB, SERVE = "01000000", "--serve"


def with_forks(init: Callable[..., None]) -> Callable[..., None]:
    """The constructor of Ray's parameters of a node, whose workers are then forked; agents are from now on."""
    from ray._private import services

    os.environ.setdefault(FOR, str(os.getpid()))
    services._build_python_executable_command_memory_profileable = lambda *given, **options: [sys.executable, __file__]

    @wraps(init)
    def construct(self: Any, *args: Any, **values: Any) -> None:
        init(self, *args, **{"worker_path": __file__, **values})

    return construct


def own_entry() -> str:
    """Ray's own entry of a worker; Ray is not imported to find it."""
    [folder] = importlib.util.find_spec("ray").submodule_search_locations
    return f"{folder}/_private/workers/default_worker.py"


def request() -> None:
    """Asks the server for a process that is this one in all but its imports, and waits for its end."""
    address = Path(tempfile.gettempdir(), f"serl-tests-{os.environ[FOR]}")
    is_agent = sys.argv[1].endswith(".py")
    arguments = sys.argv[1:] if is_agent else [own_entry(), *sys.argv[1:]]
    if not (address.exists() if is_agent else os.environ.get(JOB) == FIRST_JOB):
        os.execv(sys.executable, [sys.executable, *arguments])
    with Path(f"{address}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not address.exists():
            start_server(address)
    order = {"arguments": arguments, "environment": dict(os.environ), "folder": os.getcwd(), "is_agent": is_agent}
    node = int(os.environ.get(RAYLET, os.getppid()))
    order["with"] = [node, os.getpid()] if is_agent else [node]
    with socket.socket(socket.AF_UNIX) as server:
        server.connect(str(address))
        text = json.dumps(order).encode()
        socket.send_fds(server, [len(text).to_bytes(4, "big")], [0, 1, 2])
        server.sendall(text)
        server.recv(1)


def start_server(address: Path) -> None:
    """Starts the server, and waits until it has imported."""
    command = [sys.executable, __file__, SERVE, str(address)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True) as server:
        server.stdout.readline()
        server.returncode = 0  # it goes on


def serve(address: Path) -> None:
    """Forks a process for each request, until the tests have ended."""
    os.environ[RAYLET] = str(os.getpid())
    for name in IMPORTS:
        importlib.import_module(name)
    import_agents()
    gc.freeze()  # so that no fork touches, and copies, what it shares
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(address))
        listener.listen(64)
        listener.settimeout(1.0)
        print("ready", flush=True)
        while is_alive(os.environ[FOR]):
            try:
                client, _ = listener.accept()
            except TimeoutError:
                continue
            if os.fork() == 0:
                listener.close()
                work(client)
            client.close()
    for path in (address, Path(f"{address}.lock")):
        path.unlink()


def import_agents() -> None:
    """Imports all that an agent does, without what it logs: that would come out where a worker's output does."""
    from ray.dashboard.utils import DashboardAgentModule, get_all_modules

    logging.disable(logging.INFO)
    get_all_modules(DashboardAgentModule)
    logging.disable(logging.NOTSET)


def work(client: socket.socket) -> None:
    """What a worker or an agent does: Ray's own script, as an interpreter runs it."""
    import runpy

    os.setpgid(0, 0)  # Ray ends a whole process group
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    client.settimeout(None)
    length, fds, _, _ = socket.recv_fds(client, 4, 3)
    with client.makefile("rb") as stream:
        order = json.loads(stream.read(int.from_bytes(length, "big")))
    for target, fd in enumerate(fds):
        os.dup2(fd, target)
        os.close(fd)
    take_environment(order["environment"])
    os.chdir(order["folder"])
    if order["is_agent"]:
        os.environ[RAYLET] = str(os.getppid())  # an agent ends where this is not its parent
    sys.argv = order["arguments"]
    threading.Thread(target=end_with, args=(order["with"],), daemon=True).start()
    try:
        runpy.run_path(sys.argv[0], run_name="__main__")
    finally:
        os._exit(0)


def take_environment(environment: Mapping[str, str]) -> None:
    """Gives a fork the environment that its process would have had, of which Ray reads some when it is imported."""
    from ray._raylet import AuthenticationTokenLoader, Config

    os.environ.clear()
    os.environ.update(environment)
    Config.initialize("")  # whether this cluster, other than that of an earlier fork, asks for a token
    AuthenticationTokenLoader.instance().reset_cache()


def end_with(pids: list[int]) -> None:
    """Ends this process when its node has gone, or who asked for it, which one of Ray's own finds by itself."""
    while all(map(is_alive, pids)):
        time.sleep(1.0)
    os._exit(1)


def is_alive(pid: int | str) -> bool:
    return Path("/proc", str(pid)).exists()


if __name__ == "__main__":
    if sys.argv[1:2] == [SERVE]:
        serve(Path(sys.argv[2]))
    else:
        request()
