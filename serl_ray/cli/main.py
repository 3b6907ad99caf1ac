"""Entry of the `serl` command: finds the subcommand, and says a user's mistake in one line."""

from __future__ import annotations

import importlib
import logging
import os
import sys
from collections.abc import Sequence
from contextlib import suppress

from serl_ray.utils.errors import SetupError

COMMANDS = {
    "record": "Record demonstrations, or images for a reward classifier.",
    "check-env": "Check an env against the contract.",
    "check-robot": "Move a robot a little, and compare it with its demonstrations.",
    "inspect": "Print and draw what demonstrations hold.",
    "convert": "Convert demonstrations to another format.",
    "train-classifier": "Train a reward classifier.",
    "review": "Sort what a reward classifier called a success.",
    "train-offline": "Train a policy on demonstrations alone.",
    "train": "Train a policy on demonstrations and online experience.",
    "evaluate": "Play a trained policy and report its success.",
    "export": "Write a trained policy for robots without PyTorch and Ray.",
    "serve": "Act for robots that ask over the network.",
    "tune": "Run a sweep over options of training.",
    "submit": "Run a command on a Ray cluster.",
    "devices": "List SpaceMice, gamepads and keyboards here, and drive a robot with them.",
    "benchmark": "Measure speed or learning.",
}
"""The subcommands, each in the module of `serl_ray.cli` with its name, and what they do."""
MISTAKES = (ValueError, OSError, MemoryError, SetupError)
"""Errors that a user can fix; they end in one line. Any other error is a fault of serl_ray and keeps its traceback."""
QUIET = {"PYTHONWARNINGS": "ignore", "EGL_LOG_LEVEL": "fatal", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
"""Environment variables that keep messages of other libraries about nothing off the terminal, in Ray's workers as
well."""
QUIET_LOGGERS = (
    "torch._subclasses.fake_tensor",
    "ray.tune",
    "ray.train",
    "ray.data",
    "OpenGL",
)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a subcommand; returns the exit code: 0, 1 for a negative result, 2 for a mistake, 130 for an interrupt."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in ("-h", "--help"):
        with suppress(BrokenPipeError):  # `serl --help | head`
            print(_overview(), flush=True)
        return 0
    name, *rest = arguments
    for variable, value in QUIET.items():
        os.environ.setdefault(variable, value)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    for logger in QUIET_LOGGERS:
        logging.getLogger(logger).setLevel(logging.ERROR)
    try:
        from serl_ray.utils.options import check_names  # which takes time, in which Ctrl-C must end in one line, too

        check_names([name], COMMANDS, "command")
        command = importlib.import_module(f"serl_ray.cli.{name.replace('-', '_')}")
        return int(command.main(rest) or 0)
    except MISTAKES as error:
        if isinstance(error, UnicodeError):
            raise
        print(f"serl {name}: error: {_one_line(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"serl {name}: interrupted.", file=sys.stderr)
        return 130


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _overview() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {text}" for name, text in COMMANDS.items()]
    return "\n".join(
        ["usage: serl COMMAND [--FLAG VALUE ...]", "", *lines, "", "serl COMMAND --help explains a command."]
    )
