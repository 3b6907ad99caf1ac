"""Devices at the robot's computer, over a real hub, on a robot whose clock only the test moves."""

from __future__ import annotations

import errno
import secrets
from contextlib import ExitStack, closing

import numpy as np
import pytest
from device_files import FakeDevice
from hub_peers import HubClient, until
from operated_robots import Robot

from serl_ray.data.episodes import HELD_ACTION
from serl_ray.teleop.devices.client import DeskAddress, DeviceClient, DeviceThread, NotServed
from serl_ray.teleop.devices.hands import Grasp
from serl_ray.teleop.devices.ports import DeviceLost
from serl_ray.teleop.events import ClientRole, Ending, StepActor, Verdict
from serl_ray.teleop.intervention import COMMAND_SECONDS
from serl_ray.teleop.link import Link
from serl_ray.teleop.server import HubServer
from serl_ray.teleop.session import LOST_SECONDS
from serl_ray.teleop.wrapper import VERDICT

FULL = Grasp(speed=1.0)


class Desks:
    """Everything between a device and a robot, until the end of a test."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self.root = secrets.token_bytes(32)
        self.server = HubServer(root=self.root)
        self.robot = Robot()
        self.robot.env.reset(seed=0)
        self.told: list[str] = []
        stack.callback(lambda: self.server.close())
        stack.enter_context(closing(Link(self.robot.env, "robot", self._address, self.robot.env.described(20.0))))

    def _address(self):
        return self.server.robots()

    def device(self, grasp=FULL, role=ClientRole.DEVICE, reopen=None, robot="", **changes):
        device = FakeDevice()
        address = DeskAddress.of(self.server.page(role))
        client = DeviceClient(address, [device], reopen or (lambda: [device]), grasp, robot, self.told.append)
        self._stack.enter_context(closing(DeviceThread(client, self.told.append)))
        return device

    def ready(self, grasp=FULL, **more):
        """A device that can take control of the robot."""
        device = self.device(grasp, **more)
        until(lambda: any("ready" in line for line in self.told))
        until(lambda: self.robot.env.is_attached())
        return device

    def operator(self):
        client = self._stack.enter_context(closing(HubClient(self.server.page())))
        while "robot" not in client.robots:
            client.robots = client.next("welcome").fields["robots"]
        client.watch("robot")
        return client

    @property
    def has_intervention(self):
        return self.robot.session.state(self.robot.clock())["is_intervening"]

    @property
    def holder(self):
        holder = self.robot.session.lease.holder
        return holder and holder.role

    def drive(self, device, *twist):
        device.move(*twist)
        until(lambda: self.has_intervention)


@pytest.fixture
def desks():
    with ExitStack() as stack:
        yield Desks(stack)


def test_moving_a_device_takes_over_and_resting_hands_back(desks):
    device = desks.ready()
    assert desks.holder is None
    desks.drive(device, 0.25)
    info = desks.robot.step()
    np.testing.assert_array_equal(info["intervene_action"], np.array([0.25, 0, 0, 0, 0, 0, 0], np.float32))
    assert info["intervene_source"] == "spacemouse" and desks.holder is ClientRole.DEVICE
    device.rest()
    until(lambda: not desks.has_intervention)
    desks.robot.step()
    assert desks.robot.actor() is StepActor.POLICY and desks.robot.session.counts["hand-backs"] == 1


def test_a_device_takes_control_from_a_browser_and_gives_it_back_by_a_key(desks):
    operator, device = desks.operator(), desks.ready()
    operator.request()
    assert desks.holder is ClientRole.OPERATOR
    desks.drive(device, 0.25)
    assert desks.holder is ClientRole.DEVICE
    operator.press("request")
    until(lambda: desks.robot.session.counts["refused"] == 1)
    assert desks.holder is ClientRole.DEVICE
    device.rest()
    until(lambda: not desks.has_intervention)
    device.presses = ["control"]
    until(lambda: desks.holder is None)
    operator.request()


def test_with_an_operators_secret_a_device_waits_for_its_turn(desks):
    operator, device = desks.operator(), desks.ready(role=ClientRole.OPERATOR)
    operator.request()
    device.move(0.25)
    until(lambda: any("somebody else has control" in line for line in desks.told))
    assert desks.robot.session.lease.holder.name == operator.name


def test_keys_label_pause_and_resume(desks):
    device = desks.ready()
    device.presses = ["control"]
    until(lambda: desks.holder is ClientRole.DEVICE)
    until(lambda: any("you have control" in line for line in desks.told))
    device.presses = ["pause"]
    until(lambda: desks.robot.session.is_paused)
    while desks.robot.session.is_paused:
        device.presses = ["pause"]
        until(lambda: not device.presses)
    device.presses = ["stop"]
    until(lambda: desks.robot.session.is_stopped)


def test_an_unplugged_device_leaves_the_robot_holding_and_then_its_episode_is_lost(desks):
    device = desks.ready()
    desks.drive(device, 0.25)
    desks.robot.step()
    device.lost = DeviceLost(errno.ENODEV, "unplugged")
    until(lambda: desks.holder is None)
    desks.robot.clock.now += COMMAND_SECONDS
    np.testing.assert_array_equal(desks.robot.step()[HELD_ACTION], np.zeros(7))
    desks.robot.clock.now += LOST_SECONDS
    assert desks.robot.step() == {VERDICT: Verdict(Ending.LOST, 2)}
    assert desks.robot.session.is_paused and desks.robot.session.counts["hand-backs"] == 0


def test_a_device_that_comes_back_must_be_released_first(desks):
    fresh = FakeDevice()
    fresh.move(0.25)
    device = desks.ready(reopen=lambda: [fresh])
    desks.drive(device, 0.25)
    device.lost = DeviceLost(errno.ENODEV, "unplugged")
    until(lambda: device.is_closed and desks.holder is None)
    desks.told.clear()
    until(lambda: any("ready" in line for line in desks.told))
    fresh.presses = ["speed-50"]
    until(lambda: not fresh.presses)
    assert desks.holder is None
    fresh.rest()
    fresh.presses = ["speed-50"]
    until(lambda: not fresh.presses)
    fresh.move(0.25)
    until(lambda: desks.holder is ClientRole.DEVICE)


def test_a_hub_that_is_gone_is_dialled_again(desks):
    device = desks.ready()
    desks.drive(device, 0.25)
    port, told = desks.server.port, len(desks.told)
    desks.server.close()
    until(lambda: desks.holder is None)
    desks.server = HubServer(port=port, root=desks.root)
    until(lambda: any("ready" in line for line in desks.told[told:]))
    assert desks.holder is None, "the clutch has been held all the time"


def test_closing_hands_the_robot_back(desks):
    with ExitStack() as stack:
        device, address = FakeDevice(), DeskAddress.of(desks.server.page(ClientRole.DEVICE))
        client = DeviceClient(address, [device], lambda: [device], FULL, "robot", desks.told.append)
        stack.enter_context(closing(DeviceThread(client)))
        until(lambda: any("ready" in line for line in desks.told))
        until(lambda: desks.robot.env.is_attached())
        desks.drive(device, 0.25)
    until(lambda: desks.holder is None)
    assert desks.robot.session.counts["hand-backs"] == 1 and device.is_closed
    desks.robot.step()
    assert desks.robot.actor() is StepActor.POLICY


def test_a_wrong_secret_ends_the_devices_with_a_sentence(desks):
    page = desks.server.page(ClientRole.DEVICE)[:-4] + "0000"
    with closing(DeviceThread(DeviceClient(DeskAddress.of(page), [], list, FULL), desks.told.append)):
        until(lambda: any("refuses the secret" in line for line in desks.told))


def test_of_several_robots_one_must_be_named(desks):
    with closing(Link(Robot().env, "other", desks.server.robots, desks.robot.env.described(20.0))):
        operator = desks.operator()
        until(lambda: "other" in operator.robots)
        desks.device()
        until(lambda: any("robots other, robot: name one by --robot" in line for line in desks.told))
        desks.ready(robot="robot")


@pytest.mark.parametrize(
    ("page", "says"),
    [
        ("http://127.0.0.1:8470/", "not one that a run has printed"),
        ("ws://127.0.0.1:8470/#role=device&secret=a", "not one that a run has printed"),
        ("http://127.0.0.1:8470/#role=viewer&secret=a", "the role 'viewer'"),
        ("", "not one that a run has printed"),
    ],
)
def test_an_address_of_another_kind_is_refused(page, says):
    with pytest.raises(NotServed, match=says):
        DeskAddress.of(page)


def test_an_address_keeps_its_secret_and_knows_https():
    address = DeskAddress.of("https://robots.example:8470/#role=device&secret=abc\n")
    assert address.url == "wss://robots.example:8470/ws" and address.secret == "abc" and "abc" not in repr(address)
