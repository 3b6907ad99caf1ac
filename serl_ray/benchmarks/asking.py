"""Robots that ask a policy's server for actions, each in a process of its own, which loads no PyTorch."""

from __future__ import annotations

import multiprocessing
import time
from multiprocessing.synchronize import Barrier

import numpy as np
from serl_robot.remote_policy import RemotePolicy

WARM_UP_STEPS = 5
READY_SECONDS = 120.0

_ready: Barrier
"""Barrier of the robots of one measurement, in the process of each."""


def answer_times(url: str, robots: int, steps: int, hz: float, frame: dict[str, np.ndarray]) -> list[float]:
    """Seconds until each action of robots that ask at a rate, all at once.

    Args:
        url: address of the policy's server.
        robots: number of robots.
        steps: number of actions that are timed for each robot.
        hz: actions a second for which each robot asks.
        frame: observation that it sends.
    """
    context = multiprocessing.get_context("spawn")
    ready = context.Barrier(robots)
    with context.Pool(robots, _keep, [ready]) as pool:
        asked = pool.starmap(_ask, [(url, steps, hz, frame)] * robots, chunksize=1)
    return [seconds for times in asked for seconds in times]


def _keep(ready: Barrier) -> None:
    global _ready
    _ready = ready


def _ask(url: str, steps: int, hz: float, frame: dict[str, np.ndarray]) -> list[float]:
    policy = RemotePolicy(url, seconds=10.0)
    for _ in range(WARM_UP_STEPS):
        policy.act(frame)
    _ready.wait(READY_SECONDS)
    seconds, tick = [], time.perf_counter()
    for _ in range(steps):
        time.sleep(max(0.0, tick - time.perf_counter()))
        began = time.perf_counter()
        policy.act(frame)
        seconds.append(time.perf_counter() - began)
        tick = max(tick, began) + 1.0 / hz
    policy.close()
    return seconds
