"""The episodes in what people pickle: lists of transitions, lists of episodes, and episodes as dicts of arrays."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from serl_ray.data.errors import DemoError, demo_error
from serl_ray.data.formats.pickle_fields import ENDS, array_of, ends_episode

OBSERVED = ("observations", "next_observations")
BY_STEP = ("actions", "rewards", *ENDS, "masks", "grasp_penalty", "intervened", "infos", "info")
"""Fields of an episode as a dict of arrays, besides observations: one row per action."""
SHAPES = "Save a list of transitions; a list of such lists; or dicts of arrays, one per episode."

PickledEpisode = list[Any] | dict[str, Any]
"""Transitions, which are dicts if the file is sound, or an episode as a dict of arrays."""


def episodes_in(path: str, values: Iterable[Any]) -> Iterator[tuple[int, PickledEpisode]]:
    """The episodes in the pickles of a file, each with the number of its first transition in the file.

    Transitions are cut after the end of an episode. The end of a list inside another one, or of a pickle that is a
    list, ends an episode as well.

    Args:
        path: path of the file, for errors.
        values: values of its pickles.

    Raises:
        DemoError: a pickle holds something else.
    """
    first = 0
    for episode in _split(_pieces(path, values)):
        yield first, episode
        first += len(episode["actions"] if isinstance(episode, dict) else episode)


def transitions_of(path: str, first: int, episode: PickledEpisode) -> list[Any]:
    """The transitions of an episode; of a dict of arrays, its rows.

    Raises:
        DemoError: the arrays have different numbers of rows. Errors number the transitions from `first`.
    """
    if isinstance(episode, list):
        return episode
    n = len(episode["actions"])
    known = {name: value for name, value in episode.items() if name not in OBSERVED}
    for name in (*OBSERVED, *BY_STEP):
        value = episode.get(name, {})
        for key, rows in value.items() if isinstance(value, Mapping) else ((None, value),):
            label = name if key is None else f"{name}[{key!r}]"
            _check_rows(path, first, n, label, rows, "next_observations" in episode)
    observed, following = episode.get("observations", {}), episode.get("next_observations")
    transitions = [
        {
            **{name: _row(value, t) if name in BY_STEP else value for name, value in known.items()},
            "observations": _row(observed, t),
            "next_observations": _row(observed, t + 1) if following is None else _row(following, t),
        }
        for t in range(n)
    ]
    inner = next((t for t, transition in enumerate(transitions[:-1]) if ends_episode(transition)), None)
    if following is None and inner is not None:
        fix = "Save a dict of each episode, or add next_observations."
        raise demo_error(path, first + inner, "dones", "an end in the last row alone", "an end within", fix)
    return transitions


def _pieces(path: str, values: Iterable[Any]) -> Iterator[Any]:
    """Transitions and whole episodes in their order; None where an episode ends whatever its last transition says."""
    is_empty = True
    for value in values:
        is_empty = False
        if isinstance(value, list | tuple) and value:
            for item in value:
                if isinstance(item, list | tuple) and item and isinstance(item[0], dict):
                    yield from (None, *item, None)
                else:
                    yield item
            yield None
        elif isinstance(value, dict) and ("actions" in value or "rewards" in value):
            yield value
        else:
            raise DemoError(f"{path}: expected a list of transitions, found {_kind(value)}. {SHAPES}")
    if is_empty:
        raise DemoError(f"{path}: expected a list of transitions, found nothing. {SHAPES}")


def _kind(value: Any) -> str:
    if isinstance(value, dict):
        return f"a dict of {', '.join(map(str, value)) or 'nothing'}"
    return "an empty list" if isinstance(value, list | tuple) else f"a {type(value).__name__}"


def _split(pieces: Iterable[Any]) -> Iterator[PickledEpisode]:
    """Lists of transitions of one episode, and whole episodes."""
    running: list[Any] = []
    for piece in pieces:
        is_whole = piece is None or _is_whole(piece)
        if running and is_whole:
            yield running
            running = []
        if piece is None:
            continue
        if is_whole:
            yield piece
            continue
        running.append(piece)
        if ends_episode(piece):
            yield running
            running = []
    if running:
        yield running


def _is_whole(piece: Any) -> bool:
    """True for an episode as a dict of arrays: it has rows of actions, and as many rewards."""
    if not isinstance(piece, dict) or "actions" not in piece:
        return False
    actions = array_of(piece["actions"])
    return actions.ndim == 2 and (len(actions) > 1 or _num_observed(piece) == 2)


def _num_observed(episode: Mapping[str, Any]) -> int:
    """Rows of the first observation of an episode as a dict of arrays."""
    observed = episode.get("observations")
    first = array_of(next(iter(observed.values()), ())) if isinstance(observed, Mapping) else array_of(observed)
    return len(first) if first.ndim else 0


def _check_rows(path: str, first: int, n: int, name: str, rows: Any, has_next: bool) -> None:
    """Raises DemoError unless there are n rows; of observations, n + 1 if the next ones are not given."""
    found = len(rows) if isinstance(rows, list | tuple) or (isinstance(rows, np.ndarray) and rows.ndim) else 0
    is_observed = name.startswith("observations")
    if found == n + (is_observed and not has_next) or (is_observed and has_next and found == n + 1):
        return
    if is_observed and not has_next:
        fix = "Add the observation after the last action, or leave the last action out."
        raise demo_error(path, first, name, f"{n + 1} rows for {n} actions", f"{found}", fix)
    raise demo_error(path, first, name, f"{n} rows for {n} actions", f"{found}")


def _row(value: Any, t: int) -> Any:
    return {key: rows[t] for key, rows in value.items()} if isinstance(value, Mapping) else value[t]
