"""The talk of devices with a robot's session, message by message."""

from __future__ import annotations

import numpy as np
import pytest
from device_files import FakeDevice

from serl_ray.teleop.devices.desk import GRIP_WAIT_SECONDS, Desk
from serl_ray.teleop.devices.hands import Grasp, Hands
from serl_ray.teleop.events import Client, ClientRole
from serl_ray.teleop.messages import command_of, pressed_of
from serl_ray.teleop.twists import Twist
from serl_ray.teleop.wire import Message

CLIENT = Client("device-1", ClientRole.DEVICE)


class Place:
    """A desk with devices that move as a test says, and the messages that it sends."""

    def __init__(self, arms: int = 1, devices: int = 1) -> None:
        self.devices = [FakeDevice() for _ in range(devices)]
        self.device = self.devices[0]
        self.told: list[str] = []
        self.robot = {"action_dim": 7 * arms, "arms": arms, "references": ["base"], "grippers": [6, 13][:arms]}
        hands = Hands(self.devices, Grasp(speed=1.0), arms)
        self.desk = Desk(hands, CLIENT.name, "peg", self.robot, self.told.append)
        self.now = 0.0

    def state(self, holder=CLIENT.name, epoch=1, **more):
        state = {"holder": holder, "epoch": epoch, "is_paused": False, "refusals": [], "counts": {}, **more}
        return self.desk.hear(Message("state", {"robot": "peg", "state": state}))

    def tick(self):
        """The messages of the next moment, which the hub would accept, as (commands, presses)."""
        self.now += 0.02
        messages = self.desk.tick(self.now)
        commands = [command_of(message, CLIENT, self.robot) for message in messages if message.kind == "command"]
        return commands, [pressed_of(message, CLIENT) for message in messages if message.kind == "press"]

    def drive(self):
        """The device is moved, and has control."""
        self.tick()
        self.device.move(0.25)
        assert [pressed.press for pressed in self.tick()[1]] == ["request"]
        self.state()
        [command], _ = self.tick()
        assert not command.clutch, "the session must see the clutch released under each lease"
        [command], _ = self.tick()
        assert command.clutch


def test_a_frame_counts_as_displayed_at_once_and_its_number_goes_with_every_command():
    place = Place()
    place.drive()
    frame = Message("frame", {"robot": "peg", "frame": 7, "state": {"holder": CLIENT.name, "epoch": 1, "counts": {}}})
    assert [(answer.kind, answer.fields) for answer in place.desk.hear(frame)] == [("displayed", {"frame": 7})]
    [command], _ = place.tick()
    assert command.frame == 7 and command.epoch == 1 and command.source == "spacemouse"
    assert place.desk.hear(Message("frame", {"robot": "other", "frame": 9, "state": {}})) == []


def test_the_last_stretch_of_a_clutchless_device_is_a_tail():
    place = Place()
    place.drive()
    assert not place.tick()[0][0].tail
    place.device.move(0.0, tail=True)
    assert place.tick()[0][0].tail
    place.device.rest()
    [command], _ = place.tick()
    assert not command.clutch and not command.tail


def test_a_clutch_that_was_held_before_counts_once_it_was_released():
    place = Place()
    place.device.move(0.25)
    assert place.tick() == ([], [])
    place.device.rest()
    place.drive()
    place.state(holder="device-2", epoch=2)
    assert place.tick() == ([], []) and place.told[-1] == "peg: control is gone."
    place.state(epoch=3)
    assert not place.tick()[0][0].clutch
    assert not place.tick()[0][0].clutch, "it has been held since control was lost"
    place.device.rest()
    place.tick()
    place.device.move(0.25)
    assert place.tick()[0][0].clutch


def test_a_press_for_a_gripper_waits_for_control_and_goes_out_once():
    place = Place()
    place.tick()
    place.device.move(0.25)
    place.device.presses = ["close"]
    assert [pressed.press for pressed in place.tick()[1]] == ["request"]
    place.state()
    assert place.tick()[1] == []
    [command], [grip] = place.tick()
    assert command.clutch and (grip.press, grip.gripper, grip.direction, grip.epoch) == ("gripper", 0, -1, 1)
    assert place.tick()[1] == []


def test_a_press_for_a_gripper_that_waits_too_long_is_named():
    place = Place()
    place.device.presses = ["open"]
    assert place.tick() == ([], [])
    place.now += GRIP_WAIT_SECONDS
    assert place.tick() == ([], [])
    assert place.told == ["A press for the gripper has come to nothing: the robot was not driven."]


def test_two_devices_drive_both_arms_in_one_command():
    place = Place(arms=2, devices=2)
    place.drive()
    place.devices[1].move(-0.5)
    place.devices[1].presses = ["close"]
    [command], [grip] = place.tick()
    assert isinstance(command.motion, Twist)
    numbers = {arm: list(numbers) for arm, numbers in command.motion.by_arm().items()}
    assert numbers == {0: [0.25, 0, 0, 0, 0, 0], 1: [-0.5, 0, 0, 0, 0, 0]} and grip.gripper == 1


@pytest.mark.parametrize(("is_paused", "meant"), [(False, "pause"), (True, "resume")])
def test_a_key_for_a_pause_resumes_a_paused_robot(is_paused, meant):
    place = Place()
    place.state(is_paused=is_paused)
    place.device.presses = ["pause", "success", "control"]
    assert [pressed.press for pressed in place.tick()[1]] == [meant, "success", "release"]


def test_anybody_stops_and_asks_without_control():
    place = Place()
    place.device.presses = ["stop", "control"]
    _, presses = place.tick()
    assert [(pressed.press, pressed.epoch) for pressed in presses] == [("stop", 0), ("request", 0)]


def test_refusals_are_told_and_those_of_before_are_not():
    place = Place()
    place.state(refusals=["old."], counts={"refused": 1})
    place.state(refusals=["old.", "reset is refused: because."], counts={"refused": 2})
    assert place.told == ["peg: you have control.", "peg: reset is refused: because."]


def test_letting_go_hands_back_and_releases():
    place = Place()
    assert place.desk.let_go() == []
    place.drive()
    command, press = place.desk.let_go()
    assert not command_of(command, CLIENT, place.robot).clutch and press.fields["press"] == "release"
    np.testing.assert_array_equal(command.arrays["twist"], np.zeros(6, np.float32))
