"""The HIL-SERL demonstration format: a pickled list of transition dicts."""

from __future__ import annotations

import pickle
import reprlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from itertools import pairwise
from os import PathLike
from typing import Any

import numpy as np

from serl_ray.data.errors import demo_error
from serl_ray.data.formats.pickle_episodes import PickledEpisode, episodes_in, transitions_of
from serl_ray.data.formats.pickle_fields import array_of, check_end_names, read_columns, success_of, with_info
from serl_ray.data.formats.pickle_head import open_first_item
from serl_ray.data.formats.pickle_unread import Unread
from serl_ray.data.observations import CHANNELS, Keep, image_fix, keep_all
from serl_ray.data.schema import SCALAR_FIELDS, ArraySpec, Part, Segment
from serl_ray.files.pickles import load_pickles
from serl_ray.files.tables import check_memory
from serl_ray.files.unzip import open_unzipped

REQUIRED = ("observations", "actions", "next_observations", "rewards")
OTHER_NAMES = {
    "observations": ("observation", "obs", "states"),
    "actions": ("action", "acts"),
    "next_observations": ("next_observation", "next_obs", "next_states"),
    "rewards": ("reward", "rews"),
}
"""Names that other recorders give to the required fields, to say what to rename."""


def read_pickle_parts(
    path: str,
    keep: Keep = keep_all,
    observation_spec: Mapping[str, ArraySpec] | None = None,
    on_end: Callable[[str, Unread], None] | None = None,
) -> Iterator[Part]:
    """The episodes of a HIL-SERL pickle, to be read in order; for what it may hold see `pickle_episodes.episodes_in`.

    A segment ends when its episode is done, or when the next transition does not start from this one's next
    observation. The format has no names of episodes, so each segment is its own episode. A time axis of length 1 is
    dropped. The file may be compressed by gzip.

    Args:
        path: path or URI of the pickle.
        keep: the observations to keep.
        observation_spec: shapes and dtypes of the observations; by default those of the first transition.
        on_end: function of the path and of what is not read of the transitions, called after the last episode.
    """
    reader = _EpisodeReader(path, keep, observation_spec)
    for first, episode in episodes_in(path, load_pickles(path, open_unzipped)):
        yield partial(reader.read, first, episode)
    if on_end is not None:
        on_end(path, reader.unread)


def read_first_transition(path: str, keep: Keep = keep_all) -> Segment:
    """The first transition of a HIL-SERL pickle with the observations to keep; no more of the file is read than it
    takes."""
    _, episode = next(episodes_in(path, load_pickles(path, open_first_item)))
    [(_, segment)] = _EpisodeReader(path, keep, None).read(0, transitions_of(path, 0, episode)[:1])
    return segment


class _EpisodeReader:
    """Reader of the episodes of a file; the first good one determines observations and actions of all."""

    def __init__(self, path: str, keep: Keep, observation_spec: Mapping[str, ArraySpec] | None) -> None:
        self._path, self._keep, self._spec = path, keep, observation_spec
        self.unread = Unread()
        self._model_action: tuple[int, tuple[int, ...]] | None = None

    def read(self, first: int, episode: PickledEpisode) -> list[tuple[int, Segment]]:
        """The segments of an episode whose first transition is number `first` of the file."""
        path, spec = self._path, self._spec
        transitions = transitions_of(path, first, episode)
        observed: list[dict[str, np.ndarray]] = []
        observed_next: list[dict[str, np.ndarray]] = []
        for index, transition in enumerate(transitions, first):
            _check_keys(path, index, transition)
            self.unread.add(transition)
            if spec is None:
                first_observation = transition["observations"]
                spec = _infer_spec(path, index, {key: first_observation[key] for key in self._keep(first_observation)})
            for role, steps in (("observations", observed), ("next_observations", observed_next)):
                steps.append(_read_observation(path, index, role, transition[role], spec))
        columns = read_columns(path, first, transitions, self._model_action)
        self._spec, self._model_action = spec, self._model_action or (first, columns["actions"].shape[1:])
        dones = columns["dones"]
        gaps = [t for t in range(1, len(dones)) if dones[t - 1] or not _is_same(observed[t], observed_next[t - 1])]
        segments = []
        for start, stop in pairwise([0, *gaps, len(observed)]):
            rows = [*observed[start:stop], observed_next[stop - 1]]
            check_memory(
                sum(array.nbytes for row in rows for array in row.values()), f"{path}: transition {first + start}"
            )
            observations = {key: np.stack([row[key] for row in rows]) for key in rows[0]}
            stretch: dict[str, Any] = {name: column[start:stop] for name, column in columns.items()}
            stretch["success"] = success_of(transitions[stop - 1])
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
    steps = [
        {key: _with_time_axis(rows[t]) for key, rows in segment.observations.items()} for t in range(len(segment) + 1)
    ]
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


def _check_keys(path: str, index: int, transition: Any) -> None:
    if not isinstance(transition, dict):
        raise demo_error(path, index, "transition", "a dict", f"a {type(transition).__name__}")
    for key in REQUIRED:
        if key not in transition:
            other = next((name for name in OTHER_NAMES[key] if name in transition), None)
            fix = f"Rename {other} to {key}." if other else ""
            raise demo_error(path, index, key, "a value", f"only {', '.join(map(str, transition))}", fix)
    check_end_names(path, index, with_info(transition))
    for role in ("observations", "next_observations"):
        if not isinstance(transition[role], dict) or not transition[role]:
            raise demo_error(
                path,
                index,
                role,
                "a dict of arrays",
                f"a {type(transition[role]).__name__}",
                _dict_fix(role, transition[role]),
            )
        for key, value in transition[role].items():
            if isinstance(value, dict):
                inner = next(iter(value), "...")
                fix = f"write {role}[{inner!r}] instead of {role}[{key!r}][{inner!r}]"
                raise demo_error(path, index, f"{role}[{key!r}]", "an array", f"a dict: flatten it, {fix}")


def _dict_fix(role: str, value: Any) -> str:
    if isinstance(value, np.ndarray | list | tuple):
        return f"Give it a name, {role} = {{'state': array}}."
    return "Record the observation after the last action, or leave this transition out." if value is None else ""


def _infer_spec(path: str, index: int, observation: Mapping[str, Any]) -> dict[str, ArraySpec]:
    """The spec of a file's first observation; a single number is a vector of one."""
    specs = {}
    for key, value in observation.items():
        array = np.atleast_1d(array_of(value))
        name = f"observations[{key!r}]"
        if array.dtype.kind not in "biuf":
            raise demo_error(path, index, name, "an array of numbers", reprlib.repr(value), _array_fix(value))
        if array.ndim == 2 and len(array) != 1:
            found = f"{array.dtype} of shape {array.shape}"
            raise demo_error(
                path, index, name, "a vector, or an image with channels", found, image_fix(array.shape, array.dtype)
            )
        is_image = array.ndim == 4 and (array.dtype == np.uint8 or array.shape[-1] in CHANNELS)  # other arrays are maps
        spec = ArraySpec(array.shape[1:] if array.ndim == 2 or is_image else array.shape, array.dtype)
        if len(spec.shape) == 3 and (spec.dtype != np.uint8 or spec.shape[-1] not in CHANNELS):
            expected = "an image (height, width, channels) of uint8"
            raise demo_error(path, index, name, expected, str(spec), image_fix(spec.shape, spec.dtype))
        specs[key] = spec
    return specs


def _array_fix(value: Any) -> str:
    if isinstance(value, bytes | bytearray):
        return "Decode images, np.asarray(PIL.Image.open(io.BytesIO(value)))."
    return "Leave text out of the observations." if isinstance(value, str) else ""


def _read_observation(
    path: str, index: int, role: str, observation: Mapping[str, Any], specs: Mapping[str, ArraySpec]
) -> dict[str, np.ndarray]:
    checked = {}
    for key, spec in specs.items():
        name = f"{role}[{key!r}]"
        if key not in observation:
            raise demo_error(path, index, name, str(spec), f"only {', '.join(map(str, observation))}")
        array = np.atleast_1d(array_of(observation[key]))
        if array.ndim == len(spec.shape) + 1 and array.shape[1:] == spec.shape:
            if len(array) != 1:
                found = f"{len(array)} stacked; the replay buffer stacks them itself"
                raise demo_error(path, index, name, f"one array of shape {spec.shape}", found)
            array = array[0]
        are_floats = array.dtype.kind == spec.dtype.kind == "f"
        if array.shape != spec.shape or not (array.dtype == spec.dtype or are_floats):
            fix = image_fix(array.shape, array.dtype) if len(spec.shape) == 3 else ""
            raise demo_error(path, index, name, str(spec), f"{array.dtype} of shape {array.shape}", fix)
        checked[key] = array.astype(spec.dtype, copy=False)
    return checked


def _is_same(observation: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray]) -> bool:
    return all(np.array_equal(rows, other[key], equal_nan=rows.dtype.kind == "f") for key, rows in observation.items())
