"""`serl devices`: what is listed, shown and driven, on device files of the test's own."""

from __future__ import annotations

import io
import os
import signal
import sys
import threading
from contextlib import closing

import numpy as np
import pytest
from device_files import COMPACT, DeviceFile, add_input_device, add_space_mouse, axes_reports, keys_report
from hub_peers import until
from line_envs import LineEnv
from operated_robots import Background, Robot

from serl_ray.cli.devices import ADDRESS
from serl_ray.cli.main import main
from serl_ray.cli.operated import DrivenEnv
from serl_ray.envs.guard import Guard
from serl_ray.options.operator import DeviceOptions, HubOptions
from serl_ray.teleop.devices import finding
from serl_ray.teleop.devices.gamepad import PAD_PRESSES
from serl_ray.teleop.devices.terminal import TerminalKeys
from serl_ray.teleop.events import ClientRole
from serl_ray.teleop.link import Link
from serl_ray.teleop.server import HubServer


@pytest.fixture(autouse=True)
def interruptible():
    """Ctrl-C interrupts, in a process where Ray Tune may have left a handler of its own."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def root(tmp_path, monkeypatch):
    """The folder of a computer's `/sys` and `/dev`."""
    find = finding.found_devices
    monkeypatch.setattr(finding, "found_devices", lambda: find(tmp_path))
    return tmp_path


@pytest.fixture
def mouse(root):
    """A SpaceMouse that is plugged in."""
    file = DeviceFile(add_space_mouse(root, 0, COMPACT, name="SpaceMouse Compact"))
    yield file
    file.unplug()


def interrupted_when(condition):
    """Ctrl-C as soon as a condition holds."""

    def wait():
        try:
            until(condition)
        finally:  # where it fails, the command must end as well
            signal.raise_signal(signal.SIGINT)

    threading.Thread(target=wait, daemon=True).start()


def test_devices_are_listed(root, mouse, capsys):
    add_input_device(root, 0, "Some pad", PAD_PRESSES)
    assert main(["devices"]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.split() == [str(root / "dev/hidraw0"), "spacemouse", "SpaceMouse", "Compact"]
    assert second.split()[1:] == ["gamepad", "Some", "pad"]


def test_a_device_that_may_not_be_opened_has_its_rule_beside_it(mouse, capsys, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert main(["devices"]) == 0
    assert 'KERNELS=="*:256F:C635.*"' in capsys.readouterr().out
    assert main(["devices", "--live"]) == 2
    assert "(SpaceMouse Compact) may not be opened by you. Add a rule for udev" in capsys.readouterr().err


def test_without_a_device_there_is_nothing_to_list_or_to_show(root, capsys):
    assert main(["devices"]) == 1
    assert main(["devices", "--live"]) == 2
    assert "There is no SpaceMouse and no gamepad" in capsys.readouterr().err


def test_live_values_are_shown_until_an_interrupt(mouse, capsys, monkeypatch):
    shown = io.StringIO()
    monkeypatch.setattr(sys, "stdout", shown)
    interrupted_when(
        lambda: mouse.write(*axes_reports(0, -350, 0, 0, 0, 0), keys_report(1)) or "open" in shown.getvalue()
    )
    assert main(["devices", "--live"]) == 130
    assert "SpaceMouse Compact" in shown.getvalue() and "+1.00 +0.00" in shown.getvalue()


@pytest.mark.parametrize("by", ["environment", "stdin"])
def test_a_device_drives_a_robot_of_a_run(mouse, by, monkeypatch, capsys):
    robot = Robot()
    robot.env.reset(seed=0)
    with closing(HubServer()) as server, closing(Link(robot.env, "peg", server.robots, robot.env.described(20.0))):
        address = server.page(ClientRole.DEVICE)
        if by == "environment":
            monkeypatch.setenv(ADDRESS, address)
        else:
            monkeypatch.setattr(sys, "stdin", io.StringIO(f"{address}\n"))

        def has_driven():
            mouse.write(*axes_reports(0, -350 if robot.env.is_attached() else 0, 0, 0, 0, 0))
            return robot.session.counts["takeovers"]

        interrupted_when(has_driven)
        assert main(["devices", "--drive", "--robot", "peg", "--operator_speed", "0.25"]) == 130
        until(lambda: robot.session.lease.holder is None)
    assert "peg: you have control." in capsys.readouterr().out


def test_a_wrong_address_is_a_mistake_and_is_not_repeated(mouse, monkeypatch, capsys):
    monkeypatch.setenv(ADDRESS, "http://127.0.0.1:1/#role=viewer&secret=abcdef")
    assert main(["devices", "--drive"]) == 2
    printed = capsys.readouterr()
    assert "give that of a device" in printed.err and "abcdef" not in printed.err + printed.out


def test_the_keys_of_a_terminal_are_presses_and_the_terminal_is_given_back():
    ours, theirs = os.openpty()
    import termios

    before = termios.tcgetattr(theirs)
    keys = TerminalKeys(theirs)
    os.write(ours, b"sX \n\x7f")
    pressed = []
    until(lambda: pressed.extend(keys.poll(0.0)[1]) or len(pressed) == 4)
    assert pressed == ["success", "stop", "control", "discard"] and not keys.poll(0.0)[0].clutch
    keys.close()
    assert termios.tcgetattr(theirs) == before
    os.close(ours)
    os.close(theirs)


def test_a_recording_needs_an_operator_for_its_devices(capsys, tmp_path):
    for more in (["--operator_devices", "spacemouse"], ["--driver", "operator", "--seen_from", "left"]):
        assert main(["record", "--output", str(tmp_path / "demos.pkl"), *more]) == 2
    first, second = capsys.readouterr().err.splitlines()
    assert "nothing uses it without --driver operator" in first
    assert "seen_from is left, and nothing uses it without --operator_devices" in second


def test_a_recording_opens_its_devices_before_anything_moves(root, capsys, tmp_path):
    arguments = ["--driver", "operator", "--operator_devices", "spacemouse", "--operator_port", "0"]
    assert main(["record", "--output", str(tmp_path / "demos.pkl"), *arguments]) == 2
    assert "There is no device 'spacemouse'" in capsys.readouterr().err


def test_a_recording_is_driven_by_its_devices(mouse):
    guarded = Guard(LineEnv(cameras=("front",), horizon=50), None, None)
    hub, devices = HubOptions(operator_port=0), DeviceOptions(operator_devices=("spacemouse",), operator_speed=0.25)
    with closing(DrivenEnv(guarded, "peg", "single-arm-learned-gripper", 20.0, hub, devices)) as env:
        env.reset(seed=1)
        step = Background(lambda: env.step(np.zeros(7, np.float32)))

        def has_driven():
            mouse.write(*axes_reports(0, -350 if env.is_attached() else 0, 0, 0, 0, 0))
            return not step.is_running

        until(has_driven)
        info = step.result()[-1]
    assert info["intervene_source"] == "spacemouse" and info["intervene_action"][0] == 0.25
