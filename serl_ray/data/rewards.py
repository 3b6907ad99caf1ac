"""Rewards: returns, success, and the bound of the values that rewards must not contradict."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from serl_ray.data.schema import Segment

SUCCESS_RETURN = 0.5
"""Sum of rewards, where these are 0 or 1, from which an episode counts as a success."""
SUCCESS_RULE = (
    f"An episode counts as a success if its rewards add up to {SUCCESS_RETURN:g} or more (--success_return); None "
    "leaves that to the env's info['success'], and --reward dense is for rewards at every step."
)
"""The rule for rewards that are 0 or 1, said where they are not."""
TOLERANCE = 1e-3
"""Share of the bound by which a return may exceed it, for errors of float arithmetic."""
MAX_RUNNING = 1000
"""Episodes that are remembered until their end: more than there are envs."""
INVISIBLE = 0.005
"""Discounted value of a success below which critics cannot tell it from nothing."""
FIRST_STEP_VALUE = 0.6
"""Discounted value, in the first step of an episode, of a success at its end, for which a discount is chosen."""
LEAST_DISCOUNT, GREATEST_DISCOUNT = 0.9, 0.998
"""Limits of a discount that is chosen."""
USUAL_DISCOUNT = 0.97
"""The discount, the original's, where nothing says how many steps a success takes."""


class RewardError(ValueError):
    """Rewards whose returns exceed `max_return`: one line with the reward, the bound and the options to choose from."""


def discounted_returns(rewards: np.ndarray, discount: float) -> np.ndarray:
    """Discounted returns (n,) from each step on, including its own reward."""
    returns = np.zeros(len(rewards))
    future = 0.0
    for step in reversed(range(len(rewards))):
        returns[step] = future = rewards[step] + discount * future
    return returns


def stage_reward(reached: int, stages: int) -> float:
    """The reward for reaching a stage of a task.

    Those of all stages add up to 1, and those of all but the last one to less than `SUCCESS_RETURN`.

    Args:
        reached: number of stages that are reached with it, from 1.
        stages: number of stages of the task.
    """
    return 1 / (2 * stages) if reached < stages else (stages + 1) / (2 * stages)


def foreign_reward(rewards: np.ndarray, stages: int) -> float | None:
    """The first of the rewards (n,) that a task of so many stages does not pay; None where it pays them all.

    It pays for a stage, and for a success that an operator sees what is left of 1.
    """
    known = [0.0, stage_reward(1, stages), *(1.0 - reached / (2 * stages) for reached in range(stages))]
    is_known = np.isclose(np.asarray(rewards)[:, None], known, atol=TOLERANCE).any(axis=1)
    return None if is_known.all() else float(rewards[~is_known][0])


def discount_for(steps: float) -> float:
    """The discount, to three decimals, with which a success after so many steps is worth `FIRST_STEP_VALUE` in the
    first of them."""
    exact: float = FIRST_STEP_VALUE ** (1 / steps)
    return round(min(max(exact, LEAST_DISCOUNT), GREATEST_DISCOUNT), 3)


def invisible_success(steps: float, discount: float) -> str | None:
    """A sentence if a success that is so many steps away is discounted to nothing; else None."""
    value = discount**steps
    if value >= INVISIBLE:
        return None
    better = discount_for(steps)
    choice = f"--discount {better:g}, which makes it {better**steps:.2g}, or " if better > discount else ""
    return (
        f"A success after {steps:.0f} steps is worth {value:.1g} in the first step, with the discount of {discount:g}: "
        f"the critics cannot see it. Choose {choice}fewer steps a second."
    )


def succeeded(total_reward: float, reported: bool | None, success_return: float | None) -> bool | None:
    """True for an episode that was a success; None where nobody knows.

    Args:
        total_reward: sum of its rewards.
        reported: `info["success"]` of its last step; None where the env does not report it.
        success_return: sum of rewards from which an episode is a success; None if `reported` decides.
    """
    return reported if success_return is None else total_reward >= success_return


def unusual_reward(rewards: np.ndarray, success_return: float | None) -> str | None:
    """A sentence if rewards (n,) are not 0 or 1 while the default rule, which is for such rewards, decides on
    success."""
    others = rewards[~np.isin(rewards, (0.0, 1.0))]
    if success_return != SUCCESS_RETURN or not others.size:
        return None
    return f"The env has given a reward of {others[0]:g}. {SUCCESS_RULE}"


@dataclass(frozen=True)
class ReturnBound:
    """The upper bound of the critics' targets, which clamps them; see `agents.losses.td_target`.

    A return above the bound proves it wrong: the values of the states before would be clamped below what was earned.
    Rewards below 0 prove nothing, and make what is still to come of an episode unknown.

    Attributes:
        max_return: the bound; None for none.
        discount: discount factor per step.
        reward_bias: constant that the learner adds to every reward.
    """

    max_return: float | None
    discount: float
    reward_bias: float = 0.0

    def check(self, rewards: np.ndarray, is_over: bool, where: str) -> None:
        """Compares the discounted returns from every step on with the bound.

        Args:
            rewards: consecutive rewards (n,) of an episode.
            is_over: whether the episode ends with them; if it goes on, rewards below 0 leave its returns open.
            where: the origin of the rewards, for the error.

        Raises:
            RewardError: a return exceeds the bound.
        """
        earned = np.asarray(rewards, np.float64) + self.reward_bias
        if self.max_return is None or not (is_over or earned.min() >= 0.0):
            return
        greatest = float(discounted_returns(earned, self.discount).max())
        if greatest > self.max_return + TOLERANCE * max(abs(self.max_return), 1.0):
            raise RewardError(f"{where}: {self._contradiction(float(earned.max()), greatest)}")

    def _contradiction(self, reward: float, greatest: float) -> str:
        bound = f"max_return, {self.max_return:g}, which bounds the critics' targets"
        bias = f" (with the reward_bias of {self.reward_bias:g})" if self.reward_bias else ""
        if self.max_return is not None and reward > self.max_return:
            return (
                f"a reward of {reward:g}{bias} is above {bound}. Choose --max_return {greatest:.6g} if no return is "
                "greater, or --reward dense if there are rewards at every step."
            )
        return (
            f"rewards of up to {reward:g}{bias} add up to a return of {greatest:.3g}, with the discount of "
            f"{self.discount:g}: this is above {bound}. Choose --max_return None, or --reward dense if there are "
            "rewards at every step; or end the episode with its first reward of 1."
        )


DEFAULT_BOUND = ReturnBound(max_return=1.0, discount=USUAL_DISCOUNT)
"""The bound by default: one reward of 1 ends the episode."""


class ReturnCheck:
    """Check of the rewards of episodes that arrive in segments."""

    def __init__(self, bound: ReturnBound) -> None:
        self._bound = bound
        self._running: dict[str | int, np.ndarray] = {}

    def add(self, segment: Segment) -> None:
        """Raises RewardError where the episode so far contradicts the bound."""
        if self._bound.max_return is None:
            return
        rewards = np.append(self._running.pop(segment.episode, segment.rewards[:0]), segment.rewards)
        is_over = bool(segment.dones[-1])
        if not is_over:
            self._running[segment.episode] = rewards
            if len(self._running) > MAX_RUNNING:  # the oldest was dropped, as after a fault of its env
                del self._running[next(iter(self._running))]
        if is_over or segment.rewards.any():
            first = segment.first_step + len(segment) - len(rewards)
            where = f"The env's rewards in steps {first} to {first + len(rewards) - 1} of an episode"
            self._bound.check(rewards, is_over, where)
