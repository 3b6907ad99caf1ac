"""Demonstrations as the original records them, and what can be wrong with them."""

from __future__ import annotations

import collections
import pickle

import numpy as np
from stamped import stamped_segment

from serl_ray.data.schema import ArraySpec

IMAGE = ArraySpec((4, 4, 3), np.uint8)


STATE = ArraySpec((3,), np.float32)


def recorded():
    return [
        stamped_segment(1, 0, 5, done=True),
        stamped_segment(2, 0, 1),
        stamped_segment(3, 0, 9, done=True, truncated=True),
    ]


def transitions(n: int = 6, seed: int = 0) -> list[dict]:
    """One episode as the original records it: a time axis on the observations, no time-outs, penalties in the infos."""
    rng = np.random.default_rng(seed)
    frames = [
        {"wrist": rng.integers(0, 256, (1, 4, 4, 3), dtype=np.uint8), "state": rng.normal(size=(1, 3))}
        for _ in range(n + 1)
    ]
    return [
        {
            "observations": frames[t],
            "actions": rng.uniform(-1, 1, 7),
            "next_observations": frames[t + 1],
            "rewards": float(t == n - 1),
            "masks": 1.0 - (t == n - 1),
            "dones": t == n - 1,
            "infos": {"grasp_penalty": -0.02 * (t % 2)},
        }
        for t in range(n)
    ]


def dump(path, value) -> str:
    path.write_bytes(pickle.dumps(value))
    return str(path)


def changed(index: int, key: str, value) -> list[dict]:
    """A good recording with one thing wrong; `key` may name an observation as `observations/wrist`."""
    listed = transitions(4)
    target = listed[index] = dict(listed[index])
    *outer, last = key.split("/")
    for name in outer:
        target[name] = dict(target[name])
        target = target[name]
    if value is None:
        del target[last]
    else:
        target[last] = value
    return listed


BAD = {
    "a dict, not a list": ({"observations": []}, "expected a list of transitions, found a dict"),
    "an empty list": ([], "found an empty list"),
    "a transition that is a list": ([[1, 2]], "transition 0: transition: expected a dict, found a list"),
    "no rewards": (
        changed(2, "rewards", None),
        "transition 2: rewards: expected a value, found only observations, actions",
    ),
    "no next observations": (
        changed(1, "next_observations", None),
        "transition 1: next_observations: expected a value",
    ),
    "observations as an array": (
        changed(1, "observations", np.zeros(3)),
        "transition 1: observations: expected a dict of arrays, found a ndarray",
    ),
    "nested images": (
        changed(0, "observations/images", {"wrist": np.zeros((4, 4, 3), np.uint8)}),
        r"write observations\['wrist'\] instead of observations\['images'\]\['wrist'\]",
    ),
    "a camera missing": (
        changed(3, "observations/wrist", None),
        r"transition 3: observations\['wrist'\]: expected uint8 .*found only state",
    ),
    "a camera missing after the step": (
        changed(3, "next_observations/wrist", None),
        r"transition 3: next_observations\['wrist'\]",
    ),
    "channels first": (
        changed(1, "observations/wrist", np.zeros((3, 4, 4), np.uint8)),
        r"expected uint8 of shape \(4, 4, 3\), found uint8 of shape \(3, 4, 4\)",
    ),
    "a float image": (
        changed(1, "observations/wrist", np.zeros((4, 4, 3), np.float32)),
        "expected uint8 .*, found float32",
    ),
    "stacked frames": (
        changed(1, "observations/wrist", np.zeros((3, 4, 4, 3), np.uint8)),
        "expected one array .*, found 3 stacked",
    ),
    "a short state": (
        changed(2, "observations/state", np.zeros((1, 2))),
        r"transition 2: .*expected float32 of shape \(3,\), found float64 of shape \(1, 2\)",
    ),
    "an integer state": (changed(2, "observations/state", np.zeros(3, np.int64)), "expected float32 .*, found int64"),
    "NaN in the state": (
        changed(2, "observations/state", np.full(3, np.nan)),
        r"transition 2: observations\['state'\]: expected finite numbers",
    ),
    "NaN in an action": (
        changed(2, "actions", np.full(7, np.nan)),
        r"transition 2: actions\[0\]: expected a number in \[-1, 1\], found nan",
    ),
    "an action outside": (
        changed(2, "actions", np.eye(7)[5] * -1.5),
        r"transition 2: actions\[5\]: expected a number in \[-1, 1\], found -1.5",
    ),
    "actions of another length": (
        changed(2, "actions", np.zeros(6)),
        r"transition 2: actions: expected as many numbers as in transition 0, 7, found float64 of shape \(6,\)",
    ),
    "an action with a time axis": (
        changed(0, "actions", np.zeros((1, 7))),
        "transition 0: actions: expected a vector of numbers",
    ),
    "an infinite reward": (
        changed(2, "rewards", np.inf),
        "transition 2: rewards: expected one finite number, found inf",
    ),
    "a reward for each arm": (changed(2, "rewards", np.zeros(2)), "transition 2: rewards: expected one finite number"),
    "a reward in words": (
        changed(2, "rewards", "good"),
        "transition 2: rewards: expected one finite number, found 'good'",
    ),
    "a penalty that is no number": (
        changed(1, "infos/grasp_penalty", "yes"),
        "transition 1: grasp_penalty: expected one finite number, found 'yes'",
    ),
    "a function": ([collections.deque([1])], "asks for collections.deque, which is not plain data"),
}
