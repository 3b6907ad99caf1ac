import functools
import os
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("robosuite", reason="needs pip install 'serl-ray[robosuite]'")

from serl_ray.envs import check_env, make_env
from serl_ray.envs.expert import ScriptedExpert
from serl_ray.envs.robosuite import RobosuiteEnv
from serl_ray.types import ActionLayout

LEARNED, DUAL = "single-arm-learned-gripper", "dual-arm-fixed-gripper"
TASKS = {"lift": LEARNED, "two-arm-peg": DUAL}
CLOSE, HOLD, OPEN = (np.array([0, 0, 0, gripper], np.float32) for gripper in (-1, 0, 1))
HAND, VELOCITY, OPENING, COMMAND = slice(3), slice(6, 9), 12, 14  # in `state`


@functools.cache
def made(task):
    return RobosuiteEnv(TASKS[task], task)


@pytest.fixture(params=TASKS)
def env(request):
    return made(request.param)


@pytest.fixture
def lift():
    return made("lift")


@pytest.fixture
def pegs():
    return made("two-arm-peg")


def play(env, act):
    """Plays on to the episode's end: (reward, terminated, number of steps)."""
    for step in range(1, 1000):
        _, reward, terminated, truncated, _ = env.step(act())
        if terminated or truncated:
            return reward, terminated, step
    raise AssertionError("the episode does not end")


@pytest.mark.parametrize("noise", [0.0, 0.2])
@pytest.mark.parametrize("task", TASKS)
def test_the_expert_succeeds_within_the_horizon(task, noise):
    env = made(task)
    expert = ScriptedExpert(env, ActionLayout.from_setup(TASKS[task], env.action_space.shape[0]), noise)
    for seed in range(3):
        env.reset(seed=seed)
        reward, terminated, steps = play(env, expert.act)
        assert (reward, terminated) == (1.0, True) and 10 < steps < 90


def test_an_episode_without_success_is_truncated(env):
    env.reset(seed=0)
    assert play(env, lambda: np.zeros(env.action_space.shape, np.float32)) == (0.0, False, 100)


def test_the_seed_alone_draws_the_episode(env):
    def first_steps(seed=None):
        observations = [env.reset(seed=seed)[0], *(env.step(env.expert_action())[0] for _ in range(3))]
        return np.array([np.concatenate([each["state"], each["object_state"]]) for each in observations])

    np.random.seed(0)
    before = np.random.get_state()[1].copy()
    first, second = first_steps(seed=5), first_steps()
    np.testing.assert_array_equal(np.random.get_state()[1], before)
    first_steps(seed=1)
    np.testing.assert_array_equal(first_steps(seed=5), first)
    assert np.abs(first[0] - second[0]).max() > 0.1


def test_minus_one_closes_and_the_gripper_keeps_its_command(lift):
    lift.reset(seed=0)
    openings, commands, penalties = [], [], []
    for action in (OPEN, CLOSE, *[HOLD] * 15, CLOSE, OPEN, *[HOLD] * 15):
        observation, *_, info = lift.step(action)
        openings.append(observation["state"][OPENING])
        commands.append(observation["state"][COMMAND])
        penalties.append(info["grasp_penalty"])
    assert openings[16] < -0.9 and openings[-1] > 0.8
    assert commands == [1.0, *[-1.0] * 17, *[1.0] * 16]
    assert np.flatnonzero(penalties).tolist() == [0, 17] and min(penalties) == -0.02


@pytest.mark.parametrize(("task", "arm"), [("lift", 0), ("two-arm-peg", 0), ("two-arm-peg", 1)])
def test_an_action_moves_its_hand_along_the_worlds_axes(task, arm):
    env = made(task)
    for axis in range(3):
        start = env.reset(seed=0)[0]["state"][12 * arm :][HAND]
        action = np.zeros(env.action_space.shape, np.float32)
        action[6 * arm + axis] = 1.0
        for _ in range(4):
            observation, *_ = env.step(action)
        state = observation["state"][12 * arm :]
        moved = state[HAND] - start
        np.testing.assert_allclose(moved, 0.35 * np.eye(3)[axis], atol=0.1)  # decimetres
        np.testing.assert_allclose(state[VELOCITY], np.eye(3)[axis], atol=0.25)


def test_a_rotation_turns_its_hand_about_the_worlds_axes(pegs):
    for axis in range(3):
        pegs.reset(seed=0)
        action = np.zeros(12, np.float32)
        action[9 + axis] = 1.0
        for _ in range(4):
            observation, *_ = pegs.step(action)
        spin = observation["state"][12:][9:12]
        assert np.argmax(np.abs(spin)) == axis and spin[axis] > 1.0  # radians/s


def test_a_lift_is_seen_by_the_cubes_offset_height_and_contacts(lift):
    observation, _ = lift.reset(seed=2)
    assert observation["object_state"][2] < -1.2 and not observation["object_state"][6:].any()
    for _ in range(100):
        observation, _, terminated, *_ = lift.step(lift.expert_action())
        if terminated:
            break
    assert np.abs(observation["object_state"][:3]).max() < 0.2  # decimetres
    assert observation["object_state"][3] > 0.15 and observation["object_state"][6:].all()


def test_a_peg_in_the_hole_is_seen_by_the_holes_offset_and_both_axes(pegs):
    pegs.reset(seed=2)
    play(pegs, pegs.expert_action)
    offset, axis, normal = np.split(pegs._vectors()["object_state"], 3)
    assert np.linalg.norm(offset) < 0.5 and axis @ normal < -0.95


@pytest.mark.parametrize("task", TASKS)
def test_the_contract_is_kept_with_cameras(task):
    cameras = ("agentview", "robot0_eye_in_hand")
    env = make_env("robosuite", setup_mode=TASKS[task], image_keys=cameras, env_kwargs={"task": task})
    images, _ = env.reset(seed=0)
    assert images["agentview"].shape == images["robot0_eye_in_hand"].shape == (128, 128, 3)
    assert all(images[camera].std() > 20 for camera in cameras)
    assert check_env(env, TASKS[task], steps=5) == []
    env.close()


@pytest.mark.slow
def test_robosuite_and_triton_live_beside_the_renderer_and_leave_its_backend_alone():
    code = """
import importlib.util, os
from serl_ray.envs import make_env
given = {"setup_mode": "single-arm-learned-gripper"}
make_env("tabletop", image_keys=("front",), **given).reset(seed=0)  # Mesa's LLVM is there before numba's
env = make_env("robosuite", image_keys=("agentview",), **given)
env.reset(seed=0)
env.step(env.unwrapped.expert_action())
if importlib.util.find_spec("triton"):
    import triton
print(os.environ.get("MUJOCO_GL"))
"""
    given = {key: value for key, value in os.environ.items() if key != "MUJOCO_GL"}
    done = subprocess.run([sys.executable, "-c", code], env=given, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "None\n" and "[robosuite" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"setup_mode": DUAL}, f"task lift of the env robosuite is {LEARNED}, not {DUAL}"),
        ({"setup_mode": LEARNED, "env_kwargs": {"task": "stack"}}, "no task 'stack'; its tasks are lift, two-arm-peg"),
        ({"setup_mode": LEARNED, "image_keys": ("wrist",)}, "camera.s. wrist: the task lift has agentview, image"),
        ({"setup_mode": LEARNED, "env_kwargs": {"tasks": "lift"}}, "env_kwargs do not fit env 'robosuite'"),
    ],
)
def test_what_is_wrong_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        make_env("robosuite", **arguments)
