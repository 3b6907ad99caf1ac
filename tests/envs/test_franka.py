"""The Franka env over a fake of the original's server: episodes, resets, grippers, stops, and the contract."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
from franka_server import refuse, served, write_settings

from serl_ray.benchmarks.franka_arm import RESET_POSE, arm_settings
from serl_ray.cli.main import main
from serl_ray.data.demos import read_file
from serl_ray.data.episodes import EnvFault
from serl_ray.envs import check_env, make_env
from serl_ray.envs.franka import FrankaServerEnv
from serl_ray.envs.franka.frames import with_euler
from serl_ray.envs.franka.gripper import BinaryGripper
from serl_ray.envs.franka.server import FrankaServer
from serl_ray.options.sets import HybridOptions, HybridRun
from serl_ray.rllib.user_env import env_options
from serl_ray.runs.policy import load_policy
from serl_ray.runs.train import train

FIXED, LEARNED = "single-arm-fixed-gripper", "single-arm-learned-gripper"
CLOSE, STAY, OPEN = (np.array([0, 0, 0, 0, 0, 0, number], np.float32) for number in (-1, 0, 1))
SECONDS = 60.0
"""Time limit of waiting for another thread."""


@pytest.fixture
def arm():
    with served() as (arm, url):
        arm.url = url
        yield arm


@pytest.fixture
def make(arm, tmp_path):
    """Makes an env of one arm by changes of the settings; those of the arm are in `own`."""
    made = []

    def make(mode=FIXED, own=None, **changes):
        path = write_settings(tmp_path / "franka.yaml", [arm_settings(arm.url, **(own or {}))], **changes)
        made.append(FrankaServerEnv(path, mode))
        return made[-1]

    yield make
    for env in made:
        env.close()


def wait_until(is_true):
    deadline = time.monotonic() + SECONDS
    while not is_true():
        assert time.monotonic() < deadline
        time.sleep(0.001)


@pytest.mark.parametrize("mode", [FIXED, LEARNED, "dual-arm-fixed-gripper", "dual-arm-learned-gripper"])
def test_the_contract_is_kept(tmp_path, mode):
    with served() as (_, first), served() as (_, second):
        urls = [first, second] if mode.startswith("dual") else [first]
        env = FrankaServerEnv(write_settings(tmp_path / "franka.yaml", [arm_settings(url) for url in urls]), mode)
        assert check_env(env, mode, steps=20) == []
        env.close()


def test_the_command_checks_it_by_its_name(arm, tmp_path, capsys):
    path = write_settings(tmp_path / "franka.yaml", [arm_settings(arm.url)], max_episode_length=5)
    command = ["check-env", "--env_name", "franka", "--setup_mode", FIXED, "--env_kwargs", "settings", path]
    assert main([*command, "--steps", "12"]) == 0
    assert "The env keeps the contract." in capsys.readouterr().out


def test_it_is_named_like_the_bundled_ones_and_opened_by_nobody_unasked(arm, tmp_path):
    assert env_options("franka", {"settings": "franka.yaml"}) == {
        "env_name": "franka",
        "env_kwargs": {"settings": "franka.yaml"},
    }
    path = write_settings(tmp_path / "franka.yaml", [arm_settings(arm.url)])
    env = make_env("franka", setup_mode=FIXED, env_kwargs={"settings": path})
    assert env.reset(seed=0)[0]["state"].shape == (19,)
    env.close()
    arm.requests.clear()
    HybridOptions.of(env_name="franka", setup_mode=FIXED, env_kwargs={"settings": path})
    assert arm.requests == []


def test_a_reset_is_the_original_s(make, arm):
    env = make(joint_reset_period=2)
    arm.requests.clear()
    env.reset(seed=0)
    asked = [route for route in arm.routes if route not in ("getstate", "getpos", "clearerr")]
    first_move, last_move = asked.index("pose"), len(asked) - 1 - asked[::-1].index("pose")
    assert asked[0] == asked[-1] == "update_param" and asked[1] == "pose" and asked[2] == "update_param"
    stiffness = [body["translational_stiffness"] for route, body in arm.requests if route == "update_param"]
    assert stiffness == [2000, 3000, 2000] and first_move == 1 and last_move == len(asked) - 2
    np.testing.assert_allclose(with_euler(arm.poses[-1]), RESET_POSE, atol=1e-6)
    steps = np.diff([pose[:3] for pose in arm.poses[1:]], axis=0)
    np.testing.assert_allclose(steps, np.broadcast_to(steps[0], steps.shape), atol=1e-6)  # straight and even
    assert arm.count("jointreset") == 0
    env.reset(seed=0)
    assert arm.count("jointreset") == 1


def test_a_reset_is_random_by_its_seed_and_within_its_range(make, arm):
    env = make(own={"random_xy": 0.05, "random_yaw": 0.3})
    goals = []
    for seed in (0, 1, 0):
        env.reset(seed=seed)
        goals.append(with_euler(arm.poses[-1]))
    np.testing.assert_allclose(goals[0], goals[2], atol=1e-6)
    assert np.abs(goals[0] - goals[1])[[0, 1, 5]].min() > 1e-4
    assert (np.abs(np.array(goals) - RESET_POSE) <= [0.05, 0.05, 1e-6, 1e-6, 1e-6, 0.3]).all()


def test_the_move_to_the_reset_pose_keeps_its_speed(make, arm):
    env = make(reset_speed=0.5)
    arm.requests.clear()
    env.reset(seed=0)
    metres = np.linalg.norm(np.diff([pose[:3] for pose in arm.poses[1:]], axis=0), axis=1)
    assert metres.max() <= 0.5 / 200 * 1.05


def test_the_time_limit_truncates(make):
    env = make(max_episode_length=3)
    env.reset(seed=0)
    ends = [env.step(np.zeros(6, np.float32))[1:4] for _ in range(3)]
    assert ends == [(0.0, False, False), (0.0, False, False), (0.0, False, True)]


@pytest.mark.parametrize(("rewards", "expected"), [(True, (1.0, True)), (False, (0.0, False))])
def test_a_target_pose_is_a_success(make, rewards, expected):
    target = [RESET_POSE[0] + 0.03, *RESET_POSE[1:]]
    own = {"target_pose": target, "target_tolerance": [0.01, 0.01, 0.01, 0.2, 0.2, 0.2]}
    env = make(own=own, frame="base", rewards=rewards)
    env.reset(seed=0)
    *_, info = env.step(np.zeros(6, np.float32))
    assert info["success"] is False
    for _ in range(10):
        _, reward, terminated, _, info = env.step(np.array([0.7, 0, 0, 0, 0, 0], np.float32))
        if info["success"]:
            break
    assert info["success"] is True and (reward, terminated) == expected


def test_without_a_target_nothing_is_said_of_success(make):
    env = make()
    assert "success" not in env.reset(seed=0)[1]
    assert "success" not in env.step(np.zeros(6, np.float32))[-1]


def test_only_the_chosen_parts_are_in_the_state(make):
    env = make(proprio_keys=["tcp_pose", "gripper_pose"])
    state = env.reset(seed=0)[0]["state"]
    assert state.shape == (7,) and state[0] == 1.0
    np.testing.assert_allclose(state[1:], 0.0, atol=1e-6)  # the pose, relative to itself


def test_a_gripper_takes_one_command_at_a_time_and_no_step_waits_for_it(make, arm):
    env = make(LEARNED, gripper_seconds=60.0)
    env.reset(seed=0)
    env.step(CLOSE)
    assert arm.count("close_gripper") == 0  # the reset began less than 60 s ago
    env.close()
    env = make(LEARNED, gripper_seconds=0.0)
    env.reset(seed=0)
    penalties = [env.step(action)[-1]["grasp_penalty"] for action in (OPEN, STAY, CLOSE, CLOSE, CLOSE, OPEN)]
    assert penalties == [-0.02, 0.0, 0.0, -0.02, -0.02, 0.0]
    assert [route for route in arm.routes if "gripper" in route] == ["close_gripper", "open_gripper"]


def test_a_gripper_that_moves_is_not_told_again(arm):
    now = 0.0
    gripper = BinaryGripper(FrankaServer(arm.url, timeout=SECONDS), 0.6, clock=lambda: now)
    gripper.begin()
    now = 1.0
    useless = [gripper.command(number, opening=1.0) for number in (-1.0, -1.0, 1.0)]  # which has hardly begun
    assert useless == [False, True, False] and arm.routes == ["close_gripper"]
    now = 2.0
    assert not gripper.command(1.0, opening=0.1) and arm.routes == ["close_gripper", "open_gripper"]


@pytest.mark.parametrize(("fixed", "closed"), [("close", 1), ("leave", 0)])
def test_a_fixed_gripper_is_kept_closed_or_left(make, arm, fixed, closed):
    env = make(fixed_gripper=fixed, gripper_seconds=0.0)
    env.reset(seed=0)
    for _ in range(4):
        _, _, _, _, info = env.step(np.zeros(6, np.float32))
    assert arm.count("close_gripper") == closed and "grasp_penalty" not in info


def test_a_reset_opens_the_gripper_if_it_shall(make, arm):
    make(reset_gripper="open").reset(seed=0)
    assert arm.count("open_gripper") == 1


def test_zeros_keep_the_arm_where_it_is(make, arm):
    env = make()
    env.reset(seed=0)
    env.step(np.full(6, 0.5, np.float32))
    rest = arm.answers[-1]["pose"]
    for _ in range(3):
        env.step(np.zeros(6, np.float32))
    np.testing.assert_allclose(arm.poses[-1][:3], rest[:3], atol=1e-6)


def test_a_stop_from_another_thread_ends_a_step_with_the_arm_held(make, arm):
    env = make(server_timeout=SECONDS)
    env.reset(seed=0)
    before, answering, results = len(arm.poses), threading.Event(), []
    arm.faults["getstate"] = lambda _: not answering.wait(SECONDS)
    thread = threading.Thread(target=lambda: results.append(env.step(np.ones(6, np.float32))))
    thread.start()
    wait_until(lambda: len(arm.poses) > before)
    env.stop()
    answering.set()
    thread.join(SECONDS)
    assert len(results) == 1 and len(arm.poses) == before + 2  # the step's, and the stop's
    with pytest.raises(EnvFault, match=r"was stopped, and takes no command until the next reset"):
        env.step(np.ones(6, np.float32))


def test_a_stop_ends_a_reset_and_the_next_one_moves_again(make, arm):
    env = make(arrival_seconds=SECONDS)
    arm.is_stuck, faults = True, []

    def reset():
        with pytest.raises(EnvFault) as caught:
            env.reset(seed=0)
        faults.append(str(caught.value))

    thread = threading.Thread(target=reset)
    thread.start()
    wait_until(lambda: len(arm.poses) > 5)
    env.stop()
    thread.join(SECONDS)
    assert len(faults) == 1 and "was stopped" in faults[0]
    np.testing.assert_allclose(arm.poses[-1][:3], arm.pose[:3], atol=1e-6)
    arm.is_stuck = False
    env.reset(seed=0)
    np.testing.assert_allclose(with_euler(arm.poses[-1]), RESET_POSE, atol=1e-6)


def test_a_close_holds_the_arm(make, arm):
    env = make()
    env.reset(seed=0)
    env.step(np.ones(6, np.float32))
    env.close()
    np.testing.assert_allclose(arm.poses[-1][:3], arm.answers[-1]["pose"][:3], atol=0.02)
    assert arm.routes[-3:] == ["getpos", "clearerr", "pose"]
    asked = len(arm.requests)
    env.close()
    assert len(arm.requests) == asked


def test_a_clock_that_jumps_changes_nothing(make, arm, monkeypatch):
    env = make(LEARNED, gripper_seconds=0.0)
    jumps = iter(np.random.default_rng(0).uniform(0, 2e9, 100_000))
    monkeypatch.setattr(time, "time", lambda: float(next(jumps)))
    env.reset(seed=0)
    for action in (CLOSE, STAY, OPEN):
        env.step(action)
    assert arm.count("close_gripper") == 1 and arm.count("open_gripper") == 1


def test_episodes_are_recorded_and_what_a_fault_broke_is_not(arm, tmp_path):
    own = {"target_pose": [0.6, 0.1, 0.3, 3.1, 0, 0], "target_tolerance": [0.02] * 3 + [0.3] * 3}
    path = write_settings(tmp_path / "franka.yaml", [arm_settings(arm.url, **own)], frame="base")
    asked = iter(range(1_000_000))
    arm.faults["pose"] = lambda handler: next(asked) == 50 and refuse(handler)
    command = ["record", "--env_name", "franka_envs:ReachingFranka", "--setup_mode", FIXED, "--env_kwargs", "settings"]
    main([*command, path, "--episodes", "3", "--output", str(tmp_path / "demos.pkl")])
    segments = list(read_file(str(tmp_path / "demos.pkl")))
    assert [segment.rewards.sum() for segment in segments] == [1.0] * 3 and next(asked) > 50
    assert all(segment.observations["state"].shape[1] == 19 for segment in segments)


@pytest.mark.slow
def test_a_run_over_the_server_counts_what_a_fault_broke(shared_ray, arm, tmp_path):
    path = write_settings(tmp_path / "franka.yaml", [arm_settings(arm.url)], max_episode_length=20)
    asked = iter(range(1_000_000))
    arm.faults["pose"] = lambda handler: next(asked) == 100 and refuse(handler)
    options = HybridRun.of(
        env_name="franka",
        setup_mode=LEARNED,
        env_kwargs={"settings": path},
        save_dir=tmp_path / "run",
        num_workers=1,
        evaluate_every=0,
        max_steps=120,
        training_starts=40,
        batch_size=16,
        hidden_dims=(16, 16),
    )
    result = train(options)
    assert result["faults/env_error"] == 1 and result["env/steps"] >= 120
    with pytest.raises(ValueError, match="trained in the env 'franka'"):
        load_policy(tmp_path / "run")
    agent, env = load_policy(tmp_path / "run", env_name="franka")
    observation, _ = env.reset(seed=0)
    assert env.action_space.contains(agent.sample_actions(observation, argmax=True))
    env.close()
