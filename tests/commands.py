"""Commands of `serl` in processes of their own, which begin with their imports done.

The tests start dozens of commands, and each would import for seconds. A server imports once and forks for each.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from forked_workers import take_environment, with_forks

SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["serl_ray.runs.train", "serl_ray.sweeps.run", "serl_ray.evaluation.rollouts"])


@dataclass(frozen=True)
class Running:
    """A command that runs, as `subprocess.Popen` has it."""

    process: ForkServerProcess
    file: Path

    @property
    def printed(self) -> str:
        """What it has printed up to now, on both of its streams."""
        return self.file.read_text()

    @property
    def returncode(self) -> int | None:
        """The exit code; None while it runs, below zero where a signal ended it."""
        return self.process.exitcode

    def send_signal(self, signum: int) -> None:
        """Sends a signal to it."""
        with suppress(ProcessLookupError):
            os.kill(self.process.pid, signum)

    def wait(self) -> int:
        """The exit code, once it has ended."""
        self.process.join()
        return self.process.exitcode


def start(arguments: Sequence[str], file: Path, folder: Path | None = None, **environment: str) -> Running:
    """Starts `serl ARGUMENTS` in a folder whose modules can be imported; changes of the environment come last."""
    process = SERVER.Process(target=_serl, args=(list(arguments), file, folder or Path.cwd(), os.environ | environment))
    file.touch()
    process.start()
    return Running(process, file)


def run(command: str, *flags: str, threads: int | None = None) -> None:
    """Runs `serl COMMAND FLAGS` to its end, as `benchmarks.commands.run_serl` does; the number of threads is ours."""
    with tempfile.TemporaryDirectory() as folder:
        running = start([command, *flags], Path(folder, "printed.txt"))
        assert running.wait() == 0, running.printed


def _serl(arguments: list[str], file: Path, folder: Path, environment: Mapping[str, str]) -> None:
    """What a process of the server does: the entry of the command, as an interpreter runs it."""
    os.setsid()
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # nohup, under which the tests may run, has it ignored
    signal.signal(signal.SIGINT, signal.default_int_handler)  # as a shell has in the background
    with file.open("w") as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    os.chdir(folder)
    take_environment(environment)
    sys.path[:0] = [str(folder), *filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))]
    sys.argv = ["serl", *arguments]
    from ray._private.parameter import RayParams

    from serl_ray.cli.main import main

    RayParams.__init__ = with_forks(RayParams.__init__)
    try:
        code = main(arguments)
    except SystemExit as end:
        code = end.code
    except BaseException:
        traceback.print_exc()
        code = 1
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code or 0)
