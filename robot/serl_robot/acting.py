"""Acts with an exported policy on a robot, at a rate of its own."""

from __future__ import annotations

import logging
import threading
import time
from concurrent.futures import Future, wait
from typing import Any, Callable, Mapping, NamedTuple

import numpy as np

from serl_robot.adapter import RobotEnv
from serl_robot.control import HOLD_PERIODS
from serl_robot.policy import ContractPolicy, PolicyError
from serl_robot.serving import HZ_LIMITS, logged
from serl_robot.signals import Terminated, terminable, unhurried

logger = logging.getLogger(__name__)


class Played(NamedTuple):
    """An episode that a policy has played.

    Attributes:
        steps: number of steps.
        reward: sum of the rewards.
        late: number of steps that began later than their tick.
    """

    steps: int
    reward: float
    late: int


def run(
    env: Any,
    policy: ContractPolicy,
    hz: float,
    episodes: int | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> list[Played]:
    """Plays episodes at a rate, and then stops the robot and closes the env.

    The first step of an episode begins at once, each other one a period after the last; one that comes too late begins
    at once, and shifts those that follow. While an action is not there two periods after a step, the robot is held.

    Args:
        env: env of gymnasium's API, as for `serve`, perhaps with `stop` and `hold`.
        policy: exported policy, or that of a server.
        hz: steps a second, which should be those of the training.
        episodes: number of episodes; None to play until Ctrl-C.
        clock: monotonic clock in seconds.

    Raises:
        PolicyError: the env is not the policy's, or one of its observations; nothing was moved by the former.
        EnvFault: the env has failed.
        UnservableEnv: the env's spaces cannot be those of a policy.
    """
    _check(hz, episodes)
    robot = RobotEnv(env)
    policy.check(robot.spaces, robot.action_dim)
    played: list[Played] = []
    with logged(), terminable():
        try:
            while episodes is None or len(played) < episodes:
                played.append(_play(robot, policy, 1.0 / hz, clock))
                steps, reward, late = played[-1]
                logger.info("Episode %d: %d steps, reward %g, %d late.", len(played), steps, reward, late)
        except Terminated:
            logger.warning("The process ends; the robot is stopped.")
        finally:
            _end(robot)
    return played


def _check(hz: float, episodes: int | None) -> None:
    if not HZ_LIMITS[0] <= hz <= HZ_LIMITS[1]:
        raise PolicyError(f"The rate is {hz} Hz; it must be from {HZ_LIMITS[0]:g} to {HZ_LIMITS[1]:g}.")
    if episodes is not None and episodes < 1:
        raise PolicyError(f"The number of episodes is {episodes}; it must be at least 1.")


def _play(robot: RobotEnv, policy: ContractPolicy, period: float, clock: Callable[[], float]) -> Played:
    policy.reset()
    outcome = robot.reset(None)
    steps, rewards, late, tick = 0, 0.0, 0, clock()
    while not (outcome.terminated or outcome.truncated):
        action = _decided(robot, policy, outcome.observation, HOLD_PERIODS * period)
        now = clock()
        late += bool(steps) and now > tick
        time.sleep(max(0.0, tick - now))
        tick = max(tick, now) + period
        outcome = robot.step(action)
        steps, rewards = steps + 1, rewards + outcome.reward
    return Played(steps, rewards, late)


def _decided(
    robot: RobotEnv, policy: ContractPolicy, observation: Mapping[str, np.ndarray], seconds: float
) -> np.ndarray:
    """The policy's action (n,); a robot that waits for it for longer than some seconds is held meanwhile."""
    decision: Future[np.ndarray] = Future()

    def decide() -> None:
        try:
            decision.set_result(policy.act(observation))
        except BaseException as error:
            decision.set_exception(error)

    threading.Thread(target=decide, name="policy", daemon=True).start()  # which Ctrl-C and the end do not wait for
    wait([decision], seconds)
    if not decision.done():
        robot.rest()
    return decision.result()


def _end(robot: RobotEnv) -> None:
    """Stops the robot, by `stop`, or by `hold`, or by an action of zeros; and closes the env."""
    with unhurried():
        try:
            if robot.stop is not None:
                robot.stop()
            else:
                robot.rest()
        except Exception as error:  # the owner's code, in whose place another exception may be on its way
            logger.error("The robot could not be stopped (%s: %s): stop it by hand.", type(error).__name__, error)
        robot.close()
