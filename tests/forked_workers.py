"""Ray's worker processes, forked from one that has done their imports.

The tests start hundreds of workers, and each would import for seconds. Nodes that are started with `with_forks` run
this file in place of Ray's `default_worker.py`: it has a server fork the worker, and waits until that has ended. Every
job on a node has a server of its own, since Ray reads a worker's job from the environment when it is imported.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

IMPORTS = ("ray.train", "serl_ray.runs.train", "serl_ray.sweeps.run", "serl_ray.classifier.train")
SERVE = "--serve"


def request() -> None:
    """Asks the job's server for a worker that is this process in all but its imports, and waits for its end."""
    address = Path(tempfile.gettempdir(), f"forked-{os.environ['RAY_RAYLET_PID']}-{os.environ['RAY_JOB_ID']}")
    with Path(f"{address}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not address.exists():
            serve = [sys.executable, __file__, SERVE, str(address)]
            with subprocess.Popen(serve, stdout=subprocess.PIPE, start_new_session=True) as server:
                server.stdout.readline()
                server.returncode = 0  # it goes on
    order = {"arguments": sys.argv, "environment": dict(os.environ), "folder": os.getcwd()}
    with socket.socket(socket.AF_UNIX) as server:
        server.connect(str(address))
        text = json.dumps(order).encode()
        socket.send_fds(server, [len(text).to_bytes(4, "big")], [0, 1, 2])
        server.sendall(text)
        server.recv(1)


def serve(address: str) -> None:
    """Forks a worker for each request, until the node is gone."""
    import importlib
    import signal

    for name in IMPORTS:
        importlib.import_module(name)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen(64)
        listener.settimeout(1.0)
        print("ready", flush=True)
        while Path("/proc", os.environ["RAY_RAYLET_PID"]).exists():
            try:
                client, _ = listener.accept()
            except TimeoutError:
                continue
            if os.fork() == 0:
                listener.close()
                work(client)
            client.close()
    Path(address).unlink()


def work(client: socket.socket) -> None:
    """What a worker does: Ray's own entry, as an interpreter runs it."""
    import runpy
    import signal

    import ray._private.workers as workers

    os.setpgid(0, 0)  # Ray ends a whole process group
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    client.settimeout(None)
    length, fds, _, _ = socket.recv_fds(client, 4, 3)
    with client.makefile("rb") as stream:
        order = json.loads(stream.read(int.from_bytes(length, "big")))
    for target, fd in enumerate(fds):
        os.dup2(fd, target)
        os.close(fd)
    os.environ.clear()
    os.environ.update(order["environment"])
    os.chdir(order["folder"])
    sys.argv = order["arguments"]
    try:
        runpy.run_path(str(Path(workers.__file__).with_name("default_worker.py")), run_name="__main__")
    finally:
        os._exit(0)


def with_forks(init: Callable[..., None]) -> Callable[..., None]:
    """The constructor of Ray's parameters of a node, whose workers are then forked."""

    @wraps(init)
    def construct(self: Any, *args: Any, **values: Any) -> None:
        init(self, *args, **{"worker_path": __file__, **values})

    return construct


if __name__ == "__main__":
    if sys.argv[1:2] == [SERVE]:
        serve(sys.argv[2])
    else:
        request()
