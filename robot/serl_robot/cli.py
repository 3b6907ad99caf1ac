"""The `serl-robot` command."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
from typing import Any, Callable, Sequence

from serl_robot.devices.local import UnusableDevice, local_devices
from serl_robot.dialling import Refused
from serl_robot.intervene import Intervene
from serl_robot.serving import serve
from serl_robot.spaces import SETUP_MODES, UnservableEnv, action_dim
from serl_robot.trainer import UnknownTrainer

MISTAKES = (UnservableEnv, UnknownTrainer)
"""Mistakes that every program may report."""
EXAMPLE = "serl-robot ws://gpu-box:8765 my_robot:make_env --hz 10 --setup_mode single-arm-learned-gripper"


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit code: 0, 2 for a mistake, 130 for an interrupt."""
    arguments = _parser().parse_args(argv)
    sys.path.insert(0, os.getcwd())  # as `python -m` does

    def serve_env() -> None:
        env = driven_env(make_env(arguments.env, env_kwargs(arguments.env_kwargs)), arguments)
        given = {name: getattr(arguments, name) for name in ("hz", "setup_mode", "name", "frozen_after")}
        serve(env, arguments.url, **given)

    return exit_code("serl-robot", serve_env, (*MISTAKES, Refused, UnknownEnv, UnusableDevice))


def exit_code(program: str, act: Callable[[], None], mistakes: tuple[type[Exception], ...]) -> int:
    """Acts for a program; 0 at the end, 2 after one of the mistakes, which is printed, and 130 after an interrupt."""
    try:
        act()
    except mistakes as error:
        print(f"{program}: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"{program}: interrupted; the robot is stopped.", file=sys.stderr)
        return 130
    return 0


class UnknownEnv(ValueError):
    """A name of an env, or arguments of it, that cannot be right."""


def make_env(name: str, kwargs: dict[str, Any]) -> Any:
    """The env that a class or a function makes.

    Args:
        name: its module and its name, such as `my_robot:make_env`.
        kwargs: arguments by name.

    Raises:
        UnknownEnv: there is no such class or function.
    """
    module, _, function = name.partition(":")
    if not module or not function:
        raise UnknownEnv(f"The env is {name!r}; it must be module:function, such as my_robot:make_env.")
    try:
        make = getattr(importlib.import_module(module), function)
    except ModuleNotFoundError as error:
        if error.name != module.split(".")[0] and error.name != module:
            raise
        text = f"There is no module {module!r}. Run this command in its folder, or add the folder to PYTHONPATH."
        raise UnknownEnv(text) from error
    except AttributeError as error:
        raise UnknownEnv(f"The module {module!r} has no {function!r}.") from error
    return make(**kwargs)


def driven_env(env: Any, arguments: argparse.Namespace) -> Any:
    """The env, in which an operator's devices take over if some are asked for.

    Raises:
        UnusableDevice: there is no such device, or it cannot be used.
    """
    if arguments.devices is None:
        if arguments.speed is not None:
            raise UnusableDevice("--speed is that of a device: give --devices as well.")
        return env
    action_dim(env)  # which says what is wrong with the env before the devices do
    speed = 0.5 if arguments.speed is None else arguments.speed
    return Intervene(env, local_devices(env, arguments.setup_mode, arguments.devices, speed))


def env_kwargs(words: Sequence[str]) -> dict[str, Any]:
    """The arguments of an env: names and values in turn; a value that is no JSON is text.

    Raises:
        UnknownEnv: a name has no value.
    """
    if len(words) % 2:
        raise UnknownEnv(f"--env_kwargs has {len(words)} words; give a value to each name: ip 10.0.0.2 port 5000.")
    return {name: _value(text) for name, text in zip(words[::2], words[1::2])}


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def add_env_kwargs(parser: argparse.ArgumentParser) -> None:
    """Adds the argument `--env_kwargs`, which `env_kwargs` reads."""
    parser.add_argument(
        "--env_kwargs",
        nargs="*",
        default=[],
        metavar=("NAME", "VALUE"),
        help="Arguments of the env, names and values in turn; values are JSON, anything else is text.",
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="serl-robot",
        description="Serve the env of a robot to a trainer on another computer.",
        epilog=f"Example: {EXAMPLE}. The trainer's token is read from SERL_ROBOT_TOKEN, else ~/.serl/robot_token.",
    )
    parser.add_argument("url", help="Address of the trainer, such as ws://gpu-box:8765.")
    parser.add_argument("env", help="Class or function that makes the env, such as my_robot:make_env.")
    parser.add_argument("--hz", type=float, required=True, help="Greatest number of steps a second.")
    parser.add_argument("--setup_mode", choices=SETUP_MODES, required=True, help="Layout of the action.")
    add_env_kwargs(parser)
    parser.add_argument(
        "--devices",
        nargs="*",
        metavar="DEVICE",
        help="Devices here that take over while they are moved or held: paths, spacemouse or gamepad (default without "
        "a name: all SpaceMice, or else the first gamepad).",
    )
    parser.add_argument("--speed", type=float, help="Share of full scale of a device (default: 0.5).")
    parser.add_argument(
        "--frozen_after",
        type=float,
        default=0.0,
        metavar="SECONDS",
        help="Seconds after which a camera whose image stays the same to the last bit has frozen, which stops the "
        "robot; 2 suits real cameras (default: 0, for never, since a simulator's images may stand still).",
    )
    parser.add_argument("--name", help="Name of the robot (default: that of this computer).")
    return parser


if __name__ == "__main__":
    sys.exit(main())
