"""A policy of demonstrations that were rescaled acts in an env in the robot's own units."""

import numpy as np
import pytest
from fake_envs import FakeEnv
from gymnasium.spaces import Box

from serl_ray.envs.border import Border
from serl_ray.envs.expert import ScriptedExpert
from serl_ray.envs.robot_units import in_policy_units
from serl_ray.types import ActionLayout, ActionScale

SCALE = ActionScale((0.05, 0.2, 1.0), (0.0, 0.0, 1.0), (2,))
LOW, HIGH = np.float32([-0.05, -0.2, 0]), np.float32([0.05, 0.2, 2])


def env_of(low, high, outcome=lambda result: result):
    env = FakeEnv(3, outcome=outcome)
    env.action_space = Box(np.float32(low), np.float32(high))
    return env


def test_actions_are_turned_back_and_a_persons_are_mapped():
    def outcome(result):
        return (*result[:4], {**result[4], "intervene_action": np.float32([0.025, -0.2, 2])})

    robot = env_of(LOW, HIGH, outcome)
    env = Border(in_policy_units(robot, SCALE))
    assert env.action_space == Box(-1.0, 1.0, (3,), np.float32)
    env.reset(seed=0)
    action = np.float32([1, -0.5, -1])
    *_, info = env.step(action)
    np.testing.assert_allclose(robot.executed[0], [0.05, -0.1, 0])
    np.testing.assert_allclose(info["intervene_action"], [0.5, -1, 1])
    assert action.tolist() == [1, -0.5, -1]


def test_other_projects_names_of_a_persons_action_are_mapped_as_well():
    def outcome(result):
        return (*result[:4], {**result[4], "is_intervention": True, "teleop_action": np.float32([0.05, 0, 1])})

    env = Border(in_policy_units(env_of(LOW, HIGH, outcome), SCALE))
    env.reset(seed=0)
    np.testing.assert_allclose(env.step(np.zeros(3, np.float32))[4]["intervene_action"], [1, 0, 0])


def test_what_is_no_result_reaches_the_border():
    env = in_policy_units(env_of(LOW, HIGH, lambda result: None), SCALE)
    env.reset(seed=0)
    assert env.step(np.zeros(3, np.float32)) is None


def test_a_scripted_expert_acts_in_the_policys_units():
    env = in_policy_units(env_of(LOW, HIGH), SCALE)
    env.unwrapped.expert_action = lambda: np.float32([0.01, 0.2, 0])
    expert = ScriptedExpert(env, ActionLayout.from_setup("single-arm-learned-gripper", 3))
    np.testing.assert_allclose(expert.act(), [0.2, 1, -1], rtol=1e-6)


def test_an_env_of_minus_1_to_1_gets_what_it_expects():
    env = env_of([-1] * 3, [1] * 3)
    assert in_policy_units(env, SCALE) is env
    assert in_policy_units(env_of(LOW, HIGH), None).action_space == Box(LOW, HIGH)


@pytest.mark.parametrize(
    ("low", "high", "says"),
    [
        (
            [-0.05, -0.3, 0],
            [0.05, 0.3, 2],
            r"from -0\.3 to 0\.3 in dimension 1, and the .* from -0\.2 to 0\.2",
        ),
        (
            [-0.05, -0.2, -1],
            [0.05, 0.2, 1],
            r"from -1 to 1 in dimension 2, and the demonstrations' actions from 0 to 2",
        ),
        ([-np.inf] * 3, [np.inf] * 3, r"from -inf to inf in dimension 0, 1, 2, .* multiply by them inside the env"),
        ([-1] * 4, [2] * 4, r"The env takes actions of shape \(4,\), the demonstrations have 3 numbers"),
    ],
)
def test_any_other_limits_are_one_clear_message(low, high, says):
    with pytest.raises(ValueError, match=says):
        in_policy_units(env_of(low, high), SCALE)
