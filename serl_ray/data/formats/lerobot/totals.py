"""Comparison of what `meta/info.json` counts with the episodes that the metadata list."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

MAX_TOTAL = 10**8
"""Number of episodes or frames above which a data set is not believed."""
LISTED = 5
"""Number of episodes that a message lists."""


def check_totals(root: str, info: Mapping[str, Any], episodes: Mapping[int, Mapping[str, Any]]) -> str | None:
    """Compares the totals of `info.json` with the episodes in the metadata, by index and in its order.

    Returns:
        A sentence about gaps in the indices, which deleted episodes leave; None if there are none.

    Raises:
        ValueError: an episode has no length, episodes are missing or too many, or have other numbers of frames.
    """
    if wrong := [index for index, row in episodes.items() if type(row.get("length")) is not int or row["length"] < 1]:
        found = episodes[wrong[0]].get("length")
        raise ValueError(
            f"{root}: its metadata give episode {wrong[0]} the length {found!r:.60}. Copy the folder meta again."
        )
    _check_clips(root, info, episodes)
    total, num_frames = (_count(root, info, name) for name in ("total_episodes", "total_frames"))
    listed = sum(row["length"] for row in episodes.values())
    if total is None or (len(episodes) == total and num_frames in (None, listed)):
        return None
    lost = sorted(set(range(total)) - episodes.keys())
    without = f", without {_list(lost)}" if lost else ""
    has_gaps = len(episodes) < total == max(episodes, default=-1) + 1 and (num_frames is None or listed < num_frames)
    if has_gaps:
        return (
            f"{root}: info.json counts {total} episodes, and the metadata list {len(episodes)}{without}. "
            "They are read as a data set from which episodes were deleted."
        )
    frames = "" if num_frames is None else f" and {num_frames} frames"
    raise ValueError(
        f"{root}: info.json counts {total} episodes{frames}, and the metadata list {len(episodes)} with {listed} frames"
        f"{without}. Copy the folder meta again."
    )


def _count(root: str, info: Mapping[str, Any], name: str) -> int | None:
    value = info.get(name)
    if value is not None and (type(value) is not int or not 0 <= value < MAX_TOTAL):
        raise ValueError(
            f"{root}: info.json has the {name} {value!r:.60}, expected a whole number. Copy the file again."
        )
    return value


def _check_clips(root: str, info: Mapping[str, Any], episodes: Mapping[int, Mapping[str, Any]]) -> None:
    """Raises ValueError if two episodes of a data set of version 3 share a part of a video."""
    step = 1 / info["fps"]
    for key in (name for name, feature in info["features"].items() if feature["dtype"] == "video"):
        fields = [f"videos/{key}/{name}" for name in ("chunk_index", "file_index", "from_timestamp", "to_timestamp")]
        clips = [(tuple(row.get(name) for name in fields), index) for index, row in episodes.items()]
        known = sorted((clip, index) for clip, index in clips if all(isinstance(value, int | float) for value in clip))
        for ((*file, _, stop), one), ((*other_file, start, _), other) in pairwise(known):
            if file == other_file and start < stop - step / 2:
                raise ValueError(
                    f"{root}: its metadata give episodes {one} and {other} the same part of a video of {key}, from "
                    f"{start:g} s to {stop:g} s. Copy the folder meta again."
                )


def _list(episodes: list[int]) -> str:
    more = f" and {len(episodes) - LISTED} more" if len(episodes) > LISTED else ""
    return f"episode {', '.join(map(str, episodes[:LISTED]))}{more}"
