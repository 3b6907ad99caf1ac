"""Rows of the tables of wrong inputs, and the good demonstrations that they are made from."""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pytest

from serl_ray.data.demos import find_files, read_file
from serl_ray.data.formats.lerobot.reader import AS_RECORDED, LeRobotOptions
from serl_ray.data.schema import Actors, Segment


class Case(NamedTuple):
    """A wrong input: what is done with it in a folder, and the error with a piece of its message (a regular
    expression)."""

    name: str
    do: Callable[[Path], Any]
    error: type[Exception]
    says: str


def table(cases: list[Case]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", cases, ids=[case.name for case in cases])


def assert_refused(case: Case, folder: Path) -> None:
    """The error is of this very type, and its message is one line that says what it should."""
    with pytest.raises(case.error) as caught:
        case.do(folder)
    assert type(caught.value) is case.error
    assert re.search(case.says, str(caught.value)), caught.value
    assert "\n" not in str(caught.value)


def read(path: Path | str, options: LeRobotOptions = AS_RECORDED) -> list[Segment]:
    """The demonstrations at a path, read here and now."""
    return [segment for file in find_files(str(path)) for segment in read_file(file, lerobot=options)]


def segment(n: int = 4, number: int = 0, **changes: Any) -> Segment:
    """An episode of n steps with a camera and a state, which succeeds."""
    rng = np.random.default_rng(number)
    last = np.arange(n) == n - 1
    good = {
        "observations": {
            "front": rng.integers(0, 256, (n + 1, 4, 6, 3), np.uint8),
            "state": rng.normal(size=(n + 1, 3)).astype(np.float32),
        },
        "actions": rng.uniform(-1, 1, (n, 2)),
        "rewards": last,
        "masks": ~last,
        "dones": last,
        "truncateds": last & False,
        "grasp_penalty": np.zeros(n),
        "intervened": np.zeros(n),
        "episode": number,
    }
    return Segment(**{**good, **changes})


def helped_segment() -> Segment:
    """An episode of four steps, in whose second and third one a person acts."""
    actors = Actors(np.zeros((4, 2)), np.array([0, 1, 1, 0]), np.array(["policy", "env", "env", "policy"]))
    return segment(intervened=np.array([0, 1, 1, 0]), actors=actors)


def transitions(n: int = 4) -> list[dict[str, Any]]:
    """The same as a pickle of HIL-SERL has it."""
    whole = segment(n)
    frames = [{key: rows[t] for key, rows in whole.observations.items()} for t in range(n + 1)]
    return [
        {
            "observations": frames[t],
            "actions": whole.actions[t],
            "next_observations": frames[t + 1],
            "rewards": float(whole.rewards[t]),
            "masks": float(whole.masks[t]),
            "dones": bool(whole.dones[t]),
        }
        for t in range(n)
    ]


def dump(path: Path, value: Any) -> Path:
    path.write_bytes(pickle.dumps(value))
    return path


def column(name: str, values: Any, kind: pa.DataType | None = None) -> Callable[[pa.Table], pa.Table]:
    """A change of a table: other values of a column, of this type."""
    return lambda data: data.set_column(data.schema.get_field_index(name), name, pa.array(values, kind))
