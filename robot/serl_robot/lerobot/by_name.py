"""LeRobot's robots, teleoperators and cameras by their names, those of plug-ins among them."""

from __future__ import annotations

import argparse
import importlib
import pkgutil
from dataclasses import MISSING, dataclass, field, fields, make_dataclass
from types import ModuleType
from typing import Any, Optional, Sequence, get_type_hints

from serl_robot.lerobot.settings import LeRobotSettings
from serl_robot.spaces import UnservableEnv

FAMILIES = ("cameras", "robots", "teleoperators")
"""Packages of LeRobot whose parts register themselves when they are imported."""
SETTINGS = fields(LeRobotSettings)
PLUGINS = ("register_third_party_plugins", "register_third_party_devices")
"""Names of LeRobot's function that finds plug-ins, newest first."""
INSTALL = "install serl-robot into LeRobot's environment, lerobot >= 0.4."


@dataclass
class Parts:
    """A robot and its teleoperator, as LeRobot makes them.

    Attributes:
        robot: robot.
        teleop: teleoperator; None without one.
        url: address of the trainer.
        name: name of the robot at the trainer; empty for that of this computer.
        settings: settings of the robot.
    """

    robot: Any
    teleop: Any
    url: str
    name: str
    settings: LeRobotSettings


def register_all() -> dict[str, str]:
    """Imports all robots, teleoperators and cameras of LeRobot and of plug-ins; returns why some could not be, by name.

    Raises:
        UnservableEnv: LeRobot is not installed, or is another release.
    """
    failed = {}
    for family in FAMILIES:
        try:
            package = importlib.import_module(f"lerobot.{family}")
        except ImportError as error:
            raise UnservableEnv(f"LeRobot cannot be imported ({error}): {INSTALL}") from error
        for found in pkgutil.iter_modules(package.__path__):
            if found.ispkg:
                try:
                    importlib.import_module(f"lerobot.{family}.{found.name}")
                except ImportError as error:  # of a library that only this device needs
                    failed[found.name] = str(error)
    _register_plugins()
    return failed


def _register_plugins() -> None:
    """Imports plug-ins of LeRobot."""
    plugins = importlib.import_module("lerobot.utils.import_utils")
    found = [name for name in PLUGINS if hasattr(plugins, name)]
    if not found:
        raise UnservableEnv(f"This LeRobot has none of {', '.join(PLUGINS)} in {plugins.__name__}: {INSTALL}")
    getattr(plugins, found[0])()


def parsed(arguments: Sequence[str]) -> Parts:
    """The robot and teleoperator that a command line in LeRobot's words describes, not connected.

    Args:
        arguments: `--robot.type=so101_follower --robot.port=... --teleop.type=... --url=... --hz=10 ...`, or
            `--config_path=FILE` with the same names.

    Raises:
        UnservableEnv: a name, a value or a library is missing or wrong.
    """
    import draccus

    failed = register_all()
    robots, teleoperators = importlib.import_module("lerobot.robots"), importlib.import_module("lerobot.teleoperators")
    try:
        config: Any = draccus.parse(_config_class(robots, teleoperators), args=list(arguments), exit_on_error=False)
    except (argparse.ArgumentError, draccus.utils.DraccusException) as error:
        raise UnservableEnv(f"{error}{_hint(failed) if 'choice' in str(error) else ''}") from error
    settings = LeRobotSettings(**{each.name: getattr(config, each.name) for each in SETTINGS})
    try:
        robot = robots.make_robot_from_config(config.robot)
        teleop = None if config.teleop is None else teleoperators.make_teleoperator_from_config(config.teleop)
    except (ImportError, ValueError) as error:
        raise UnservableEnv(f"LeRobot cannot make the robot or the teleoperator: {error}{_hint(failed)}") from error
    return Parts(robot, teleop, config.url, config.name, settings)


def _config_class(robots: ModuleType, teleoperators: ModuleType) -> type:
    """The class of the whole configuration: LeRobot's of the devices, and our settings beside them."""
    types = get_type_hints(LeRobotSettings)
    devices: list[Any] = [
        ("url", str),
        ("robot", robots.RobotConfig),
        ("teleop", Optional[teleoperators.TeleoperatorConfig], field(default=None)),
        ("name", str, field(default="")),
    ]
    return make_dataclass("ServeConfig", [*devices, *((each.name, types[each.name], _copy(each)) for each in SETTINGS)])


def _copy(setting: Any) -> Any:
    if setting.default is MISSING:
        return field(default_factory=setting.default_factory)
    return field(default=setting.default)


def _hint(failed: dict[str, str]) -> str:
    reasons = "; ".join(f"{name}: {reason}" for name, reason in failed.items())
    return f" (These of LeRobot could not be imported: {reasons}.)" if failed else ""
