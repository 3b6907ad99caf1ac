"""Checks of the methods that an env may have for operators: `hold`, `stop`, `twist_to_action` and `live_frames`."""

from __future__ import annotations

import inspect
import threading
import time
from collections.abc import Iterator
from typing import Any

import gymnasium
import numpy as np

from serl_ray.teleop.live import LIVE_SECONDS, checked_live
from serl_ray.teleop.twists import TWIST_DIM, Reference, Twist, TwistError, TwistMap
from serl_ray.teleop.views import shown_cameras
from serl_ray.types import ActionLayout

LONGEST_SECONDS = 5.0
"""Seconds that `live_frames` may take when it is checked."""
HALF_TWIST = np.linspace(-0.5, 0.5, TWIST_DIM, dtype=np.float32)
"""A twist of which every number has an effect."""


def uncallable_methods(env: gymnasium.Env) -> Iterator[str]:
    """The remarks on methods that are called while operators pause or stop the robot, and cannot be."""
    for name in ("hold", "stop"):
        method = getattr(env.unwrapped, name, None)
        if not callable(method):
            continue
        try:
            inspect.signature(method).bind()
        except TypeError:
            yield f"{name}() needs arguments, and is called without any while operators {name} the robot."


def twist_problems(env: gymnasium.Env, layout: ActionLayout, setup_mode: str) -> list[str]:
    """The problems of an env's `twist_to_action`, one of each kind; none without the method."""
    twist_map = TwistMap.from_env(env, layout, setup_mode)
    if not twist_map.converts:
        return []
    kinds = [(arm, reference) for arm in range(twist_map.arms) for reference in Reference]
    found = [text for arm, reference in kinds for text in _twist_faults(twist_map, arm, reference)]
    return list(dict.fromkeys(found))


def _twist_faults(twist_map: TwistMap, arm: int, reference: Reference) -> Iterator[str]:
    """The faults of the actions that an env makes of twists of an arm."""
    rest, moves, again = (
        Twist(numbers, arm, reference) for numbers in (np.zeros(TWIST_DIM, np.float32), HALF_TWIST, HALF_TWIST)
    )
    try:
        if (at_rest := twist_map.action(rest)).any():
            largest = np.abs(at_rest).max()
            yield f"twist_to_action makes {largest:.3g} of a twist of zeros: return zeros, so that nothing moves."
        if not np.array_equal(twist_map.action(moves), twist_map.action(again)):
            yield "twist_to_action makes two actions of one twist: let the twist and the robot's pose decide alone."
    except TwistError as error:
        yield f"{error}: return the numbers of one arm, without its gripper."


def live_problems(env: gymnasium.Env) -> Iterator[str]:
    """The problem of an env's `live_frames`, which is called from another thread, as a run does."""
    take = getattr(env.unwrapped, "live_frames", None)
    if not callable(take):
        return
    outcome: list[Any] = []

    def call() -> None:
        started = time.perf_counter()
        try:
            checked_live(take(), shown_cameras(env))
            outcome.append(time.perf_counter() - started)
        except Exception as error:  # the env's code; it is reported
            outcome.append(error)

    thread = threading.Thread(target=call, name="live frames", daemon=True)
    thread.start()
    thread.join(LONGEST_SECONDS)
    match outcome:
        case []:
            yield f"live_frames() has not returned after {LONGEST_SECONDS:g} s: return the newest images at once."
        case [ValueError() as error]:
            yield str(error)
        case [Exception() as error]:
            yield f"live_frames() fails in another thread than that of step(): {type(error).__name__}: {error}"
        case [float(seconds)] if seconds > LIVE_SECONDS:
            yield f"live_frames() takes {seconds:.2g} s: return the newest images at once; up to 15 a second are shown."
