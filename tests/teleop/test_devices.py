"""Devices at the robot's computer: what their bytes mean, and that every end of them is a release."""

from __future__ import annotations

import errno
import os
import signal

import pytest
from device_files import (
    COMPACT,
    PRO,
    RECEIVER,
    SPACE_NAVIGATOR,
    DeviceFile,
    axes_reports,
    input_events,
    keys_report,
    rounded,
)

from serl_ray.teleop.devices.events import EVENT, EventPort
from serl_ray.teleop.devices.gamepad import CROSS_X, CROSS_Y, Gamepad
from serl_ray.teleop.devices.keyboard import Keyboard
from serl_ray.teleop.devices.motion import AT_REST, OFF_SECONDS, Clutchless
from serl_ray.teleop.devices.ports import DeviceLost, Port
from serl_ray.teleop.devices.spacemouse import SILENT_SECONDS, SpaceMouse

RANGES = {axis: (-32768, 32767) for axis in (0, 1, 3, 4)} | {2: (0, 255), 5: (0, 255), 16: (-1, 1), 17: (-1, 1)}
KEY, AXIS = 1, 3
MODELS = [SPACE_NAVIGATOR, COMPACT, PRO, RECEIVER]


@pytest.fixture
def file(tmp_path):
    file = DeviceFile(tmp_path / "device")
    yield file
    file.unplug()


def space_mouse(file, model=COMPACT):
    return SpaceMouse(Port(file.path), "SpaceMouse", model[1])


def gamepad(file):
    return Gamepad(EventPort(Port(file.path)), "pad", RANGES)


def keyboard(file):
    return Keyboard(EventPort(Port(file.path)), "keys")


@pytest.mark.parametrize("model", MODELS, ids=lambda model: f"{model[1]:x}")
@pytest.mark.parametrize(
    ("axes", "twist"),
    [
        ((0, -350, 0, 0, 0, 0), [1, 0, 0, 0, 0, 0]),  # pushed away from the person
        ((-350, 0, 0, 0, 0, 0), [0, 1, 0, 0, 0, 0]),  # to the left
        ((0, 0, -350, 0, 0, 0), [0, 0, 1, 0, 0, 0]),  # pulled up
        ((0, 0, 0, 0, -350, 0), [0, 0, 0, 1, 0, 0]),  # tilted to the right
        ((0, 0, 0, -350, 0, 0), [0, 0, 0, 0, 1, 0]),  # tilted forward
        ((0, 0, 0, 0, 0, -350), [0, 0, 0, 0, 0, 1]),  # turned to the left
        ((35, 70, -105, 140, -175, 500), [-0.2, -0.1, 0.3, 0.5, -0.4, -1]),
    ],
)
def test_every_axis_of_every_model_moves_its_own_way(file, model, axes, twist):
    mouse = space_mouse(file, model)
    file.write(*axes_reports(*axes, model=model))
    motion, presses = mouse.poll(1.0)
    assert rounded(motion.twist) == twist and motion.clutch and presses == []


def test_the_bytes_of_a_space_navigator_are_read_as_it_sends_them(file):
    mouse = space_mouse(file, SPACE_NAVIGATOR)
    file.write(bytes.fromhex("01 5e01 a2fe 0000"), bytes.fromhex("02 0000 0000 a2fe"), bytes.fromhex("17 64 01 00"))
    assert rounded(mouse.poll(1.0)[0].twist) == [1, -1, 0, 0, 0, 1]


def test_keys_are_pressed_once_and_large_models_have_more_of_them(file):
    mouse = space_mouse(file, PRO)
    file.write(keys_report(0), keys_report(0, 12), keys_report(12), keys_report(1, 22))
    assert mouse.poll(1.0)[1] == ["close", "success", "open", "stop"]
    small = space_mouse(file, COMPACT)
    file.write(keys_report(0, 12, 22))
    assert small.poll(1.0)[1] == ["close"]


def test_a_deflection_that_is_not_repeated_is_over(file):
    mouse = space_mouse(file)
    file.write(*axes_reports(350, 0, 0, 0, 0, 0))
    assert mouse.poll(1.0)[0].twist != AT_REST
    assert mouse.poll(1.0 + SILENT_SECONDS)[0].twist != AT_REST
    motion, _ = mouse.poll(1.25 + SILENT_SECONDS)
    assert motion.twist == AT_REST and motion.clutch and motion.tail
    assert not mouse.poll(1.25 + SILENT_SECONDS + OFF_SECONDS)[0].clutch


def test_a_clutchless_device_takes_over_above_one_limit_and_hands_back_after_a_tail_below_another():
    rule = Clutchless()

    def at(number, now):
        motion = rule.motion((number, 0, 0, 0, 0, 0), now)
        return motion.clutch, motion.tail

    assert at(0.04, 0.0) == at(0.05, 0.1) == (False, False)
    assert at(0.06, 0.25) == at(-0.03, 0.5) == (True, False)
    assert at(0.01, 1.0) == at(0.01, 1.4375) == (True, True)
    assert at(0.03, 1.45) == (True, False), "it was only standing still"
    assert at(0.0, 2.0) == at(0.0, 2.4375) == (True, True)
    assert at(0.0, 2.5) == (False, False)
    assert at(0.04, 2.75) == (False, False)


def test_a_key_for_the_gripper_takes_over_and_its_step_is_no_tail(file):
    mouse = space_mouse(file)
    file.write(keys_report(0), keys_report())
    motion, presses = mouse.poll(1.0)
    assert presses == ["close"] and motion.clutch and not motion.tail
    assert mouse.poll(1.0 + OFF_SECONDS)[0].tail
    assert not mouse.poll(1.0 + 2 * OFF_SECONDS)[0].clutch


def test_a_gamepad_has_the_keys_of_the_page(file):
    pad = gamepad(file)
    file.write(input_events((AXIS, 1, -32768), (AXIS, 3, 16384), (AXIS, 5, 255), (KEY, 0x137, 1), (KEY, 0x133, 1)))
    motion, presses = pad.poll(1.0)
    assert motion.clutch and presses == ["close"]
    forward, left, up, roll, pitch, yaw = motion.twist
    assert (forward, left, up, roll, pitch) == (1, 0, 1, 0, 0) and -0.5 < yaw < -0.4
    file.write(input_events((KEY, 0x137, 0), (AXIS, 5, 0), (AXIS, CROSS_Y, -1), (AXIS, CROSS_X, 1), (AXIS, 1, 2000)))
    motion, _ = pad.poll(1.0)
    assert not motion.clutch and motion.twist[:4] == (0, 0, 1, 1), (
        "the cross is up and right, the stick all but centred"
    )


def test_an_event_may_come_in_two_pieces(file):
    pad = gamepad(file)
    raw = input_events((KEY, 0x137, 1))
    file.write(raw[:5])
    assert not pad.poll(1.0)[0].clutch
    file.write(raw[5:])
    assert pad.poll(1.0)[0].clutch and EVENT.size in (16, 24)


@pytest.mark.parametrize("make", [gamepad, keyboard])
def test_dropped_events_are_a_release(file, make):
    device = make(file)
    file.write(input_events((KEY, 0x137, 1), (AXIS, 1, -32768), (KEY, 57, 1), (KEY, 103, 1)))
    assert device.poll(1.0)[0].clutch
    file.write(input_events((0, 3, 0)))
    motion, _ = device.poll(1.0)
    assert not motion.clutch and motion.twist == AT_REST


def test_a_keyboard_has_the_keys_of_the_page(file):
    keys = keyboard(file)
    file.write(input_events((KEY, 57, 1), (KEY, 103, 1), (KEY, 103, 2), (KEY, 36, 1), (KEY, 31, 1), (KEY, 31, 2)))
    motion, presses = keys.poll(1.0)
    assert motion.clutch and motion.twist == (1, 0, 0, 0, 0, 1) and presses == ["success"]
    file.write(input_events((KEY, 108, 1), (KEY, 57, 0)))
    motion, presses = keys.poll(1.0)
    assert not motion.clutch and motion.twist == (0, 0, 0, 0, 0, 1) and presses == []


def test_a_grabbed_keyboard_can_still_interrupt(file, monkeypatch):
    signals = []
    monkeypatch.setattr(signal, "raise_signal", signals.append)
    file.write(input_events((KEY, 46, 1), (KEY, 46, 0), (KEY, 29, 1), (KEY, 46, 1)))
    keyboard(file).poll(1.0)
    assert signals == [signal.SIGINT]


@pytest.mark.parametrize("make", [space_mouse, gamepad, keyboard])
def test_the_end_of_a_file_is_a_lost_device(file, make):
    device = make(file)
    file.unplug()
    with pytest.raises(DeviceLost, match="end of file"):
        device.poll(1.0)


def test_a_device_that_is_unplugged_is_lost(file, monkeypatch):
    mouse = space_mouse(file)
    file.write(*axes_reports(350, 0, 0, 0, 0, 0))
    assert mouse.poll(1.0)[0].clutch

    def gone(*_):
        raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))

    monkeypatch.setattr(os, "read", gone)
    with pytest.raises(DeviceLost, match="No such device"):
        mouse.poll(1.0)
