"""Devices that are plugged in, in a `/sys` of the test, and the rule that is missing where one cannot be opened."""

from __future__ import annotations

import os

import pytest
from device_files import COMPACT, RECEIVER, SPACE_NAVIGATOR, DeviceFile, add_input_device, add_space_mouse, axes_reports

from serl_ray.teleop.devices.finding import found_devices
from serl_ray.teleop.devices.gamepad import PAD_PRESSES
from serl_ray.teleop.devices.keyboard import KEY_MOTION, KEY_PRESSES, SPACE
from serl_ray.teleop.devices.plugged import chosen_devices

KEYS = (SPACE, *KEY_MOTION, *KEY_PRESSES)


@pytest.fixture
def root(tmp_path):
    """Two SpaceMice, a gamepad, a keyboard, and others that drive nothing."""
    for number, (model, plug) in enumerate([(COMPACT, "usb-2"), (SPACE_NAVIGATOR, "usb-1")]):
        path = add_space_mouse(tmp_path, number, model, plug, f"SpaceMouse {number}")
        path.parent.mkdir(exist_ok=True)
        path.touch()
    add_space_mouse(tmp_path, 2, RECEIVER)
    (tmp_path / "sys/class/hidraw/hidraw2/device/report_descriptor").write_bytes(b"\x05\x01\x09\x06")  # its keyboard
    add_space_mouse(tmp_path, 3, (0x1234, 0xC635))
    add_input_device(tmp_path, 0, "Some pad", PAD_PRESSES)
    add_input_device(tmp_path, 1, "Some keys", KEYS)
    add_input_device(tmp_path, 2, "Power button", [116])
    return tmp_path


def test_devices_are_found_by_kind_and_in_the_order_of_their_plugs(root):
    found = found_devices(root)
    assert [(device.path.name, device.kind, device.name) for device in found] == [
        ("hidraw1", "spacemouse", "SpaceMouse 1"),
        ("hidraw0", "spacemouse", "SpaceMouse 0"),
        ("event0", "gamepad", "Some pad"),
        ("event1", "keyboard", "Some keys"),
    ]
    assert (found[1].vendor, found[1].product) == COMPACT


def test_there_may_be_nothing_at_all(tmp_path):
    assert found_devices(tmp_path) == []
    with pytest.raises(FileNotFoundError, match="no SpaceMouse and no gamepad"):
        chosen_devices((), [])


def test_devices_are_chosen_by_kind_or_path_and_keyboards_by_path_alone(root):
    found = found_devices(root)
    names = lambda *wanted: [device.path.name for device in chosen_devices(wanted, found)]  # noqa: E731
    assert names() == names("spacemouse") == ["hidraw1", "hidraw0"]
    assert names("gamepad") == ["event0"]
    assert names(str(root / "dev/hidraw0"), "spacemouse") == ["hidraw0", "hidraw1"]
    assert names(str(root / "dev/input/event1")) == ["event1"]
    assert [device.kind for device in chosen_devices((), found[2:])] == ["gamepad"]
    for wanted in ("keyboard", "/dev/hidraw9"):
        with pytest.raises(FileNotFoundError, match=f"no device '{wanted}'.*hidraw1.*event0"):
            chosen_devices([wanted], found)


def test_a_device_that_may_not_be_opened_says_which_rule_is_missing(root, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)
    mouse, _, pad, _ = found_devices(root)
    assert not mouse.is_readable
    with pytest.raises(PermissionError, match=r"may not be opened by you\. Add a rule for udev") as caught:
        mouse.open()
    rule = 'KERNEL=="hidraw*", KERNELS=="*:046D:C626.*", GROUP="input", MODE="0660", TAG+="uaccess"'
    assert f"echo '{rule}' | sudo tee -a /etc/udev/rules.d/71-serl-ray.rules" in str(caught.value)
    assert "sudo udevadm control -R && sudo udevadm trigger" in str(caught.value)
    with pytest.raises(PermissionError, match=r"sudo usermod -aG input \$USER"):
        pad.open()


def test_a_device_that_was_found_can_be_opened(root):
    for mouse in found_devices(root)[:2]:
        mouse.path.unlink()
        file = DeviceFile(mouse.path)
        device = mouse.open()
        file.write(*axes_reports(0, -350, 0, 0, 0, 0))
        assert device.poll(1.0)[0].twist[0] == 1 and device.name == mouse.name
        device.close()
        file.unplug()


def test_a_keyboard_that_cannot_be_grabbed_is_not_used(root):
    [keyboard] = [device for device in found_devices(root) if device.kind == "keyboard"]
    with pytest.raises(OSError, match=r"event1 \(Some keys\) is used by another program"):
        keyboard.open()
