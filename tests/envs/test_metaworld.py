import numpy as np
import pytest

pytest.importorskip("metaworld", reason="needs pip install 'serl-ray[metaworld]'")

from serl_ray.envs import check_env, make_env
from serl_ray.envs.expert import ScriptedExpert
from serl_ray.envs.metaworld import SAWYER_CENTRE, MetaWorldEnv
from serl_ray.types import ActionLayout

FIXED, LEARNED = "single-arm-fixed-gripper", "single-arm-learned-gripper"
CLOSE, HOLD, OPEN = (np.array([0, 0, 0, gripper], np.float32) for gripper in (-1, 0, 1))
HAND, MOTION, OPENING, COMMAND = slice(3), slice(3, 6), 6, 7  # in `state`


def play(env, act):
    """Plays on to the episode's end: (reward, terminated, number of steps)."""
    for step in range(1, 1000):
        _, reward, terminated, truncated, _ = env.step(act())
        if terminated or truncated:
            return reward, terminated, step
    raise AssertionError("the episode does not end")


@pytest.mark.parametrize("mode", [FIXED, LEARNED])
@pytest.mark.parametrize("task", ["assembly", "box-close", "coffee-push", "stick-pull"])
def test_the_expert_solves_most_episodes_within_the_horizon(task, mode):
    env = MetaWorldEnv(mode, task)
    expert = ScriptedExpert(env, ActionLayout.from_setup(mode, 4))
    outcomes = []
    for seed in range(6):
        env.reset(seed=seed)
        outcomes.append(play(env, expert.act))
    succeeded = [terminated for _, terminated, _ in outcomes]
    assert sum(succeeded) >= 4
    assert all(reward == float(terminated) for reward, terminated, _ in outcomes)
    assert all(steps == 100 for _, terminated, steps in outcomes if not terminated)


def test_an_action_is_executed_as_often_as_ibrl_does():
    env = MetaWorldEnv(FIXED)
    env.reset(seed=0)
    assert play(env, lambda: HOLD) == (0.0, False, 100)
    assert env._sawyer.curr_path_length == 200
    env.close()


def test_the_seed_alone_draws_the_goal():
    env, again = MetaWorldEnv(FIXED, "box-close"), MetaWorldEnv(FIXED, "box-close")
    np.random.seed(0)
    before = np.random.get_state()[1].copy()
    first, _ = env.reset(seed=5)
    np.testing.assert_array_equal(np.random.get_state()[1], before)
    second, _ = env.reset()
    again.reset(seed=1)
    repeated, _ = again.reset(seed=5)
    for key in first:
        np.testing.assert_array_equal(first[key], repeated[key])
    assert not np.array_equal(first["object_state"][-3:], second["object_state"][-3:])


def test_minus_one_closes_and_a_learned_gripper_keeps_its_command():
    env = MetaWorldEnv(LEARNED)
    env.reset(seed=0)
    openings, commands, penalties = [], [], []
    for action in (OPEN, CLOSE, *[HOLD] * 10, CLOSE, OPEN, *[HOLD] * 10):
        observation, *_, info = env.step(action)
        openings.append(observation["state"][OPENING])
        commands.append(observation["state"][COMMAND])
        penalties.append(info["grasp_penalty"])
    assert openings[11] < openings[0] - 0.5 and openings[-1] > openings[11] + 0.5
    assert commands == [1.0, *[-1.0] * 12, *[1.0] * 11]
    assert np.flatnonzero(penalties).tolist() == [0, 12] and min(penalties) == -0.02


def test_a_fixed_gripper_takes_the_force_as_it_is():
    env = MetaWorldEnv(FIXED)
    env.reset(seed=0)
    commands = [env.step(np.array([0, 0, 0, force], np.float32))[0]["state"][COMMAND] for force in (-0.25, 0.0, 0.75)]
    assert commands == [-0.25, 0.0, 0.75]
    assert "grasp_penalty" not in env.step(HOLD)[4]


def test_an_action_moves_the_hand_along_its_axis():
    env = MetaWorldEnv(FIXED)
    for axis in range(3):
        start = env.reset(seed=0)[0]["state"][HAND]
        action = np.float32(0.5) * np.eye(4, dtype=np.float32)[axis]
        for _ in range(6):
            observation, *_ = env.step(action)
        moved = observation["state"][HAND] - start
        assert np.argmax(np.abs(moved)) == axis and moved[axis] > 0.3
        assert np.argmax(np.abs(observation["state"][MOTION])) == axis


def test_observations_are_about_the_things_of_the_task():
    env = MetaWorldEnv(FIXED)
    observation, _ = env.reset(seed=3)
    hand = SAWYER_CENTRE + 0.1 * observation["state"][HAND]
    np.testing.assert_allclose(hand, env._sawyer.tcp_center, atol=0.05)
    ring = hand + 0.1 * observation["object_state"][:3]
    np.testing.assert_allclose(ring, env._sawyer._get_pos_objects(), atol=1e-5)
    goal = hand + 0.1 * observation["object_state"][-3:]
    np.testing.assert_allclose(goal, env._sawyer._target_pos, atol=1e-5)
    assert not observation["object_state"][7:14].any()  # assembly has one thing


@pytest.mark.parametrize("mode", [FIXED, LEARNED])
def test_the_contract_is_kept_with_cameras(mode):
    env = make_env("metaworld", setup_mode=mode, image_keys=("corner2", "wrist"), env_kwargs={"task": "coffee-push"})
    images, _ = env.reset(seed=0)
    assert images["corner2"].shape == images["wrist"].shape == (96, 96, 3)
    assert images["corner2"].std() > 20 and not np.array_equal(images["corner2"], images["wrist"])
    assert check_env(env, mode) == []
    env.close()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"setup_mode": "dual-arm-fixed-gripper"}, "not dual-arm-fixed-gripper"),
        ({"setup_mode": FIXED, "env_kwargs": {"task": "assemble"}}, "no task 'assemble'; its tasks are assembly"),
        ({"setup_mode": FIXED, "image_keys": ("corner",)}, "camera.s. corner: the env metaworld has corner2"),
        ({"setup_mode": FIXED, "env_kwargs": {"tasks": "assembly"}}, "env_kwargs do not fit env 'metaworld'"),
    ],
)
def test_what_is_wrong_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        make_env("metaworld", **arguments)
