"""The HIL-SERL demonstration format: a pickled list of transition dicts."""

from __future__ import annotations

import pickle
import reprlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from itertools import pairwise
from os import PathLike
from typing import Any, BinaryIO

import numpy as np

from serl_ray.data.errors import DemoError, demo_error
from serl_ray.data.formats.pickle_head import open_first_item
from serl_ray.data.schema import SCALAR_FIELDS, ArraySpec, Part, Segment
from serl_ray.files.pickles import load_pickle
from serl_ray.files.tables import check_memory
from serl_ray.files.uris import open_input

REQUIRED = ("observations", "actions", "next_observations", "rewards", "dones")
IMAGE_CHANNELS = (1, 3, 4)

MOST_LISTED = 2**20
"""Limit of numbers in nested lists; a small file can otherwise hold any number, by repeating one list."""


def read_pickle_parts(path: str, observation_spec: Mapping[str, ArraySpec] | None = None) -> Iterator[Part]:
    """The episodes of a HIL-SERL pickle, from one done to the next, to be read in order.

    A segment ends when its episode is done, or when the next transition does not start from this one's next
    observation. The format has no names of episodes, so each segment is its own episode. A time axis of length 1 is
    dropped.

    Args:
        path: path or URI of the pickle.
        observation_spec: observation keys to keep, with their shapes and dtypes; by default all keys of the first
            transition.
    """
    transitions = _load_transitions(path)
    reader = _EpisodeReader(path, observation_spec)
    starts = [0, *(t for t in range(1, len(transitions)) if _ends_episode(transitions[t - 1])), len(transitions)]
    for start, stop in pairwise(starts):
        yield partial(reader.read, start, transitions[start:stop])


def read_first_transition(path: str) -> Segment:
    """The first transition of a HIL-SERL pickle; no more of the file is read than it takes."""
    transitions = _load_transitions(path, open_first_item)[:1]
    [(_, segment)] = _EpisodeReader(path, None).read(0, transitions)
    return segment


class _EpisodeReader:
    """Reader of the episodes of a file; the first good one determines observations and actions of all."""

    def __init__(self, path: str, observation_spec: Mapping[str, ArraySpec] | None) -> None:
        self._path, self._spec = path, observation_spec
        self._model_action: tuple[int, tuple[int, ...]] | None = None

    def read(self, first: int, transitions: list[Any]) -> list[tuple[int, Segment]]:
        """The segments of an episode whose first transition is number `first` of the file."""
        path, spec = self._path, self._spec
        observed: list[dict[str, np.ndarray]] = []
        observed_next: list[dict[str, np.ndarray]] = []
        for index, transition in enumerate(transitions, first):
            _check_keys(path, index, transition)
            spec = spec or _infer_spec(path, index, transition["observations"])
            for role, steps in (("observations", observed), ("next_observations", observed_next)):
                steps.append(_read_observation(path, index, role, transition[role], spec))
        columns = _read_columns(path, first, transitions, self._model_action)
        self._spec, self._model_action = spec, self._model_action or (first, columns["actions"].shape[1:])
        dones = columns["dones"]
        gaps = [t for t in range(1, len(dones)) if dones[t - 1] or not _is_same(observed[t], observed_next[t - 1])]
        segments = []
        for start, stop in pairwise([0, *gaps, len(observed)]):
            rows = [*observed[start:stop], observed_next[stop - 1]]
            check_memory(sum(array.nbytes for row in rows for array in row.values()), f"{path}: transition {first + start}")
            observations = {key: np.stack([row[key] for row in rows]) for key in rows[0]}
            stretch: dict[str, Any] = {name: column[start:stop] for name, column in columns.items()}
            number = first + start
            segments.append((number, Segment(observations=observations, episode=f"{path}#{number}", **stretch)))
        return segments


def write_pickle(path: str | PathLike[str], segments: Iterable[Segment]) -> None:
    """Writes segments as a HIL-SERL pickle, with time axes; it stores shared observations once."""
    transitions = [transition for segment in segments for transition in _to_transitions(segment)]
    if not transitions:
        raise ValueError(f"{path}: there is no segment to write.")
    with open(path, "wb") as file:
        pickle.dump(transitions, file, protocol=4)


def _to_transitions(segment: Segment) -> Iterator[dict[str, Any]]:
    steps = [{key: _with_time_axis(rows[t]) for key, rows in segment.observations.items()} for t in range(len(segment) + 1)]
    for t in range(len(segment)):
        yield {
            "observations": dict(steps[t]),
            "actions": segment.actions[t],
            "next_observations": dict(steps[t + 1]),
            **{field: getattr(segment, field)[t] for field in SCALAR_FIELDS},
        }


def _with_time_axis(array: np.ndarray) -> np.ndarray:
    is_image = array.ndim == 3 and array.dtype == np.uint8
    return array[None] if is_image or array.ndim == 1 else array


def _load_transitions(path: str, open_file: Callable[[str | PathLike[str]], BinaryIO] = open_input) -> list[Any]:
    transitions = load_pickle(path, open_file)
    if not isinstance(transitions, list) or not transitions:
        found = "an empty list" if isinstance(transitions, list) else f"a {type(transitions).__name__}"
        raise DemoError(f"{path}: expected a list of transitions, found {found}. Record demonstrations with serl record.")
    return transitions


def _ends_episode(transition: Any) -> bool:
    """True if a transition, which may be any object, ends an episode."""
    flags = [_array(transition.get(key, 0)) for key in ("dones", "truncateds")] if isinstance(transition, dict) else []
    return any(flag.size == 1 and flag.dtype.kind in "biuf" and bool(flag.item()) for flag in flags)


def _check_keys(path: str, index: int, transition: Any) -> None:
    if not isinstance(transition, dict):
        raise demo_error(path, index, "transition", "a dict", f"a {type(transition).__name__}")
    for key in REQUIRED:
        if key not in transition:
            raise demo_error(path, index, key, "a value", f"only {', '.join(map(str, transition))}")
    for role in ("observations", "next_observations"):
        if not isinstance(transition[role], dict) or not transition[role]:
            raise demo_error(path, index, role, "a dict of arrays", f"a {type(transition[role]).__name__}")
        for key, value in transition[role].items():
            if isinstance(value, dict):
                inner = next(iter(value), "...")
                fix = f"write {role}[{inner!r}] instead of {role}[{key!r}][{inner!r}]"
                raise demo_error(path, index, f"{role}[{key!r}]", "an array", f"a dict: flatten it, {fix}")


def _infer_spec(path: str, index: int, observation: Mapping[str, Any]) -> dict[str, ArraySpec]:
    """The spec of a file's first observation."""
    specs = {}
    for key, value in observation.items():
        array = _array(value)
        if array.dtype.kind not in "biuf":
            raise demo_error(path, index, f"observations[{key!r}]", "an array of numbers", reprlib.repr(value))
        is_stacked = array.ndim == 2 or (array.ndim == 4 and array.dtype == np.uint8)
        spec = ArraySpec(array.shape[1:] if is_stacked else array.shape, array.dtype)
        if len(spec.shape) == 3 and (spec.dtype != np.uint8 or spec.shape[-1] not in IMAGE_CHANNELS):
            raise demo_error(path, index, f"observations[{key!r}]", "an image (height, width, channels) of uint8", str(spec))
        specs[key] = spec
    return specs


def _read_observation(
    path: str, index: int, role: str, observation: Mapping[str, Any], specs: Mapping[str, ArraySpec]
) -> dict[str, np.ndarray]:
    checked = {}
    for key, spec in specs.items():
        name = f"{role}[{key!r}]"
        if key not in observation:
            raise demo_error(path, index, name, str(spec), f"only {', '.join(map(str, observation))}")
        array = _array(observation[key])
        if array.ndim == len(spec.shape) + 1 and array.shape[1:] == spec.shape:
            if len(array) != 1:
                raise demo_error(
                    path,
                    index,
                    name,
                    f"one array of shape {spec.shape}",
                    f"{len(array)} stacked; the replay buffer stacks them itself",
                )
            array = array[0]
        are_floats = array.dtype.kind == spec.dtype.kind == "f"
        if array.shape != spec.shape or not (array.dtype == spec.dtype or are_floats):
            raise demo_error(path, index, name, str(spec), f"{array.dtype} of shape {array.shape}")
        checked[key] = array.astype(spec.dtype, copy=False)
    return checked


def _array(value: Any) -> np.ndarray:
    """A value of a pickle as an array; an empty object array if it is none."""
    size, inner = 1, value
    while isinstance(inner, list | tuple) and inner and size <= MOST_LISTED:
        size, inner = size * len(inner), inner[0]
    try:
        return np.asarray(value) if size <= MOST_LISTED else np.empty((), object)
    except ValueError:  # lists of several lengths
        return np.empty((), object)


def _is_same(observation: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray]) -> bool:
    return all(np.array_equal(observation[key], other[key]) for key in observation)


def _read_columns(
    path: str, first: int, transitions: list[dict[str, Any]], model_action: tuple[int, tuple[int, ...]] | None
) -> dict[str, np.ndarray]:
    """The fields besides observations: actions (n, A), others (n,). Errors number the transitions from `first`."""
    zeros = np.zeros(len(transitions))
    rewards = _numbers(path, first, transitions, "rewards")
    ended = _numbers(path, first, transitions, "dones") != 0
    masks = _numbers(path, first, transitions, "masks", 1.0 - ended)
    truncateds = _numbers(path, first, transitions, "truncateds", ended & (masks == 1)) != 0
    return {
        "actions": _actions(path, first, transitions, model_action),
        "rewards": rewards,
        "masks": masks,
        "dones": ended | truncateds,
        "truncateds": truncateds,
        "grasp_penalty": _numbers(path, first, [_with_penalty(t) for t in transitions], "grasp_penalty", zeros),
        "intervened": _numbers(path, first, transitions, "intervened", zeros) != 0,
    }


def _with_penalty(transition: dict[str, Any]) -> dict[str, Any]:
    """A transition with the entries of its info, which may hold the grasp penalty."""
    infos = transition.get("infos", transition.get("info"))
    return {**infos, **transition} if isinstance(infos, dict) else transition


def _numbers(path: str, first: int, transitions: list[dict[str, Any]], key: str, default: np.ndarray | None = None) -> np.ndarray:
    """One finite number (n,) per transition; `default[t]` if transition t has none."""
    numbers = np.empty(len(transitions), np.float64)
    for t, transition in enumerate(transitions):
        value = _array(transition[key] if default is None or key in transition else default[t])
        if value.size != 1 or value.dtype.kind not in "biuf" or not np.isfinite(value).all():
            raise demo_error(path, first + t, key, "one finite number", reprlib.repr(transition[key]))
        numbers[t] = value.item()
    return numbers


def _actions(path: str, first: int, transitions: list[dict[str, Any]], model: tuple[int, tuple[int, ...]] | None) -> np.ndarray:
    """Actions (n, A), all of the shape of `model` (a transition's number and shape), by default the first."""
    model_index, shape = model or (first, _array(transitions[0]["actions"]).shape)
    for index, transition in enumerate(transitions, first):
        action = _array(transition["actions"])
        if action.ndim != 1 or action.dtype.kind not in "biuf" or action.shape != shape:
            as_before = f"as many numbers as in transition {model_index}, {shape[0] if shape else 1}"
            expected = "a vector of numbers" if index == model_index else as_before
            raise demo_error(path, index, "actions", expected, f"{action.dtype} of shape {action.shape}")
    return np.stack([np.asarray(transition["actions"], np.float32) for transition in transitions])
