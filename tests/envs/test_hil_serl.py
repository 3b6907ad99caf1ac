"""Envs of the original HIL-SERL: a wrapper brings them under the contract; without it, their oddities are named."""

import re

import gymnasium
import numpy as np
import pytest
from hil_serl_envs import HORIZON, Chunking, ObsWrapper, PointFranka, Spacemouse, TrainConfig

from serl_ray.data.episodes import EnvFault
from serl_ray.envs import check_env, inspect_env, make_env
from serl_ray.envs.border import Border
from serl_ray.envs.hil_serl import HilSerlEnv

MODE = "single-arm-learned-gripper"
SHAPES = {"state": (19,), **dict.fromkeys(("side_policy", "wrist_1", "side_classifier"), (128, 128, 3))}


def played(env):
    """The steps of an episode."""
    env.reset(seed=0)
    steps = []
    while not steps or not (steps[-1][2] or steps[-1][3]):
        steps.append(env.step(np.full(7, 1, np.float32)))
    return steps


@pytest.mark.parametrize("stack", [PointFranka, lambda: ObsWrapper(PointFranka()), TrainConfig().get_environment])
def test_observations_are_flat_and_without_the_axis_of_chunks(stack):
    env, inner = HilSerlEnv(stack()), ObsWrapper(PointFranka())
    observation, _ = env.reset(seed=0)
    assert {key: value.shape for key, value in observation.items()} == SHAPES
    assert env.observation_space.contains(observation)
    expected, _ = inner.reset(seed=0)
    for key, value in expected.items():
        np.testing.assert_array_equal(observation[key], value, err_msg=f"{key} has the original's order and numbers")
    assert observation["state"].dtype == np.float32


def test_the_whole_stack_keeps_the_contract():
    assert check_env(HilSerlEnv(TrainConfig().get_environment(classifier=True)), MODE, steps=60) == []


def test_done_is_success_or_the_end_of_the_time():
    env = HilSerlEnv(TrainConfig().get_environment(classifier=True))
    last = played(env)[-1]
    assert last[1:4] == (1.0, True, False) and last[4]["succeed"] is True
    steps = played(HilSerlEnv(Chunking(ObsWrapper(PointFranka()))))
    assert len(steps) == HORIZON and steps[-1][1:4] == (0.0, False, True)


def test_the_action_of_a_person_is_the_executed_one():
    env = HilSerlEnv(TrainConfig().get_environment())
    executed = played(env)[0][4]["intervene_action"]
    assert executed.dtype == np.float32 and set(np.abs(executed[:3])) == {1.0} and executed[6] == np.float32(-0.95)


def test_more_than_one_step_of_chunks_is_refused():
    with pytest.raises(ValueError, match=r"has shape \(2, .*obs_horizon=1.*--frame_stack 2"):
        HilSerlEnv(Chunking(ObsWrapper(PointFranka()), obs_horizon=2))
    with pytest.raises(ValueError, match="observation space is Box"):
        HilSerlEnv(gymnasium.wrappers.FlattenObservation(PointFranka()))


ODD = {
    "nested": (PointFranka, r"is a dict of .*tcp_vel: flatten it"),
    "chunks": (lambda: Chunking(ObsWrapper(PointFranka())), r"`state` has shape \(1, 19\).*HilSerlEnv"),
}


@pytest.mark.parametrize("name", ODD)
def test_without_the_wrapper_a_check_and_a_run_say_what_to_do(name):
    make, says = ODD[name]
    assert any(re.search(says, problem) for problem in inspect_env(make(), MODE, 5).problems)
    with pytest.raises(EnvFault, match=says):
        Border(make()).reset(seed=0)


def test_an_action_beyond_full_scale_is_named_with_the_way_out():
    border = Border(ObsWrapper(Spacemouse(PointFranka())))
    border.reset(seed=0)
    with pytest.raises(EnvFault, match=r"intervene_action.*in \[-1, 1\] \(clipped if the env clips it\)"):
        border.step(np.zeros(7, np.float32))


def test_a_config_is_no_env():
    with pytest.raises(ValueError, match="gives a TrainConfig, which is no gymnasium.Env: .* or a function"):
        make_env("hil_serl_envs:TrainConfig", setup_mode=MODE)
