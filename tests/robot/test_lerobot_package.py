"""LeRobot's own classes behind our env, with a fake of the motors' bus.

It runs where LeRobot is installed, without serl_ray:
`PYTHONPATH=robot python -m pytest --noconftest tests/robot/test_lerobot_package.py`.
"""

from __future__ import annotations

import sys
from contextlib import nullcontext

import numpy as np
import pytest

pytest.importorskip("lerobot", reason="LeRobot is not installed here; run this file in LeRobot's environment.")

from lerobot.motors.feetech import FeetechMotorsBus
from serl_robot.lerobot import LeRobotEnv, by_name, cli
from serl_robot.spaces import UnservableEnv

FOLLOWER = ["--url=ws://127.0.0.1:8765", "--robot.type=so101_follower", "--robot.port=/dev/null", "--robot.id=black"]
LEADER = ["--teleop.type=so101_leader", "--teleop.port=/dev/zero", "--teleop.id=blue"]
SETTINGS = ["--hz=1000", "--rest_speed=5000", "--step=4", "--limits={shoulder_pan: [-30, 30]}"]


class Buses:
    """Places of motors by the port of their bus."""

    def __init__(self):
        self.places, self.connected = {}, set()

    def of(self, bus):
        return self.places.setdefault(bus.port, {name: 90.0 if name == "gripper" else 0.0 for name in bus.motors})


@pytest.fixture
def buses(monkeypatch, tmp_path):
    """Fakes of all that LeRobot sends to motors; its calibration files are in a folder of the test's."""
    found = Buses()
    fakes = {
        "connect": lambda bus, handshake=True: found.connected.add(bus.port),
        "disconnect": lambda bus, disable_torque=True: found.connected.discard(bus.port),
        "is_connected": property(lambda bus: bus.port in found.connected),
        "is_calibrated": property(lambda bus: True),
        "sync_read": lambda bus, name, *args, **kwargs: dict(found.of(bus)),
        "sync_write": lambda bus, name, values, *args, **kwargs: found.of(bus).update(values),
        "write": lambda bus, *args, **kwargs: None,
        "torque_disabled": lambda bus, *args: nullcontext(),
    }
    for name in ("enable_torque", "disable_torque", "configure_motors"):
        fakes[name] = lambda bus, *args, **kwargs: None
    for name, fake in fakes.items():
        monkeypatch.setattr(FeetechMotorsBus, name, fake)
    return found


class Keys:
    """Keys of a terminal that a test presses."""

    is_there, pressed = True, ""

    def read(self):
        pressed, self.pressed = self.pressed, ""
        return pressed

    def close(self):
        """Gives nothing back."""


def folders(tmp_path):
    return [f"--robot.calibration_dir={tmp_path}", f"--teleop.calibration_dir={tmp_path}"]


def env_of(arguments):
    parts = by_name.parsed(arguments)
    keys = Keys()
    env = LeRobotEnv(parts.robot, parts.teleop, parts.settings, keys=keys, tell=lambda sentence: None)
    env.reset(seed=0)
    return env, keys


def test_an_so101_moves_as_its_leader_does(buses, tmp_path):
    env, keys = env_of([*FOLLOWER, *LEADER, *SETTINGS, *folders(tmp_path)])
    assert env.action_space.shape == (6,) and env.observation_space["state"].shape == (17,)
    env.step(np.array([1, -0.5, 0, 0, 0, 0], np.float32))
    follower, leader = buses.places["/dev/null"], buses.places["/dev/zero"]
    assert follower["shoulder_pan"] == pytest.approx(4) and follower["shoulder_lift"] == pytest.approx(-2)
    leader["elbow_flex"], keys.pressed = 50.0, " "
    assert "intervene_action" not in env.step(np.zeros(6, np.float32))[4]
    leader["elbow_flex"], leader["gripper"] = 8.0, 10.0
    *_, info = env.step(np.zeros(6, np.float32))
    np.testing.assert_allclose(info["intervene_action"], [-1, 0.5, 1, 0, 0, -1], atol=1e-5)
    assert info["intervene_source"].endswith("leader")
    env.close()
    assert not buses.connected


def test_what_lerobot_limits_is_what_is_stored(buses, tmp_path):
    limit = "--robot.max_relative_target=1.0"
    env, _ = env_of([*FOLLOWER, *SETTINGS, limit, folders(tmp_path)[0]])
    *_, info = env.step(np.array([1, -0.25, 0, 0, 0, 0], np.float32))
    np.testing.assert_allclose(info["executed_action"], [0.25, -0.25, 0, 0, 0, 0], atol=1e-5)
    env.close()


def test_a_settings_file_names_the_same(buses, tmp_path):
    file = tmp_path / "so101.yaml"
    file.write_text(
        "url: ws://gpu-box:8765\nhz: 20\nrest: {elbow_flex: 40}\n"
        f"robot: {{type: so101_follower, port: /dev/null, id: black, calibration_dir: {tmp_path}}}\n"
    )
    parts = by_name.parsed([f"--config_path={file}", "--hz=5"])
    assert parts.robot.id == "black" and parts.teleop is None
    assert (parts.settings.hz, parts.settings.rest) == (5, {"elbow_flex": 40})


def test_a_plug_in_is_found_by_its_name(tmp_path, monkeypatch):
    package = tmp_path / "lerobot_robot_plotter"
    package.mkdir()
    (package / "__init__.py").write_text(
        "from dataclasses import dataclass\n"
        "from lerobot.robots import RobotConfig\n\n"
        "@RobotConfig.register_subclass('plotter')\n@dataclass\n"
        "class PlotterConfig(RobotConfig):\n    port: str = ''\n\n"
        "class Plotter:\n    def __init__(self, config):\n        self.config = config\n"
    )
    metadata = tmp_path / "lerobot_robot_plotter-0.1.dist-info" / "METADATA"
    metadata.parent.mkdir()
    metadata.write_text("Metadata-Version: 2.1\nName: lerobot_robot_plotter\nVersion: 0.1\n")
    monkeypatch.syspath_prepend(tmp_path)
    parts = by_name.parsed(["--url=ws://gpu-box:8765", "--robot.type=plotter", "--robot.port=here"])
    assert type(parts.robot).__name__ == "Plotter" and parts.robot.config.port == "here"
    sys.modules.pop("lerobot_robot_plotter")


MISTAKES = {
    "an unknown robot": (["--robot.type=so102_follower"], "so102_follower"),
    "an unknown setting": ([*FOLLOWER, "--hzz=3"], "--hzz"),
    "no number": ([*FOLLOWER, "--hz=fast"], "hz"),
    "no port": (["--url=ws://gpu-box:8765", "--robot.type=so101_follower"], "port"),
    "a rate of zero": ([*FOLLOWER, "--hz=0"], "hz is 0.0; it must be above 0"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_line(name, capsys):
    arguments, says = MISTAKES[name]
    assert cli.main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("serl-robot-lerobot: error: ") and error.count("\n") == 1 and says in error


def test_a_gamepad_needs_kinematics(buses, tmp_path):
    parts = by_name.parsed([*FOLLOWER, folders(tmp_path)[0], "--teleop.type=gamepad"])
    with pytest.raises(UnservableEnv, match="gamepad moves the tip of an arm; that needs the arm's urdf"):
        LeRobotEnv(parts.robot, parts.teleop, parts.settings, keys=Keys())
