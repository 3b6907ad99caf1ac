"""Whatever a server, a sensor or a camera does wrong is one sentence, and the arm is held before it is said."""

from __future__ import annotations

import logging
import sys
import threading

import numpy as np
import pytest
from documented import files_of_pages
from franka_server import answer_with, drop, refuse, served, stall, write_settings

from serl_ray.benchmarks.franka_arm import START_JOINTS, arm_settings
from serl_ray.data.episodes import EnvFault
from serl_ray.envs.franka import FrankaServerEnv, cameras
from serl_ray.envs.franka.cameras import RobotCamera, resized
from serl_ray.envs.franka.settings import CameraSettings, read_settings
from serl_ray.utils.errors import SetupError
from serl_ray.utils.options import OptionError

MODE = "single-arm-fixed-gripper"
SECONDS = 60.0
NAN = float("nan")


@pytest.fixture
def arm():
    with served() as (arm, url):
        arm.url = url
        yield arm


def made(arm, tmp_path, **changes):
    return FrankaServerEnv(write_settings(tmp_path / "franka.yaml", [arm_settings(arm.url)], **changes), MODE)


@pytest.fixture
def env(arm, tmp_path):
    env = made(arm, tmp_path, server_timeout=0.5)
    env.reset(seed=0)
    yield env
    arm.faults.clear()
    env.close()


HELD = ["getpos", "clearerr", "pose"]
"""The last routes of an arm that was held."""


@pytest.mark.parametrize(
    ("route", "fault", "kind", "message"),
    [
        ("pose", refuse, "error", "/pose answered 500"),
        ("getstate", refuse, "error", "/getstate answered 500"),
        ("getstate", drop, "error", "/getstate cannot be reached"),
        ("getstate", stall(1.0), "timeout", "/getstate did not answer within 0.5 s"),
        ("getstate", lambda handler: answer_with(handler, b"<html>"), "wrong_result", "gave no JSON: is it the"),
        ("getstate", lambda handler: answer_with(handler, b"[1]"), "wrong_result", "gave a state without any names"),
        ("getstate", lambda handler: answer_with(handler, b'{"pose": 1}'), "wrong_result", "without vel, force, torq"),
    ],
    ids=["refused", "no state", "dropped", "stalled", "no JSON", "no dict", "lacking"],
)
def test_a_server_that_errs_is_named_and_the_arm_is_held(env, arm, route, fault, kind, message):
    failed = threading.Event()

    def once(handler):
        if failed.is_set():
            return False
        failed.set()
        return fault(handler)

    arm.faults[route] = once
    with pytest.raises(EnvFault, match=message) as caught:
        env.step(np.ones(6, np.float32))
    assert caught.value.kind == kind and arm.url in str(caught.value) and "\n" not in str(caught.value)
    assert [each for each in arm.routes if each != "getstate"][-3:] == HELD
    env.reset(seed=0)
    env.step(np.zeros(6, np.float32))


@pytest.mark.parametrize(
    ("wrong", "kind", "message"),
    [
        ({"force": [0.0, NAN, 0.0]}, "not_finite", "gave `force` with NaN or infinity"),
        ({"gripper_pos": float("inf")}, "not_finite", "gave `gripper_pos` with NaN or infinity"),
        ({"vel": [0.0] * 5}, "wrong_shape", r"gave `vel` of shape \(5,\), not \(6,\)"),
        ({"torque": ["a"] * 3}, "wrong_result", "gave `torque` that is not numbers"),
        (
            {"q": [0, 0, 0, -3.06, 0, 2, 0]},
            "error",
            r"Joint 4 of .* is at -3.060 rad, .* -3.0718 to -0.0698",
        ),
        ({"pose": [0.5, 0, 0.3, 0, 0, 0, 0]}, "wrong_result", "quaternion has the length 0, not 1"),
    ],
    ids=["NaN", "infinity", "short", "text", "joint", "quaternion"],
)
def test_a_wrong_sensor_ends_the_episode(env, arm, wrong, kind, message):
    arm.overrides = wrong
    with pytest.raises(EnvFault, match=message) as caught:
        env.step(np.ones(6, np.float32))
    assert caught.value.kind == kind
    if "pose" not in wrong:  # without a pose the controller keeps its last target
        assert arm.routes[-3:] == HELD
    arm.overrides = {}
    env.reset(seed=0)


def test_joints_are_those_of_the_robot_that_is_named(arm, tmp_path):
    arm.overrides = {"q": [*START_JOINTS[:5], 0.3, 0.0]}  # which a Panda can reach
    env = made(arm, tmp_path)
    env.reset(seed=0)
    env.close()
    with pytest.raises(EnvFault, match="Joint 6 of .* limits are 0.5445 to 4.5169"):
        made(arm, tmp_path, robot="fr3").reset(seed=0)


def test_a_robot_that_is_always_late_is_named(arm, tmp_path):
    env = made(arm, tmp_path, lateness=0.02)
    env.reset(seed=0)
    arm.faults["getstate"] = stall(0.05)
    with pytest.raises(EnvFault, match="5 steps in a row were late, .* check the network") as caught:
        for _ in range(20):
            env.step(np.zeros(6, np.float32))
    assert caught.value.kind == "timeout" and arm.routes[-3:] == HELD


def test_an_arm_that_does_not_move_is_named_at_the_reset(arm, tmp_path):
    env = made(arm, tmp_path, arrival_seconds=0.05)
    arm.is_stuck = True
    with pytest.raises(EnvFault, match="still 0.087 m and .* from its reset pose .* check that its controller runs"):
        env.reset(seed=0)


def test_both_arms_are_held_though_one_cannot_be(tmp_path, caplog):
    with served() as (left, first), served() as (right, second):
        path = write_settings(tmp_path / "franka.yaml", [arm_settings(first), arm_settings(second)])
        env = FrankaServerEnv(path, "dual-arm-fixed-gripper")
        env.reset(seed=0)
        left.faults["getstate"] = left.faults["getpos"] = refuse
        with caplog.at_level(logging.WARNING), pytest.raises(EnvFault, match="/getstate answered 500"):
            env.step(np.ones(12, np.float32))
        assert right.routes[-3:] == HELD and "could not be held where it is" in caplog.text
        with pytest.raises(EnvFault, match="/getpos answered 500"):
            env.hold()
        env.close()


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://127.0.0.1:9", "cannot be reached .ConnectionRefusedError"),
        ("{arm}/robot", "/robot/getstate answered 404"),
    ],
)
def test_a_wrong_server_is_named_at_once(arm, tmp_path, url, message):
    path = write_settings(tmp_path / "franka.yaml", [arm_settings(url.format(arm=arm.url))])
    with pytest.raises(EnvFault, match=message):
        FrankaServerEnv(path, MODE)


def test_an_arm_has_one_env_at_a_time(arm, tmp_path):
    env = made(arm, tmp_path)
    with pytest.raises(SetupError, match="moves the arm of .*--evaluate_every 0"):
        made(arm, tmp_path)
    env.close()
    made(arm, tmp_path).close()


def test_an_action_of_nan_is_never_sent(env, arm):
    before = len(arm.poses)
    with pytest.raises(ValueError, match="must be 6 finite numbers"):
        env.step(np.full(6, NAN, np.float32))
    assert len(arm.poses) == before


class FakeSource:
    """A camera whose frames come when the test says so, or as fast as they are read."""

    def __init__(self, shape=(48, 64, 3)):
        self.rng, self.shape = np.random.default_rng(0), shape
        self.is_frozen = self.is_lost = self.is_closed = False
        self.may_read = threading.Event()
        self.may_read.set()
        self.frame = self.rng.integers(0, 255, shape, np.uint8)

    def read(self):
        self.may_read.wait(SECONDS)
        threading.Event().wait(0.002)
        if self.is_lost:
            raise OSError("the cable is loose")
        if not self.is_frozen:
            self.frame = self.rng.integers(0, 255, self.shape, np.uint8)
        return self.frame

    def close(self):
        self.is_closed = True


@pytest.fixture
def camera():
    """A camera, with its sources, its clock and its settings."""
    opened, now = [], [0.0]

    def open_it(settings):
        opened.append(FakeSource())
        return opened[-1]

    settings = CameraSettings(name="wrist_1", uvc=0, width=64, height=48, crop=(0, 40, 10, 50))
    camera = RobotCamera(settings, 32, open_it, clock=lambda: now[0])
    yield camera, opened, now
    opened[-1].may_read.set()
    camera.close()


def wait_for_fault(camera, message):
    """The fault that a camera raises, as soon as its thread has come so far."""
    for _ in range(int(SECONDS / 0.005)):
        try:
            camera.newest()
        except EnvFault as fault:
            assert message in str(fault) and "\n" not in str(fault)
            return fault
        threading.Event().wait(0.005)
    raise AssertionError("no fault")


def test_an_image_is_cut_resized_and_new(camera):
    camera, opened, _ = camera
    opened[0].may_read.clear()
    image, age = camera.newest()
    assert image.shape == (32, 32, 3) and image.dtype == np.uint8 and age == 0.0


def test_a_late_camera_is_named(camera):
    camera, opened, now = camera
    opened[0].may_read.clear()
    now[0] = 5.0
    fault = wait_for_fault(camera, "wrist_1 has given no frame for ")
    assert fault.kind == "timeout"


def test_a_frozen_camera_is_named(camera):
    camera, opened, now = camera
    opened[0].is_frozen = True
    for _ in range(100):
        now[0] += 0.1
        before = now[0]
        try:
            camera.newest()
        except EnvFault as fault:
            if "has frozen" in str(fault):
                return
        threading.Event().wait(0.01)
        assert now[0] == before
    raise AssertionError("no fault")


def test_a_lost_camera_is_named_and_opened_again_by_the_next_reset(camera):
    camera, opened, _ = camera
    opened[0].is_lost = True
    wait_for_fault(camera, "wrist_1 has failed: OSError: the cable is loose")
    camera.revive()
    assert camera.newest()[0].shape == (32, 32, 3) and len(opened) == 2 and opened[0].is_closed
    camera.revive()
    assert len(opened) == 2


@pytest.mark.parametrize(
    ("shape", "message"),
    [((48, 64), "its frames are uint8 .48, 64., not uint8 .H, W, 3."), ((24, 64, 3), "too small for the crop")],
)
def test_wrong_frames_are_named_at_the_start(shape, message):
    settings = CameraSettings(name="side", uvc=0, width=64, height=48, crop=(0, 40, 10, 50))
    with pytest.raises(EnvFault, match=f"side gives no frames: .*{message}"):
        RobotCamera(settings, 32, lambda _: FakeSource(shape))


def test_missing_cameras_are_named(monkeypatch):
    with pytest.raises(SetupError, match="There is no RealSense camera 123; connected are none"):
        cameras.open_source(CameraSettings(name="wrist_1", realsense="123"))
    with pytest.raises(SetupError, match="/dev/no_camera cannot be opened"):
        cameras.open_source(CameraSettings(name="side", uvc="/dev/no_camera"))
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(SetupError, match=r"pip install 'serl-ray\[uvc\]'"):
        cameras.open_source(CameraSettings(name="side", uvc=0))
    monkeypatch.setitem(sys.modules, "pyrealsense2", None)
    with pytest.raises(SetupError, match=r"pip install 'serl-ray\[realsense\]'"):
        cameras.open_source(CameraSettings(name="side", realsense="123"))


def test_images_are_resized_as_the_original_s():
    import cv2

    image = np.random.default_rng(0).integers(0, 255, (480, 640, 3), np.uint8)
    difference = resized(image, 128).astype(int) - cv2.resize(image, (128, 128))
    assert np.abs(difference).max() <= 1


def test_an_env_shows_its_cameras_and_closes_them(arm, tmp_path, monkeypatch):
    opened = []

    def fake(device, settings):
        opened.append((settings.name, FakeSource()))
        return opened[-1][1]

    monkeypatch.setattr(cameras, "UvcCamera", fake)
    env = made(arm, tmp_path, cameras={"wrist_1": {"uvc": 0}, "side": {"uvc": 1, "crop": [0, 30, 0, 30]}})
    observation, info = env.reset(seed=0)
    assert observation["wrist_1"].shape == observation["side"].shape == (128, 128, 3)
    assert env.observation_space.contains(observation) and info["image_age"] >= 0.0
    dict(opened)["side"].is_lost = True
    for _ in range(200):
        try:
            env.step(np.zeros(6, np.float32))
        except EnvFault as fault:
            assert "side has failed" in str(fault)
            break
    assert arm.routes[-3:] == HELD
    env.reset(seed=0)
    env.close()
    assert len(opened) == 3 and all(source.is_closed for _, source in opened)


def test_open_cameras_are_closed_if_another_one_is_missing(arm, tmp_path, monkeypatch):
    source = FakeSource()
    monkeypatch.setattr(cameras, "UvcCamera", lambda device, settings: source)
    with pytest.raises(SetupError, match="There is no RealSense camera 123"):
        made(arm, tmp_path, cameras={"side": {"uvc": 0}, "wrist_1": {"realsense": "123"}})
    assert source.is_closed


@pytest.mark.parametrize(
    ("own", "changes", "message"),
    [
        ({"server": "robot:5000"}, {}, "server is 'robot:5000'; it must be http://HOST:PORT"),
        ({"translation_scale": 1.0}, {}, "translation_scale is 1.0; it must be above 0 and at most 0.1"),
        ({"box_low": [0, 0, 0]}, {}, "box_low is .0, 0, 0.; it has 3 numbers, and needs 6"),
        ({"box_low": [0.8, -0.2, 0.1, 2.5, -0.5, -1.0]}, {}, r"box_low\[0\] is 0.8, above box_high\[0\], 0.7"),
        ({"box_low": [0.3, -0.2, 0.1, -3, -0.5, -1.0]}, {}, r"box_low\[3\] is -3: the first Euler angle is bounded"),
        ({"random_xy": 0.3}, {}, r"reset_pose\[0\] reaches 0.2 .* outside the box of 0.3 to 0.7"),
        ({"target_pose": [0.5, 0, 0.2, 3, 0, 0]}, {}, "target_pose and target_tolerance belong together"),
        ({"stiffness": 3}, {}, r"arms\[0\]: There is no option 'stiffness'"),
        ({}, {"hertz": 10}, "There is no option 'hertz'"),
        ({}, {"hz": "ten"}, "hz is 'ten', a str; it must be a finite number"),
        ({}, {"frame": "tools"}, "frame is 'tools', a str; it must be one of hil-serl, tool, base"),
        ({}, {"proprio_keys": ["tcp_pos"]}, "proprio_keys is .'tcp_pos',.; choose from gripper_pose, tcp_force"),
        ({}, {"proprio_keys": []}, "proprio_keys is ..; choose from gripper_pose"),
        ({}, {"cameras": {"side": {}}}, "cameras: side: a camera has either realsense, its serial number, or uvc"),
        ({}, {"cameras": {"side": 5}}, "cameras: side: it holds no settings"),
        ({}, {"cameras": {"state": {"uvc": 0}}}, "a camera is named 'state'"),
        ({}, {"cameras": {"side": {"uvc": 0, "crop": [0, 481, 0, 9]}}}, r"crop is \[0, 481, 0, 9\]: it must be"),
        ({}, {"cameras": {"side": {"uvc": 0, "crop": [0, 9]}}}, r"crop is \[0, 9\]: it must be"),
    ],
)
def test_wrong_settings_are_named(tmp_path, own, changes, message):
    path = write_settings(tmp_path / "franka.yaml", [arm_settings("http://robot:5000", **own)], **changes)
    with pytest.raises(OptionError, match=message) as caught:
        read_settings(path)
    assert str(caught.value).startswith(path)


def test_files_that_are_no_settings_are_named(arm, tmp_path):
    path = tmp_path / "franka.yaml"
    with pytest.raises(FileNotFoundError, match="there is no such file"):
        read_settings(path)
    for text, message in (
        ("arms: [", "it is not YAML"),
        ("5", "it holds no options"),
        ("a: 1\na: 2", "name each key once"),
    ):
        path.write_text(text)
        with pytest.raises(OptionError, match=message):
            read_settings(path)
    with pytest.raises(OptionError, match="arms has 0 entries: list one arm or two"):
        read_settings(write_settings(path, []))
    both = write_settings(path, [arm_settings(arm.url), arm_settings(arm.url)])
    with pytest.raises(OptionError, match="each arm has a server of its own"):
        read_settings(both)
    one = write_settings(path, [arm_settings(arm.url)])
    with pytest.raises(ValueError, match="The settings have 1 arm.s., and dual-arm-fixed-gripper has 2"):
        FrankaServerEnv(one, "dual-arm-fixed-gripper")


def test_the_documented_settings_are_valid(tmp_path):
    path = tmp_path / "franka.yaml"
    path.write_text(files_of_pages()["franka.yaml"])
    settings = read_settings(path)
    assert [camera.name for camera in settings.cameras] == ["wrist_1", "side"] and len(settings.arms) == 1
