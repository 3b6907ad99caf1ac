"""Rewards that contradict the bound of the values are refused; those that fit it, whatever they look like, are not."""

import numpy as np
import pytest

from serl_ray.data.rewards import ReturnBound, ReturnCheck, RewardError, invisible_success, succeeded
from serl_ray.data.schema import Segment

BOUND = ReturnBound(max_return=1.0, discount=0.95)

FITTING = {
    "one reward of 1": ([0, 0, 0, 1], True),
    "no reward": ([0, 0, 0, 0], True),
    "minus 1 a step": ([-1] * 30 + [0], True),
    "a cost of each step": ([-0.05] * 30 + [1], True),
    "a potential that rises and falls": ([0.9, 0.9, -1.8, 0.9], True),
    "stages that add up to 1": ([0, 0.25, 0, 0.25, 0, 0.5], True),
    "a reward that may be taken back": ([2.0, -0.5], False),
    "float32": ([np.float32(1.0001)], True),
}
CONTRADICTING = {
    "10 at success": ([0, 0, 10], "a reward of 10 is above max_return, 1, .*--max_return 10 .*or --reward dense"),
    "10 at success, minus 1 a step": ([-1, -1, 10], "a reward of 10 is above .*--max_return 10 "),
    "ten steps of 1": (
        [1] * 10,
        "rewards of up to 1 add up to a return of 8.03, with the discount of 0.95: .*--max_return None",
    ),
    "dense rewards": ([0.1] * 30, "rewards of up to 0.1 add up to a return of 1.57, .*--reward dense"),
}


@pytest.mark.parametrize("name", FITTING)
def test_rewards_that_fit_the_bound_pass(name):
    rewards, is_over = FITTING[name]
    BOUND.check(np.array(rewards), is_over, "here")


@pytest.mark.parametrize("name", CONTRADICTING)
@pytest.mark.parametrize("is_over", [True, False])
def test_rewards_above_the_bound_name_value_bound_and_options(name, is_over):
    rewards, says = CONTRADICTING[name]
    if not is_over and min(rewards) < 0:
        return
    with pytest.raises(RewardError, match=f"^here: {says}") as caught:
        BOUND.check(np.array(rewards), is_over, "here")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", CONTRADICTING)
def test_what_the_message_says_is_a_way_out(name):
    rewards, _ = CONTRADICTING[name]
    ReturnBound(None, 0.95).check(np.array(rewards), True, "here")
    if "--max_return 10" in CONTRADICTING[name][1]:
        ReturnBound(10.0, 0.95).check(np.array(rewards), True, "here")


def test_the_bias_of_rewards_counts():
    bound = ReturnBound(0.0, 0.95, reward_bias=-1.0)
    bound.check(np.array([0.0, 0.0, 1.0]), True, "here")
    with pytest.raises(RewardError, match=r"a reward of 1 \(with the reward_bias of -1\) is above max_return, 0"):
        bound.check(np.array([0.0, 2.0]), True, "here")


def segment(rewards, first_step=0, episode="e", done=False):
    n = len(rewards)
    zeros, last = np.zeros(n), np.arange(n) == n - 1
    return Segment(
        observations={"state": np.zeros((n + 1, 1), np.float32)}, actions=np.zeros((n, 1)), rewards=np.array(rewards),
        masks=1 - last * done, dones=last * done, truncateds=zeros, grasp_penalty=zeros, intervened=zeros,
        episode=episode, first_step=first_step,
    )  # fmt: skip


def test_an_episode_is_checked_as_it_comes():
    check = ReturnCheck(BOUND)
    check.add(segment([0.0, 1.0], episode="other"))
    check.add(segment([0.0, 0.6]))
    with pytest.raises(RewardError, match="The env's rewards in steps 0 to 3 of an episode: rewards of up to 0.6"):
        check.add(segment([0.6, 0.0], first_step=2))


def test_an_episode_with_costs_is_checked_at_its_end():
    check = ReturnCheck(BOUND)
    check.add(segment([-0.1, 2.0]))
    with pytest.raises(RewardError, match="a reward of 2 is above"):
        check.add(segment([0.0], first_step=2, done=True))
    check.add(segment([0.0, 1.0], episode="next", done=True))


def test_success_is_a_sum_of_rewards_or_what_the_env_reports():
    assert succeeded(1.0, None, 0.5) and not succeeded(0.0, True, 0.5)
    assert succeeded(-200.0, True, None) and succeeded(9.0, False, None) is False
    assert succeeded(9.0, None, None) is None


def test_a_discount_that_hides_success_is_named_with_a_better_one():
    assert invisible_success(100, 0.95) is None and invisible_success(150, 0.97) is None
    says = invisible_success(300, 0.97)
    assert "after 300 steps is worth 0.0001 in the first step, with the discount of 0.97" in says
    assert "Choose --discount 0.998, which makes it 0.55, or fewer steps a second." in says
    assert "Choose fewer steps a second." in invisible_success(3000, 0.998)
    assert invisible_success(300, 0.991) is None
