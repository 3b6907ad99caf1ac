"""LeRobot's robots as envs: motions, limits, what is stored, rest, stop and faults."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lerobot_fakes import FakeArm, FakeKeys, Gantry
from serl_robot.adapter import EnvFault, RobotEnv
from serl_robot.lerobot import LeRobotEnv, LeRobotSettings, cli
from serl_robot.lerobot.body import RobotFault, Stopped
from serl_robot.lerobot.by_name import Parts
from serl_robot.spaces import UnservableEnv

from serl_ray.benchmarks.lerobot_arm import SO101
from serl_ray.envs.contract import check_env

QUICK = {"hz": 1000.0, "rest_speed": 5000.0}
FIXED = "single-arm-fixed-gripper"


def make_env(robot=None, teleop=None, keys=None, kinematics=None, said=None, **settings):
    tell = (lambda sentence: None) if said is None else said.append
    settings = LeRobotSettings(**QUICK | settings)
    robot = robot or FakeArm()
    return LeRobotEnv(robot, teleop, settings, kinematics=kinematics, keys=keys or FakeKeys(), tell=tell)


def started(robot=None, **settings):
    env = make_env(robot, **settings)
    env.reset(seed=0)
    return env


def action_of(*numbers, size=6):
    return np.array([*numbers, *[0.0] * (size - len(numbers))], np.float32)


def test_a_robot_keeps_the_contract():
    robot = FakeArm(cameras={"front": (48, 64)})
    env = make_env(robot, episode_seconds=30.0, limits={name: [-90, 90] for name in SO101[:5]})
    assert check_env(env, "single-arm-learned-gripper") == []
    observation, _ = env.reset(seed=1)
    assert observation["front"].shape == (128, 128, 3) and (observation["front"] == 7).all()
    assert observation["state"].shape == (3 * 5 + 2,) and np.abs(observation["state"]).max() <= 1.5
    env.close()
    assert not robot.is_connected


def test_an_action_moves_the_joints_by_their_steps():
    robot = FakeArm()
    env = started(
        robot, step={"shoulder_pan": 2, "shoulder_lift": 3, "elbow_flex": 3, "wrist_flex": 3, "wrist_roll": 5}
    )
    for _ in range(3):
        observation, reward, terminated, truncated, info = env.step(action_of(0.5, -1, 0, 0, 1))
    assert [robot.places[f"{name}.pos"] for name in SO101] == pytest.approx([3, -9, 0, 0, 15, 90])
    assert (reward, terminated, truncated) == (0.0, False, False)
    assert "executed_action" not in info and "intervene_action" not in info
    assert observation["state"][5:10] == pytest.approx([0.5, -1, 0, 0, 1]), "the motion of the last step, in steps"


def test_zeros_keep_an_arm_still_that_sags():
    robot = FakeArm(sag=2.0)
    env = started(robot)
    before = dict(robot.places)
    for _ in range(50):
        env.step(action_of())
        env.hold()
    assert robot.places == pytest.approx(before)


def test_what_was_sent_is_what_is_stored():
    robot = FakeArm()
    env = started(robot, step=4.0, limits={"shoulder_pan": [-10, 10]})
    executed = [env.step(action_of(1.0, 0.25))[4].get("executed_action") for _ in range(4)]
    assert executed[:2] == [None, None]
    np.testing.assert_allclose(executed[2], action_of(0.5, 0.25), atol=1e-6)
    np.testing.assert_allclose(executed[3], action_of(0.0, 0.25), atol=1e-6)
    assert robot.places["shoulder_pan.pos"] == 10
    careful = started(FakeArm(most=1.0), step=4.0)
    np.testing.assert_allclose(careful.step(action_of(1.0))[4]["executed_action"], action_of(0.25), atol=1e-6)


def test_a_blocked_arm_pushes_no_harder_than_its_lead():
    robot = FakeArm()
    env = started(robot, step=4.0, lead=10.0)
    robot.blocked["elbow_flex.pos"] = 1.0
    for _ in range(20):
        observation, *_, info = env.step(action_of(0, 0, 1))
    assert robot.goals["elbow_flex.pos"] == pytest.approx(11.0)
    assert info["executed_action"][2] == pytest.approx(0.0, abs=1e-6)
    assert observation["state"][12] == pytest.approx(1.0), "the state tells the load"


@given(
    target=st.lists(st.floats(-500, 500), min_size=6, max_size=6),
    measured=st.lists(st.floats(-80, 80), min_size=6, max_size=6),
)
def test_no_command_leaves_the_limits_or_jumps(target, measured):
    from serl_robot.lerobot.layout import Layout

    layout = Layout(SO101, LeRobotSettings(step=4.0, lead=12.0, limits={name: [-60, 60] for name in SO101[:5]}))
    before = np.array(measured) + 5
    sent = layout.limited(np.array(target), before, np.array(measured))
    assert (np.abs(sent - before)[:5] <= 4 + 1e-9).all()
    assert (np.abs(sent - measured) <= layout.lead + 1e-9).all()
    outside = np.maximum(np.abs(before) - 60, 0)[:5]
    assert (np.maximum(np.abs(sent) - 60, 0)[:5] <= outside + 1e-9).all()


def test_a_gripper_goes_on_until_the_opposite_command():
    robot = FakeArm()
    env = started(robot, gripper_step=25.0, gripper_lead=30.0)
    infos = [env.step(action_of(0, 0, 0, 0, 0, number))[4] for number in (1, -1, 0.2, 0, -1)]
    assert [info["grasp_penalty"] for info in infos] == [-0.02, 0, 0, 0, -0.02]
    assert robot.places["gripper.pos"] == 0
    robot.blocked = {}
    env.step(action_of(0, 0, 0, 0, 0, 1))
    assert robot.places["gripper.pos"] == 25
    assert all("executed_action" not in info for info in infos)


def test_a_fixed_gripper_keeps_its_place_and_is_no_part_of_the_action():
    robot = FakeArm()
    env = started(robot, setup_mode=FIXED)
    assert env.action_space.shape == (5,)
    *_, info = env.step(np.ones(5, np.float32))
    assert robot.places["gripper.pos"] == 90 and "grasp_penalty" not in info


def test_two_arms_are_told_apart_by_their_names():
    names = [f"{side}_{name}" for side in ("right", "left") for name in SO101]
    robot = FakeArm(names)
    env = started(robot, setup_mode="dual-arm-learned-gripper", step=4.0)
    assert env.action_space.shape == (12,)
    env.step(action_of(1, 0, 0, 0, 0, -1, 0, -1, size=12))
    assert robot.places["left_shoulder_pan.pos"] == 4 and robot.places["left_gripper.pos"] < 90
    assert robot.places["right_shoulder_lift.pos"] == -4 and robot.places["right_gripper.pos"] == 90


def test_shifts_of_the_tip_stay_in_their_box():
    robot = FakeArm()
    env = started(
        robot,
        kinematics=[Gantry()],
        motion="tip",
        urdf="arm.urdf",
        tip_step=0.003,
        tip_low=[-1, -1, 0],
        tip_high=[0.005, 1, 1],
    )
    assert env.action_space.shape == (4,)
    infos = [env.step(action_of(1, -1, -1, size=4))[4] for _ in range(3)]
    assert [robot.places[f"{name}.pos"] for name in SO101[:3]] == pytest.approx([5, -9, 0])
    np.testing.assert_allclose(infos[0]["executed_action"], [1, -1, 0, 0], atol=1e-6)
    np.testing.assert_allclose(infos[2]["executed_action"], [0, -1, 0, 0], atol=1e-6)
    np.testing.assert_allclose(env.twist_to_action(0, np.array([0, 0.5, 0, 1, 1, 1]), "tool"), [0, 0.5, 0], atol=1e-6)
    assert not env.twist_to_action(0, np.zeros(6), "base").any()


def test_a_reset_goes_to_the_rest_pose_in_small_strides():
    robot = FakeArm()
    env = make_env(robot, rest={"elbow_flex": 60.0, "gripper": 40.0}, rest_speed=500.0)
    robot.goals["shoulder_pan.pos"] = 30.0
    env.reset(seed=0)
    assert robot.places == pytest.approx(
        {"elbow_flex.pos": 60, "gripper.pos": 40}
        | dict.fromkeys(["shoulder_pan.pos", "shoulder_lift.pos", "wrist_flex.pos", "wrist_roll.pos"], 0.0)
    )
    path = np.array([[*sent.values()] for sent in robot.sent])
    assert np.abs(np.diff(path, axis=0)).max() <= 500 * 0.04 + 1e-6


def test_a_rest_pose_that_is_not_reached_is_a_fault():
    robot = FakeArm()
    env = make_env(robot, rest={"elbow_flex": 60.0}, rest_seconds=0.2)
    robot.blocked["elbow_flex.pos"] = 20.0
    with pytest.raises(RobotFault, match=r"The joint elbow_flex is 40.0 from its rest place, 60 .* in its way"):
        env.reset(seed=0)


def test_a_random_rest_pose_stays_in_its_range_and_comes_from_the_seed():
    robot = FakeArm()
    env = make_env(robot, rest_noise={"wrist_roll": 20.0}, rest_tolerance=0.1)
    places = []
    for seed in (1, 2, 1):
        env.reset(seed=seed)
        places.append(robot.places["wrist_roll.pos"])
    assert places[0] == pytest.approx(places[2]) and places[0] != pytest.approx(places[1])
    assert np.abs(places).max() <= 20


def test_a_stop_keeps_the_arm_where_it_is_until_the_next_reset():
    robot = FakeArm(sag=1.0)
    env = started(robot)
    env.step(action_of(1))
    env.stop()
    place = dict(robot.places)
    with pytest.raises(Stopped, match="takes no command"):
        env.step(action_of(1))
    with pytest.raises(Stopped):
        env.hold()
    assert robot.goals == place
    env.reset(seed=0)
    env.step(action_of(1))


def test_a_stop_ends_a_reset_that_waits_for_a_person():
    said = []
    env = make_env(said=said, wait_for_person=True)
    raised = []

    def reset():
        try:
            env.reset(seed=0)
        except Stopped as error:
            raised.append(error)

    thread = threading.Thread(target=reset)
    thread.start()
    while "Prepare the scene, then press Enter." not in said:
        thread.join(0.01)
        assert thread.is_alive()
    env.stop()
    thread.join(60)
    assert raised


def test_a_reset_goes_on_once_a_person_has_pressed_enter():
    keys = FakeKeys()
    env = make_env(keys=keys, wait_for_person=True, said=(said := []))
    thread = threading.Thread(target=env.reset, daemon=True)
    thread.start()
    while "Prepare the scene, then press Enter." not in said:
        thread.join(0.01)
    keys.pressed = "\n"
    thread.join(60)
    assert not thread.is_alive()


def test_a_lost_packet_is_read_again_and_a_dead_bus_is_a_fault():
    robot = FakeArm()
    env = started(robot)
    robot.faults = [ConnectionError("There is no status packet!")] * 2
    env.step(action_of(1))
    robot.faults = [ConnectionError("There is no status packet!")] * 3
    with pytest.raises(RobotFault, match=r"cannot be read \(ConnectionError: There is no status packet!\)"):
        env.step(action_of(1))
    robot.faults = [RuntimeError("[RxPacketError] Overload error!")]
    with pytest.raises(RobotFault, match="protects itself: let it cool"):
        env.step(action_of(1))


def test_a_joint_that_reads_nan_moves_nothing():
    robot = FakeArm()
    env = started(robot)
    robot.sag = np.nan
    with pytest.raises(RobotFault, match=r"observation shoulder_pan\.pos is nan") as raised:
        env.step(action_of(1))
    assert raised.value.kind == "not_finite"
    number = len(robot.sent)
    with pytest.raises(RobotFault):
        env.reset(seed=0)
    assert len(robot.sent) == number


def test_a_stop_keeps_a_robot_that_cannot_be_read_where_it_was_last(caplog):
    robot = FakeArm()
    env = started(robot)
    env.step(action_of(1))
    places, robot.goals["shoulder_pan.pos"] = dict(robot.places), 40.0
    robot.faults = [ConnectionError("There is no status packet!")] * 3
    env.stop()
    assert robot.sent[-1] == places and "stopped where it was last" in caplog.text


def test_the_arm_is_disconnected_also_where_the_terminal_is_gone():
    robot, keys = FakeArm(), FakeKeys()
    keys.close = lambda: 1 / 0
    env = started(robot, keys=keys)
    with pytest.raises(ZeroDivisionError):
        env.close()
    assert not robot.is_connected


def test_an_episode_ends_in_time():
    env = started(episode_seconds=0.003)
    for _ in range(2):
        ends = [env.step(action_of())[2:4] for _ in range(3)]
        assert ends == [(False, False), (False, False), (False, True)]
        env.reset(seed=0)


def test_an_image_is_cut_out():
    robot = FakeArm(cameras={"front": (48, 64), "wrist": (48, 64)})
    env = make_env(robot, cameras=["front"], crop={"front": [0, 16, 48, 32]}, image_size=32)
    robot.get_observation = lambda: (
        robot.places | {"front": np.repeat(np.arange(64, dtype=np.uint8), 144).reshape(64, 48, 3).swapaxes(0, 1)}
    )
    env.reset(seed=0)
    observation, *_ = env.step(action_of())
    assert observation.keys() == {"front", "state"}
    assert observation["front"].shape == (32, 32, 3)
    np.testing.assert_allclose(observation["front"][0, :, 0], np.arange(16, 48), atol=1)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (None, "camera front gave no image: check its cable"),
        (np.zeros((8, 8), np.uint8), r"camera front gave uint8 \(8, 8\), not"),
    ],
)
def test_a_camera_without_an_image_is_named(image, message):
    env = started(robot := FakeArm(cameras={"front": (48, 64)}))
    given = robot.get_observation()
    robot.get_observation = lambda: given | {"front": image}
    with pytest.raises(RobotFault, match=message):
        env.step(action_of())


def test_the_command_serves_with_a_watch_for_cameras_that_freeze(monkeypatch):
    calls = []
    settings = LeRobotSettings(**QUICK, frozen_after=1e-9, person_judges=False)
    parts = Parts(FakeArm(cameras={"front": (48, 64)}), None, "ws://gpu-box:8765", "", settings)
    monkeypatch.setattr(cli, "parsed", lambda arguments: parts)
    monkeypatch.setattr(cli, "serve", lambda env, url, **given: calls.append((env, given)))
    assert cli.main([]) == 0
    [(env, given)] = calls
    served = RobotEnv(env, given["frozen_after"])
    served.reset(None)
    with pytest.raises(EnvFault, match="camera front has frozen"):
        served.step(action_of())
    assert LeRobotSettings().frozen_after == 2.0


UNFIT = {
    "a joint that is not there": (
        {"limits": {"elbow": [0, 1]}},
        "limits names elbow; the robot's joints are shoulder_pan",
    ),
    "limits in the wrong order": ({"limits": {"elbow_flex": [5, -5]}}, "limits of elbow_flex are"),
    "a step for some joints": ({"step": {"elbow_flex": 2}}, "step has no number for shoulder_pan"),
    "a lead of one step": ({"step": 4.0, "lead": 5.0}, "lead is less than two steps for shoulder_pan"),
    "two arms": ({"setup_mode": "dual-arm-learned-gripper"}, "equally many must begin with left_ and right_"),
    "no gripper": ({"grippers": ["wrist_roll", "gripper"]}, "An arm has 2 grippers"),
    "the tip without a file": ({"motion": "tip"}, "needs the arm's URDF file"),
    "a file that is not there": ({"motion": "tip", "urdf": "no.urdf"}, "There is no URDF file no.urdf"),
    "an unknown set-up": ({"setup_mode": "three"}, "setup_mode is 'three'; it must be one of single"),
    "no rate": ({"hz": 0.0}, "hz is 0.0; it must be above 0"),
    "an infinite step": ({"step": np.inf}, "step is inf; it must be above 0"),
    "a camera that is not there": ({"cameras": ["top"]}, "cameras names top; the robot's cameras are front"),
    "a rectangle outside": ({"crop": {"front": [0, 0, 100, 100]}}, "outside its image of 48 x 64 pixels"),
    "a number that is not observed": ({"extra_state": {"load": 1.0}}, "extra_state names load"),
    "half a box": ({"tip_low": [0, 0, 0]}, "three numbers each"),
}


@pytest.mark.parametrize("name", UNFIT)
def test_settings_that_do_not_fit_are_named(name):
    settings, message = UNFIT[name]
    with pytest.raises(UnservableEnv, match=message):
        started(FakeArm(cameras={"front": (48, 64)}), **settings)


def test_a_robot_without_calibration_is_refused():
    robot = FakeArm()
    robot.is_calibrated = False
    with pytest.raises(UnservableEnv, match=r"robot fake \(id black\) is not calibrated: run lerobot-calibrate"):
        make_env(robot)
    assert not robot.is_connected
