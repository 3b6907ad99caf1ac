"""The `serl-robot-lerobot` command."""

from __future__ import annotations

import logging
import sys
from typing import Sequence

from serl_robot.cli import MISTAKES, exit_code
from serl_robot.dialling import Refused
from serl_robot.lerobot.body import RobotFault
from serl_robot.lerobot.by_name import parsed
from serl_robot.lerobot.env import LeRobotEnv
from serl_robot.serving import serve


def main(argv: Sequence[str] | None = None) -> int:
    """Serves a robot of LeRobot to a trainer; returns the exit code: 0, 2 for a mistake, 130 for an interrupt."""
    logging.basicConfig(format="%(asctime)s %(message)s", datefmt="%H:%M:%S")

    def serve_robot() -> None:
        parts = parsed(sys.argv[1:] if argv is None else argv)
        env = LeRobotEnv(parts.robot, parts.teleop, parts.settings)
        given = {name: getattr(parts.settings, name) for name in ("hz", "setup_mode", "frozen_after")}
        serve(env, parts.url, name=parts.name or None, **given)

    return exit_code("serl-robot-lerobot", serve_robot, (*MISTAKES, Refused, RobotFault, ConnectionError))


if __name__ == "__main__":
    sys.exit(main())
