"""SpaceMice of other systems than Linux, with a stand-in for hidapi."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest
from device_files import COMPACT, RECEIVER, axes_reports, keys_report

from serl_ray.teleop.devices.finding import found_devices
from serl_ray.teleop.devices.plugged import chosen_devices
from serl_ray.teleop.devices.ports import DeviceLost
from serl_ray.utils.errors import SetupError


class FakeHid:
    """hidapi with SpaceMice that a test deflects."""

    def __init__(self):
        self.reports: list[bytes] = []
        self.opened: list[bytes] = []
        self.error: Exception | None = None
        mouse = {"usage_page": 1, "usage": 8, "product_string": "SpaceMouse"}
        self.plugged = [
            {**mouse, "path": b"mouse-2", "vendor_id": COMPACT[0], "product_id": COMPACT[1]},
            {**mouse, "path": b"mouse-1", "vendor_id": RECEIVER[0], "product_id": RECEIVER[1]},
            {**mouse, "path": b"keys", "vendor_id": RECEIVER[0], "product_id": RECEIVER[1], "usage": 6},
            {**mouse, "path": b"other", "vendor_id": 0x1234, "product_id": 1},
        ]

    def enumerate(self):
        return self.plugged

    def device(self):
        return SimpleNamespace(
            open_path=self.opened.append, set_nonblocking=lambda _: None, read=self.read, close=lambda: None
        )

    def read(self, count):
        if self.error:
            raise self.error
        return [*self.reports.pop(0)] if self.reports else []


@pytest.fixture
def hid(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    hid = FakeHid()
    monkeypatch.setitem(sys.modules, "hid", hid)
    return hid


def test_space_mice_are_found_and_read_as_on_linux(hid):
    first, second = chosen_devices((), found_devices())
    assert (first.path, second.path) == ("mouse-1", "mouse-2")
    mouse = second.open()
    hid.reports = [*axes_reports(0, -350, 0, 0, 0, 0), keys_report(1)]
    motion, presses = mouse.poll(1.0)
    assert hid.opened == [b"mouse-2"] and motion.twist[0] == 1 and motion.clutch and presses == ["open"]
    assert chosen_devices(["mouse-2"], found_devices()) == [second]


@pytest.mark.parametrize("error", [OSError("read error"), ValueError("not open")])
def test_one_that_is_unplugged_is_lost(hid, error):
    mouse = found_devices()[0].open()
    hid.error = error
    with pytest.raises(DeviceLost, match="The SpaceMouse is gone"):
        mouse.poll(1.0)


def test_without_hidapi_the_remedy_is_named(hid, monkeypatch):
    monkeypatch.setitem(sys.modules, "hid", None)
    with pytest.raises(SetupError, match=r"pip install 'serl-ray\[devices\]'"):
        found_devices()


def test_linux_needs_no_hidapi(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "hid", None)
    assert found_devices(tmp_path) == []
