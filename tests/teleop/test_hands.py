"""Devices together: which one is active, which arm it drives, and in whose directions."""

from __future__ import annotations

import pytest
from device_files import FakeDevice, rounded

from serl_ray.teleop.devices.hands import Grasp, Hands


def test_the_device_whose_clutch_is_held_is_the_active_one():
    mouse, pad = FakeDevice(), FakeDevice("gamepad")
    hands = Hands([mouse, pad], Grasp(speed=1.0), arms=1)
    assert not hands.poll(0.0).clutch
    pad.move(0.5)
    assert hands.poll(0.0)[:4] == ({0: (0.5, 0, 0, 0, 0, 0)}, True, False, "gamepad")
    mouse.move(1.0)
    assert hands.poll(0.0).source == "gamepad"
    pad.rest()
    assert hands.poll(0.0).source == "spacemouse"


@pytest.mark.parametrize(
    ("seen_from", "twist"),
    [
        ("behind", [0.5, 0.25, 0.125, -0.5, 0.25, 1]),
        ("left", [0.25, -0.5, 0.125, 0.25, 0.5, 1]),
        ("front", [-0.5, -0.25, 0.125, 0.5, -0.25, 1]),
        ("right", [-0.25, 0.5, 0.125, -0.25, -0.5, 1]),
    ],
)
def test_directions_are_those_of_the_person(seen_from, twist):
    mouse = FakeDevice()
    hands = Hands([mouse], Grasp(speed=1.0, seen_from=seen_from), arms=1)
    mouse.move(0.5, 0.25, 0.125, -0.5, 0.25, 1)
    assert rounded(hands.poll(0.0).twists[0]) == twist


def test_speed_is_a_share_and_keys_set_it():
    mouse = FakeDevice()
    hands = Hands([mouse], Grasp(speed=0.5), arms=1)
    mouse.move(1.0)
    assert hands.poll(0.0).twists[0][0] == 0.5
    mouse.presses = ["speed-25", "success"]
    state = hands.poll(0.0)
    assert state.twists[0][0] == 0.25 and state.presses == [("success", 0)]


def test_one_device_drives_the_chosen_arm_after_it_has_been_at_rest():
    mouse = FakeDevice()
    hands = Hands([mouse], Grasp(arm=1, speed=1.0), arms=2)
    mouse.move(0.5)
    assert hands.poll(0.0).twists == {1: (0.5, 0, 0, 0, 0, 0)}
    mouse.presses = ["arm", "close"]
    state = hands.poll(0.0)
    assert state.twists == {0: (0, 0, 0, 0, 0, 0)} and state.clutch and state.presses == [("close", 0)]
    mouse.rest()
    hands.poll(0.0)
    mouse.move(0.25)
    assert hands.poll(0.0).twists == {0: (0.25, 0, 0, 0, 0, 0)}


def test_two_devices_drive_an_arm_each():
    left, right = FakeDevice(), FakeDevice()
    hands = Hands([left, right], Grasp(speed=1.0), arms=2)
    right.move(0.5)
    right.presses = ["close"]
    state = hands.poll(0.0)
    assert state.twists == {0: (0,) * 6, 1: (0.5, 0, 0, 0, 0, 0)} and state.presses == [("close", 1)]
    left.move(0.0, tail=True)
    assert not hands.poll(0.0).tail
    right.move(0.0, tail=True)
    assert hands.poll(0.0).tail
    left.rest()
    right.rest()
    assert not hands.poll(0.0).clutch
