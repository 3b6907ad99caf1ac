"""The command in an environment without LeRobot, or with a release that is too old."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

OLD = ("cameras", "robots", "teleoperators", "utils")
"""Packages that LeRobot had before 0.4, too."""


@pytest.mark.parametrize(
    ("packages", "says"),
    [((), "LeRobot cannot be imported"), (OLD, "This LeRobot has none of register_third_party_plugins")],
)
def test_another_release_of_lerobot_is_named_in_one_line(tmp_path, packages, says):
    for name in ("", *packages):
        (tmp_path / "lerobot" / name).mkdir()
        (tmp_path / "lerobot" / name / "__init__.py").touch()
    if packages:
        (tmp_path / "lerobot" / "utils" / "import_utils.py").touch()
    (tmp_path / "draccus.py").touch()
    robot = str(Path(__file__).parents[2] / "robot")
    code = (
        f"import sys; sys.path[:0] = {[str(tmp_path), robot]}; from serl_robot.lerobot import cli; sys.exit(cli.main())"
    )
    ended = subprocess.run([sys.executable, "-c", code, "--url=ws://gpu-box:8765"], capture_output=True, text=True)
    assert ended.returncode == 2 and ended.stderr.count("\n") == 1
    assert says in ended.stderr and "lerobot >= 0.4" in ended.stderr
