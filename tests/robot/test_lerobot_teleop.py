"""People at LeRobot's robots: takeover by leader arms, gamepads and phones, and what they press."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lerobot_fakes import FakeArm, FakeGamepad, FakeKeys, FakeLeader, FakePhone, Gantry
from serl_robot.lerobot import LeRobotEnv, LeRobotSettings
from serl_robot.lerobot.body import RobotFault
from serl_robot.spaces import UnservableEnv

from serl_ray.benchmarks.lerobot_arm import SO101
from serl_ray.envs.peers import ambiguities, understood

ZEROS = np.zeros(6, np.float32)
TIP = {"motion": "tip", "urdf": "arm.urdf", "tip_step": 0.002}


class Stage:
    """A robot, a teleoperator and a person's keys, after a reset."""

    def __init__(self, teleop, kinematics=None, **wanted):
        self.robot, self.teleop, self.keys, self.said = FakeArm(), teleop, FakeKeys(), []
        given = LeRobotSettings(**{"hz": 1000.0, "step": 4.0} | wanted)
        self.env = LeRobotEnv(self.robot, teleop, given, kinematics, self.keys, self.said.append)
        self.env.reset(seed=0)

    def step(self, action=None, press=""):
        self.keys.pressed = press
        action = np.zeros(self.env.action_space.shape, np.float32) if action is None else action
        return self.env.step(action)

    def lead(self, **places):
        self.teleop.places.update({f"{name}.pos": place for name, place in places.items()})


def test_a_leader_that_is_elsewhere_is_refused_joint_by_joint():
    stage = Stage(FakeLeader())
    stage.lead(elbow_flex=33.0, wrist_roll=-12.4, shoulder_pan=9.0)
    *_, info = stage.step(press=" ")
    assert "intervene_action" not in info
    assert stage.said[-1] == (
        "The leader is not where the robot is: elbow_flex by 33 (lower its number from 33 to 0); "
        "wrist_roll by 12 (raise its number from -12 to 0)."
    )
    assert all(place == 0 for name, place in stage.robot.goals.items() if name != "gripper.pos")


def test_a_refusal_is_told_now_and_then(monkeypatch):
    stage, counts = Stage(FakeLeader()), []
    stage.lead(elbow_flex=33.0)
    for seconds in (1e9, 1e9, 0.0):
        monkeypatch.setattr("serl_robot.lerobot.pilot.REFUSAL_SECONDS", seconds)
        stage.step(press="" if counts else " ")
        counts.append(sum("is not where" in sentence for sentence in stage.said))
    assert counts == [1, 1, 2]


def test_a_leader_takes_over_once_it_is_where_the_robot_is():
    stage = Stage(FakeLeader())
    stage.lead(elbow_flex=33.0)
    stage.step(press=" ")
    stage.lead(elbow_flex=9.0)
    infos = [stage.step(np.full(6, -1, np.float32))[4] for _ in range(3)]
    assert stage.said[-1] == "You drive."
    np.testing.assert_allclose([info["intervene_action"][2] for info in infos], [1, 1, 0.25], atol=1e-6)
    assert stage.robot.places["elbow_flex.pos"] == pytest.approx(9)
    assert infos[0]["intervene_source"] == "so_leader" and infos[0]["intervention"] == 1
    assert "intervene_action" not in stage.step(press=" ")[4]
    assert stage.said[-1] == "The policy drives."
    assert stage.step(press=" ")[4]["intervention"] == 2


@settings(max_examples=30, deadline=None)
@given(
    leads=st.lists(st.lists(st.floats(-170, 170), min_size=5, max_size=5), min_size=3, max_size=12),
    takeover=st.sampled_from(["match", "follow"]),
)
def test_no_leader_makes_the_arm_jump(leads, takeover):
    stage = Stage(FakeLeader(), takeover=takeover, limits={name: [-90, 90] for name in SO101[:5]})
    for number, places in enumerate(leads):
        stage.lead(**dict(zip(SO101[:5], places, strict=True)))
        before = np.array([*stage.robot.goals.values()])
        *_, info = stage.step(press=" " if number == 1 else "")
        after = np.array([*stage.robot.goals.values()])
        assert (np.abs(after - before)[:5] <= 4 + 1e-6).all() and (np.abs(after)[:5] <= 90).all()
        if "intervene_action" in info:
            np.testing.assert_allclose(info["intervene_action"][:5] * 4, (after - before)[:5], atol=1e-4)


@pytest.mark.parametrize("takeover", ["match", "follow"])
def test_a_leader_of_nan_moves_nothing(takeover):
    stage = Stage(FakeLeader(), takeover=takeover)
    stage.step(press=" ")
    stage.lead(elbow_flex=np.nan)
    number = len(stage.robot.sent)
    with pytest.raises(RobotFault, match=r"elbow_flex\.pos would be NaN or infinite .*; nothing is sent") as raised:
        stage.step()
    assert len(stage.robot.sent) == number and raised.value.kind == "not_finite"


def test_a_leader_that_is_unplugged_while_it_drives_is_named_and_no_reset_begins_without_it(monkeypatch):
    stage = Stage(FakeLeader())
    stage.step(press=" ")
    monkeypatch.setattr(stage.teleop, "get_action", lambda: 1 / 0)
    number = len(stage.robot.sent)
    for call in (stage.step, lambda: stage.env.reset(seed=0)):
        with pytest.raises(RobotFault, match="The teleoperator so_leader cannot be read .ZeroDivisionError"):
            call()
    assert len(stage.robot.sent) == number


def test_a_reset_takes_control_back():
    stage = Stage(FakeLeader())
    assert "intervene_action" in stage.step(press=" ")[4]
    stage.keys.pressed = " "
    stage.env.reset(seed=0)
    assert "intervene_action" not in stage.step()[4]


def test_the_gripper_of_a_leader_opens_and_closes():
    stage = Stage(FakeLeader())
    grips = []
    for place in (90, 50, 20, 20, 50, 90):
        stage.lead(gripper=place)
        grips.append(stage.step(press="" if grips else " ")[4]["intervene_action"][5])
    assert grips == [0, 0, -1, 0, 0, 1]


def test_a_robot_drops_nothing_where_a_leader_with_an_open_gripper_takes_over():
    stage = Stage(FakeLeader())
    close = np.array([0, 0, 0, 0, 0, -1], np.float32)
    for _ in range(5):
        stage.step(close)
    stage.lead(gripper=90)
    grips = []
    for place in (90, 90, 20, 90):
        stage.lead(gripper=place)
        grips.append(stage.step(press="" if grips else " ")[4]["intervene_action"][5])
    assert grips == [0, 0, 0, 1]


def test_a_gamepad_shifts_the_tip_while_it_intervenes():
    stage = Stage(FakeGamepad(), [Gantry()], **TIP)
    stage.teleop.deltas, stage.teleop.grip = (0.5, -1.0, 0.0), 0
    assert "intervene_action" not in stage.step()[4]
    stage.teleop.events = {"is_intervention": True, "success": False}
    *_, info = stage.step(np.ones(4, np.float32))
    np.testing.assert_allclose(info["intervene_action"], [0.5, -1, 0, -1], atol=1e-6)
    assert [stage.robot.places[f"{name}.pos"] for name in SO101[:3]] == pytest.approx([1, -2, 0])


def test_a_gamepad_moves_the_joints_where_the_actions_are_theirs():
    stage = Stage(FakeGamepad(), [Gantry()], **TIP | {"motion": "joints"})
    stage.teleop.deltas, stage.teleop.events = (1.0, 0.0, 0.0), {"is_intervention": True}
    np.testing.assert_allclose(stage.step()[4]["intervene_action"], [0.5, 0, 0, 0, 0, 0], atol=1e-6)


def test_a_phone_moves_the_tip_as_far_as_the_hand_while_it_is_enabled():
    stage = Stage(FakePhone(), [Gantry()], **TIP)
    stage.teleop.pos = np.array([5.0, 5.0, 5.0])
    assert "intervene_action" not in stage.step()[4]
    stage.teleop.enabled = True
    assert not stage.step()[4]["intervene_action"].any(), "where the hand is at first, nothing moves"
    stage.teleop.pos = stage.teleop.pos + np.array([0.001, -0.005, 0.0])
    for _ in range(4):
        stage.step()
    assert [stage.robot.places[f"{name}.pos"] for name in SO101[:3]] == pytest.approx([5, 1, 0], abs=1e-3)
    stage.teleop.enabled = False
    assert "intervene_action" not in stage.step()[4]


JUDGED = {
    "success": ("s", (1.0, True, False), True),
    "failure": ("f", (0.0, True, False), False),
    "again": ("r", (0.0, False, True), False),
    "nothing": ("", (0.0, False, False), False),
}


@pytest.mark.parametrize("name", JUDGED)
def test_keys_judge_an_episode(name):
    press, ends, success = JUDGED[name]
    _, *found, info = Stage(None).step(press=press)
    assert tuple(found) == ends and info["success"] is success


EVENTS = {
    "success": ({"success": True, "terminate_episode": False}, (1.0, True, False)),
    "failure": ({"terminate_episode": True}, (0.0, True, False)),
    "again": ({"terminate_episode": True, "rerecord_episode": True}, (0.0, False, True)),
}


@pytest.mark.parametrize("name", EVENTS)
def test_buttons_of_a_gamepad_judge_an_episode(name):
    events, ends = EVENTS[name]
    stage = Stage(FakeGamepad(), [Gantry()], **TIP)
    stage.teleop.events = events
    result = stage.step()
    assert result[1:4] == ends and not list(ambiguities(result[4]))
    assert understood(result)[4]["success"] is bool(result[1])


def test_a_classifier_judges_alone_where_the_person_does_not():
    stage = Stage(None, person_judges=False)
    _, reward, terminated, _, info = stage.step(press="s")
    assert (reward, terminated) == (0.0, False) and "success" not in info
    assert "A reward classifier judges here" in stage.said[-1]


class Odd(FakeLeader):
    """A teleoperator whose action nobody knows."""

    name = "odd"
    action_features = {"speed": float}


class Calibrating(FakeLeader):
    is_calibrated = False


REFUSED = {
    "an unknown action": (Odd(), {}, "teleoperator odd gives speed: neither delta_x"),
    "a gamepad without kinematics": (FakeGamepad(), {}, "gamepad moves the tip of an arm; that needs the arm's urdf"),
    "another arm's leader": (FakeLeader(("shoulder_pan", "gripper")), {}, r"shoulder_lift\.pos|shoulder_lift, elbow"),
    "a leader without calibration": (Calibrating(), {}, "teleoperator so_leader .* is not calibrated"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_teleoperators_that_do_not_fit_are_named(name):
    teleop, wanted, message = REFUSED[name]
    with pytest.raises(UnservableEnv, match=message):
        Stage(teleop, **wanted)


def test_without_a_terminal_a_leader_cannot_take_over():
    with pytest.raises(UnservableEnv, match=r"so_leader has no button .* start it in a terminal"):
        LeRobotEnv(FakeArm(), FakeLeader(), LeRobotSettings(), keys=FakeKeys(is_there=False), tell=print)
    with pytest.raises(UnservableEnv, match="wait_for_person needs a terminal"):
        LeRobotEnv(FakeArm(), None, LeRobotSettings(wait_for_person=True), keys=FakeKeys(is_there=False), tell=print)
