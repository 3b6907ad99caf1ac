"""Operators at the robot, who act in place of the policy."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
from device_files import COMPACT, DeviceFile, FakeDevice, add_space_mouse, axes_reports, keys_report
from robot_trainers import DEADLINE, MODE, NoBrakes, RecordingArm, scripted_trainer, served, wait_until
from serl_robot import Box, Intervene
from serl_robot.devices import local
from serl_robot.devices.local import LocalDevices, StopPressed, UnusableDevice, local_devices
from serl_robot.devices.plugged import linux_devices
from serl_robot.devices.ports import DeviceLost

from serl_ray.envs.steps import check_step


class Stick:
    """A device that gives what a test says."""

    source = "stick"

    def __init__(self, *numbers):
        self.numbers = list(numbers)

    def read(self):
        return self.numbers.pop(0) if self.numbers else None


def test_whoever_holds_the_device_acts_and_is_reported():
    arm = RecordingArm()
    env = Intervene(arm, Stick(None, [1, 0, 0, -1], [0.5] * 4, None, np.zeros(4)))
    env.reset(seed=3)
    results = [env.step(np.full(4, 0.25, np.float32)) for _ in range(5)]
    assert [action.tolist() for action in arm.actions] == [[1, 0, 0, -1], [0.5] * 4, [0.25] * 4, [0] * 4, [0.25] * 4]
    for result, action in zip(results, arm.actions, strict=True):
        assert check_step(action, result) == []  # the contract's words, in its form
    infos = [result[-1] for result in results]
    assert [info.get("intervention") for info in infos] == [1, 1, None, 2, None]
    assert infos[0]["intervene_source"] == "stick" and infos[0]["intervene_action"].tolist() == [1, 0, 0, -1]
    assert env.observation_space is arm.observation_space and env.unwrapped is arm and arm.seeds == [3]


def test_interventions_reach_the_trainer():
    arm = RecordingArm()
    env = Intervene(arm, Stick(None, [1, 0, 0, -1]))
    with scripted_trainer() as trainer, served(env, trainer.url):
        talk = trainer.accept().welcome()
        talk.reset()
        result = talk.step()
    assert result.arrays["info/intervene_action"].tolist() == [1, 0, 0, -1]
    assert result.fields["info"]["intervene_source"] == "stick" and talk.hello.fields["methods"] == ["hold", "stop"]


@pytest.mark.parametrize("numbers", [[1, 0], [2, 0, 0, 0], [np.nan] * 4])
def test_a_device_that_gives_no_action_stops_the_robot(numbers):
    arm = RecordingArm()
    with scripted_trainer() as trainer, served(Intervene(arm, Stick(None, numbers)), trainer.url):
        talk = trainer.accept().welcome()
        talk.reset()
        assert "The device stick gives" in talk.step(answer="fault").fields["text"]
    assert not arm.actions and "stop" in arm.calls


class Stuck(Stick):
    def read(self):
        return [1, 1, 1, 1]


class Wrapped:
    """A wrapper around an env."""

    def __init__(self, env):
        self.env = env

    def __getattr__(self, name):
        return getattr(self.env, name)


@pytest.mark.parametrize("wrapper", [lambda env: env, Wrapped])
def test_nobody_drives_while_the_robot_is_held_by_zeros(wrapper):
    arm = NoBrakes()
    with scripted_trainer() as trainer, served(wrapper(Intervene(arm, Stuck())), trainer.url):
        talk = trainer.accept().welcome()
        talk.reset()
        talk.step()
        arm.has_been("step", times=len(arm.actions) + 1)
        assert not arm.actions[-1].any()


@pytest.fixture
def device():
    return FakeDevice()


@pytest.fixture
def devices(device, monkeypatch):
    monkeypatch.setattr(local, "REOPEN_SECONDS", 0.02)
    opened = LocalDevices(lambda: [device], RecordingArm(), MODE, speed=0.5)
    yield opened
    opened.close()


def read_until(devices, wanted):
    """Waits until an action comes."""
    wait_until(lambda: (action := devices.read()) is not None and np.allclose(action, wanted))


def test_a_device_drives_at_its_speed_as_seen_from_its_side(devices, device):
    assert devices.read() is None
    device.move(1.0, 0.0, -0.5)  # forward and down, by a person who sees the robot from its left
    read_until(devices, [0, -0.5, -0.25, 0])
    assert devices.source == "spacemouse"
    device.rest()
    wait_until(lambda: devices.read() is None)


def test_a_key_for_the_gripper_is_executed_once(devices, device):
    device.move(0.0)
    device.presses = ["close"]
    read_until(devices, [0, 0, 0, -1])
    assert devices.read().tolist() == [0, 0, 0, 0]


def raised(devices, kind):
    """Whether reading the devices raises an exception of a kind."""
    try:
        devices.read()
    except kind:
        return True
    return False


def test_a_lost_device_is_named_and_opened_again(devices, device, caplog):
    device.move(1.0)
    wait_until(lambda: devices.read() is not None)
    device.lost = DeviceLost("The device at /dev/x is gone.")
    wait_until(lambda: raised(devices, DeviceLost))
    device.lost = None
    wait_until(lambda: not raised(devices, DeviceLost))
    assert device.is_closed and "back" in caplog.text


def test_a_device_that_sends_what_none_does_is_not_followed_any_more(devices, device):
    device.move(1.0)
    wait_until(lambda: devices.read() is not None)
    device.lost = IndexError("a report of no bytes")
    wait_until(lambda: raised(devices, DeviceLost))
    device.lost = None
    wait_until(lambda: not raised(devices, DeviceLost))


def test_a_device_that_nobody_looks_at_any_more_does_not_drive(devices, device, monkeypatch):
    monkeypatch.setattr(local, "STALE_SECONDS", 0.3)
    looks = threading.Event()
    monkeypatch.setattr(device, "poll", lambda now: looks.wait(DEADLINE) and (device.motion, []))
    with pytest.raises(DeviceLost, match="nobody knows whether they are held"):
        wait_until(lambda: devices.read() is not None)
    looks.set()


def test_a_stop_by_a_key_stays_until_it_is_pressed_again_a_while_later(devices, device, monkeypatch):
    device.presses = ["stop", "stop"]  # in a fright
    wait_until(lambda: raised(devices, StopPressed))
    arm = RecordingArm()
    with pytest.raises(StopPressed):
        Intervene(arm, devices).reset()
    assert not arm.calls
    monkeypatch.setattr(local, "RELEASE_SECONDS", 0.0)
    device.presses = ["stop"]
    wait_until(lambda: not raised(devices, StopPressed))


def test_a_stop_by_a_key_reaches_a_step_that_is_under_way(devices, device):
    arm = RecordingArm()
    with scripted_trainer() as trainer, served(Intervene(arm, devices), trainer.url):
        talk = trainer.accept().welcome()
        talk.reset()
        arm.blocked.clear()
        talk.begin_step()
        arm.has_been("step")
        device.presses = ["stop"]
        arm.has_been("stop", times=2)
        arm.blocked.set()
        assert "by a key of a device at the robot" in talk.receive("fault").fields["text"]
        assert "by a key of a device at the robot" in talk.step(answer="fault").fields["text"]


def test_an_episode_waits_for_the_operator_who_has_stopped_the_robot(devices, device, monkeypatch, arm, trainer):
    device.presses = ["stop"]
    wait_until(lambda: raised(devices, StopPressed))
    with served(Wrapped(Intervene(arm, devices)), trainer.url):
        talk = trainer.accept().welcome()
        talk.send("reset", number=1, seed=None)
        for _ in range(2):
            talk.receive("alive")
        talk.send("stop")
        assert "A stop came before the reset" in talk.receive("fault").fields["text"]
        talk.send("reset", number=2, seed=None)
        talk.receive("alive")
        assert "reset" not in arm.calls
        monkeypatch.setattr(local, "RELEASE_SECONDS", 0.0)
        device.presses = ["stop"]
        talk.receive("started")


def test_keys_of_the_page_are_said_to_do_nothing_here(devices, device, caplog):
    device.presses = ["success"]
    wait_until(lambda: "'success' does nothing at the robot" in caplog.text)


def arm_of(numbers):
    arm = RecordingArm()
    arm.action_space = Box(-1, 1, (numbers,))
    return arm


def test_an_arm_of_four_numbers_turns_about_its_axis_and_one_of_seven_needs_a_map(device):
    device.move(0.5, 0, 0, 0.1, 0.2, 0.3)
    devices = LocalDevices(lambda: [device], arm_of(4), "single-arm-fixed-gripper", speed=1.0)
    read_until(devices, [0, -0.5, 0, 0.3])
    devices.close()
    arm = arm_of(7)
    with pytest.raises(UnusableDevice, match="give the env a twist_to_action"):
        LocalDevices(lambda: [device], arm, "single-arm-fixed-gripper")
    arm.twist_to_action = lambda which, twist, frame: np.full(7, -3 * twist[1])
    devices = LocalDevices(lambda: [device], arm, "single-arm-fixed-gripper", speed=1.0)
    read_until(devices, np.ones(7))
    devices.close()


def test_a_spacemouse_that_is_plugged_in_drives(tmp_path, monkeypatch):
    path = add_space_mouse(tmp_path, 0, COMPACT)
    monkeypatch.setattr(local, "linux_devices", lambda: linux_devices(Path(tmp_path)))
    arm = RecordingArm()
    arm.metadata = {}
    with pytest.raises(UnusableDevice, match="hidraw0"):
        local_devices(arm, MODE)
    mouse = DeviceFile(path)
    devices = local_devices(arm, MODE, ["spacemouse"], speed=1.0)
    mouse.write(keys_report(1))
    read_until(devices, [0, 0, 0, 1])
    deflection = axes_reports(0, -350, 0, 0, 0, 0)

    def drives():
        mouse.write(*deflection)  # a SpaceMouse repeats its deflection
        action = devices.read()
        return action is not None and action[0] == 1

    wait_until(drives)
    devices.close()
    mouse.unplug()
