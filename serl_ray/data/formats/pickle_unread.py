"""Parts of pickled transitions that are not read, gathered over a file to be named once."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np

from serl_ray.data.errors import listed, warn_once
from serl_ray.data.formats.pickle_fields import ENDS, FROM_INFO, SUCCESSES, array_of, info_of, is_given
from serl_ray.data.schema import ACTION_TOLERANCE, EXECUTED
from serl_ray.files.uris import parents

READ_FIELDS = {"observations", "next_observations", "actions", "rewards", "masks", "grasp_penalty", "intervened", *ENDS}
READ_OF_INFO = {EXECUTED, *SUCCESSES, *FROM_INFO}
TELLING = re.compile(r"interven|teleop|succe|fail|terminat|truncat|time_?out|time_?limit|done|reward|penalty")
"""Names in an info that may say what a field of the transition says; all others are the env's own affair."""
OTHERS = "Only the first such file of a folder is named."
TWICE = {EXECUTED: "actions", "grasp_penalty": "grasp_penalty"}
"""Names in an info with the field that has the same value."""


class Unread:
    """Fields of a file's transitions that are not read, and values of their infos that differ from what is read."""

    def __init__(self) -> None:
        self._names: dict[str, None] = {}
        self._of_info: set[Any] = set()
        self._twice: Counter[str] = Counter()
        self._differ: Counter[str] = Counter()

    def add(self, transition: dict[Any, Any]) -> None:
        """Adds a transition that has all required fields."""
        info, holder = info_of(transition), "infos" if "infos" in transition else "info"
        for name, value in transition.items():
            if name not in READ_FIELDS and not (name == holder and (value is None or isinstance(value, dict))):
                self._names[str(name)] = None
        for name in info:
            if name not in self._of_info:
                self._of_info.add(name)
                if name not in READ_OF_INFO and TELLING.search(str(name).lower()):
                    self._names[f"{holder}[{name!r}]"] = None
        for name, field in TWICE.items():
            if field in transition and is_given(info.get(name)):
                self._twice[name] += 1
                self._differ[name] += not _is_same(info[name], transition[field])

    def names(self) -> str | None:
        """A sentence with the names of the fields, if there are any."""
        return f"fields that are not used: {listed(self._names)}." if self._names else None

    def contradictions(self) -> Iterator[tuple[str, str]]:
        """Names in infos whose values differ from what is read, each with a sentence."""
        for name, number in self._differ.items():
            if number:
                yield (
                    name,
                    f"the field {TWICE[name]} differs from infos[{name!r}] in {number} of the {self._twice[name]} "
                    "transitions that have both; the value in infos is not used.",
                )


def warn_of_fields(path: str, unread: Unread) -> None:
    """Logs the fields that are not used, and the values that differ, once for a folder of files."""
    folder = parents(path)[0]
    if names := unread.names():
        warn_once(f"{path}: {names} {OTHERS}", f"{folder}: {names}")
    for name, contradiction in unread.contradictions():
        warn_once(f"{path}: {contradiction} {OTHERS}", f"{folder}: {name}")


def _is_same(one: Any, other: Any) -> bool:
    """True for two arrays of the same numbers, whatever their axes and precision."""
    first, second = array_of(one).ravel(), array_of(other).ravel()
    if first.size != second.size or not {first.dtype.kind, second.dtype.kind} <= set("biuf"):
        return False
    return bool((np.abs(first.astype(np.float64) - second.astype(np.float64)) <= ACTION_TOLERANCE).all())
