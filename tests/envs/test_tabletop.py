"""Tabletop: solvable, reproducible, honest about success, and safe to render."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import warnings

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from rollouts import layout_of, rollout_digest

from serl_ray.envs import rendering
from serl_ray.envs.expert import ScriptedExpert
from serl_ray.envs.tabletop import TabletopEnv
from serl_ray.types import SETUP_MODES, ActionLayout

FIXED = [mode for mode in SETUP_MODES if mode.endswith("fixed-gripper")]
LEARNED = [mode for mode in SETUP_MODES if mode.endswith("learned-gripper")]


def wrists_of(mode: str) -> tuple[str, ...]:
    return ("wrist",) if mode.startswith("single") else ("left_wrist", "right_wrist")


def run_python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, **environment}
    )


@pytest.mark.parametrize("noise", [0.0, 0.2])
@pytest.mark.parametrize("mode", SETUP_MODES)
def test_the_expert_solves_the_task(mode: str, noise: float) -> None:
    env = TabletopEnv(mode, max_steps=60)
    expert = ScriptedExpert(env, layout_of(env, mode), noise, seed=5)
    for seed in range(12):
        env.reset(seed=seed)
        rewards, terminated, truncated = [], False, False
        while not (terminated or truncated):
            _, reward, terminated, truncated, info = env.step(expert.act())
            rewards.append(reward)
            assert info["grasp_penalty"] == 0.0, "the expert never gives a useless command"
        assert terminated and info["success"] and not truncated, f"seed {seed} failed"
        assert rewards == [0.0] * (len(rewards) - 1) + [1.0]


@pytest.mark.parametrize("mode", SETUP_MODES)
def test_the_expert_recovers_from_wherever_a_random_policy_leaves_the_scene(mode: str) -> None:
    env = TabletopEnv(mode, max_steps=1000)
    layout, rng = layout_of(env, mode), np.random.default_rng(1)
    for seed in range(8):
        env.reset(seed=seed)
        drift = layout.random(rng, 1)[0]
        terminated = False
        for random_action in layout.random(rng, 25):  # towards the object with a wrong gripper, then astray
            mixed = 0.5 * env.expert_action() + 0.5 * drift + 0.3 * random_action
            mixed[list(layout.gripper_indices)] = random_action[list(layout.gripper_indices)]
            terminated = terminated or env.step(mixed)[2]
        steps = 0
        while not terminated:
            assert steps < 40, f"seed {seed}: not solved {steps} steps after the hand-over"
            terminated = env.step(env.expert_action())[2]
            steps += 1


@pytest.mark.parametrize("mode", SETUP_MODES)
def test_random_actions_hardly_ever_succeed(mode: str) -> None:
    env = TabletopEnv(mode)
    rng, layout = np.random.default_rng(2), layout_of(env, mode)
    num_successes = 0
    for seed in range(15):
        env.reset(seed=seed)
        num_successes += any(env.step(action)[2] for action in layout.random(rng, 60))
    assert num_successes <= 2


def test_a_seed_fixes_every_bit_also_in_another_process(python_path: str) -> None:
    here = [rollout_digest(mode) for mode in SETUP_MODES]
    assert [rollout_digest(mode) for mode in SETUP_MODES] == here
    assert len(set(here)) == len(here)
    code = "from rollouts import *; from serl_ray.types import SETUP_MODES; print(*map(rollout_digest, SETUP_MODES))"
    there = run_python(code, PYTHONPATH=python_path)
    assert there.stdout.split() == here, there.stderr


@pytest.mark.parametrize("mode", SETUP_MODES)
def test_every_reset_draws_another_scene(mode: str) -> None:
    env = TabletopEnv(mode)
    env.reset(seed=0)
    scenes = np.stack([env.reset()[0]["object_state"] for _ in range(20)])
    assert (scenes.std(0)[:2] > 0.1).all(), "the object must move by millimetres to centimetres against the hand"


@pytest.mark.parametrize("mode", SETUP_MODES)
def test_spaces_contain_what_is_observed_and_gymnasium_agrees(mode: str) -> None:
    env = TabletopEnv(mode, max_steps=20)
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", message=".*A Box observation space m.*infinity"
        )  # lengths have no natural bound
        check_env(env, skip_render_check=True)
    layout, rng = layout_of(env, mode), np.random.default_rng(0)
    observation, _ = env.reset(seed=0)
    for action in layout.random(rng, 200):
        assert env.observation_space.contains(observation)
        assert max(np.abs(observation[key]).max() for key in ("state", "object_state")) < 20, (
            "observations are of order ten"
        )
        observation, _, terminated, truncated, _ = env.step(action)
        if terminated or truncated:
            observation, _ = env.reset()


@pytest.mark.parametrize("mode", SETUP_MODES)
def test_a_time_out_truncates_and_does_not_terminate(mode: str) -> None:
    env = TabletopEnv(mode, max_steps=7)
    env.reset(seed=0)
    ends = [env.step(np.zeros(env.action_space.shape[0]))[1:4] for _ in range(7)]
    assert ends == [(0.0, False, False)] * 6 + [(0.0, False, True)]


@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize("mode", SETUP_MODES)
def test_a_full_scale_action_moves_the_hand_by_two_centimetres(mode: str, axis: int) -> None:
    env = TabletopEnv(mode)
    per_arm = 7 if mode in LEARNED else 6
    before, _ = env.reset(seed=1)
    action = np.zeros(env.action_space.shape[0])
    action[axis] = 1.0
    after = env.step(action)[0]
    moved = (after["state"] - before["state"])[:3] * 0.05  # metres
    np.testing.assert_allclose(moved, 0.02 * np.eye(3)[axis], atol=0.001)
    if mode.startswith("dual"):
        other_hand = slice(per_arm + 1 if mode in LEARNED else 6, None)
        np.testing.assert_allclose(after["state"][other_hand][:3], before["state"][other_hand][:3], atol=0.01)


@pytest.mark.parametrize("mode", SETUP_MODES)
def test_commanded_poses_are_clipped(mode: str) -> None:
    env = TabletopEnv(mode, max_steps=1000)
    env.reset(seed=0)
    for sign in (1.0, -1.0):
        action = np.full(env.action_space.shape[0], sign)
        action[list(layout_of(env, mode).gripper_indices)] = 0.0
        for _ in range(40):
            observation, *_ = env.step(action)
        assert np.abs(observation["state"][:3]).max() < 0.2 / 0.05
        assert np.abs(observation["state"][3:6]).max() < 1.3


@pytest.mark.parametrize("mode", LEARNED)
def test_a_useless_gripper_command_costs(mode: str) -> None:
    env = TabletopEnv(mode)
    env.reset(seed=0)
    grippers = list(layout_of(env, mode).gripper_indices)

    def penalty(*values: float) -> float:
        action = np.zeros(env.action_space.shape[0])
        action[grippers] = values
        return env.step(action)[4]["grasp_penalty"]

    everywhere = len(grippers)
    assert penalty(*[1.0] * everywhere) == pytest.approx(-0.02 * everywhere), "open when open"
    assert penalty(*[-0.5] * everywhere) == 0.0
    assert penalty(*[-1.0] * everywhere) == pytest.approx(-0.02 * everywhere), "close when closed"
    assert penalty(*[0.49] * everywhere) == 0.0, "hold"
    assert penalty(*[-1.0] + [0.0] * (everywhere - 1)) == pytest.approx(-0.02), "the hold left every gripper closed"
    assert penalty(*[0.5] * everywhere) == 0.0


@pytest.mark.parametrize("mode", LEARNED)
def test_the_gripper_keeps_its_command(mode: str) -> None:
    env = TabletopEnv(mode)
    env.reset(seed=0)
    action = np.zeros(env.action_space.shape[0])
    opened, *_ = env.step(action)
    action[6] = -1.0
    env.step(action)
    held, *_ = env.step(np.zeros_like(action))
    assert opened["state"][6] > 0.95 and opened["state"][7] == 1.0
    assert held["state"][6] < -0.9 and held["state"][7] == -1.0


@pytest.mark.parametrize("mode", FIXED)
def test_a_fixed_gripper_never_costs(mode: str) -> None:
    env = TabletopEnv(mode)
    env.reset(seed=0)
    for action in layout_of(env, mode).random(np.random.default_rng(0), 20):
        assert env.step(action)[4]["grasp_penalty"] == 0.0


@pytest.mark.parametrize("mode", SETUP_MODES)
def test_cameras_give_distinct_images_that_show_what_moves(mode: str) -> None:
    cameras = ("front", "image", *wrists_of(mode))
    env = TabletopEnv(mode, cameras, image_size=64)
    first, _ = env.reset(seed=0)
    assert set(first) == {"state", "object_state", *cameras}
    second, _ = env.reset(seed=1)
    for camera in cameras:
        assert env.observation_space.contains(first)
        assert first[camera].shape == (64, 64, 3) and first[camera].dtype == np.uint8
        assert (first[camera] != second[camera]).any(-1).mean() > 0.01, (
            f"{camera} sees no difference between two scenes"
        )
    np.testing.assert_array_equal(first["front"], first["image"])
    assert (first["front"] != first[wrists_of(mode)[0]]).any()
    again, _ = env.reset(seed=0)
    np.testing.assert_array_equal(again["front"], first["front"])
    assert env.render().shape == (256, 256, 3)
    env.close()


def test_wrong_arguments_name_the_valid_ones() -> None:
    with pytest.raises(ValueError, match=r"'left_wrist'.*front, image, wrist\."):
        TabletopEnv("single-arm-fixed-gripper", ("front", "left_wrist"))
    with pytest.raises(ValueError, match="front, image, left_wrist, right_wrist"):
        TabletopEnv("dual-arm-learned-gripper", ("wrist",))
    with pytest.raises(ValueError, match="single-arm-learned-gripper"):
        TabletopEnv("triple-arm")
    env = TabletopEnv("single-arm-fixed-gripper")
    env.reset(seed=0)
    for wrong in (np.zeros(7), np.full(6, np.nan)):
        with pytest.raises(ValueError, match="6 finite numbers"):
            env.step(wrong)


def test_the_expert_adds_noise_to_continuous_numbers_only() -> None:
    mode = "dual-arm-learned-gripper"
    env = TabletopEnv(mode)
    env.reset(seed=0)
    layout = layout_of(env, mode)
    noisy = np.stack([ScriptedExpert(gymnasium.Wrapper(env), layout, 0.1, seed).act() for seed in range(200)])
    grippers, clean = list(layout.gripper_indices), env.expert_action()
    assert (noisy[:, grippers] == clean[grippers]).all() and np.abs(noisy).max() <= 1.0
    inner = np.abs(clean) < 0.5
    inner[grippers] = False
    np.testing.assert_allclose(noisy[:, inner].std(0), 0.1, rtol=0.35)
    with pytest.raises(ValueError, match="expert_action"):
        ScriptedExpert(gymnasium.make("Pendulum-v1"), ActionLayout((0,)))


def test_triton_may_be_imported_after_rendering() -> None:
    code = """
import mujoco
from serl_ray.envs.tabletop import TabletopEnv
env = TabletopEnv("single-arm-fixed-gripper", ("front",), image_size=32)
assert env.reset(seed=0)[0]["front"].std() > 0
import torch, torch._dynamo
assert torch.ones(3).sum() == 3
"""
    if importlib.util.find_spec("triton"):
        code += "import triton\n"
    result = run_python(code)
    assert (result.returncode, result.stderr) == (0, "")


def test_without_cameras_no_opengl_is_needed() -> None:
    code = """
from serl_ray.envs.tabletop import TabletopEnv
env = TabletopEnv("single-arm-fixed-gripper")
env.reset(seed=0)
env.step(env.expert_action())
"""
    assert run_python(code, MUJOCO_GL="disabled").returncode == 0


def test_missing_opengl_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    monkeypatch.setattr(rendering.platform, "system", lambda: "Linux")
    monkeypatch.setattr(rendering, "_loads", lambda library: "OSMesa" in library)
    assert rendering.choose_backend() == "osmesa"
    monkeypatch.setattr(rendering, "_loads", lambda library: False)
    with pytest.raises(RuntimeError, match="libegl1 libgl1-mesa-dri.*libosmesa6"):
        rendering.choose_backend()
    monkeypatch.setenv("MUJOCO_GL", "glfw")
    assert rendering.choose_backend() == "glfw"
    monkeypatch.setenv("MUJOCO_GL", "off")
    with pytest.raises(RuntimeError, match="MUJOCO_GL=off"):
        rendering.choose_backend()
