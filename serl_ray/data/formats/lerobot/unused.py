"""Sentences about what a LeRobot data set holds and nothing here uses."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from serl_ray.data.errors import listed
from serl_ray.data.formats.lerobot.features import ACTION, COLUMNS, INDICES, SUCCESS, TERMINATED, is_observed

OF_EPISODE = ("episode_index", "length", "tasks", "dataset_from_index", "dataset_to_index")
"""Columns of LeRobot's own metadata of an episode, besides those that begin as in `OF_FILES`."""
OF_FILES = ("data/", "videos/", "meta/", "stats")


def unused_columns(
    root: str, features: Mapping[str, Mapping[str, Any]], columns: Iterable[str], episode: Mapping[str, Any]
) -> str | None:
    """A sentence that names the columns that are not read, if there are any.

    Args:
        root: path of the data set.
        features: features of the data set, by column.
        columns: columns of a data file.
        episode: metadata of an episode.
    """
    observed = [name for name, feature in features.items() if is_observed(name, feature)]
    read = {ACTION, SUCCESS, TERMINATED, *COLUMNS.values(), *INDICES, *observed}
    names = [name for name in dict.fromkeys([*features, *columns]) if name not in read]
    of_episode = [name for name in episode if name not in OF_EPISODE and not name.startswith(OF_FILES)]
    names += [f"{name} (of episodes)" for name in of_episode]
    if not names:
        return None
    return (
        f"{root}: columns that are not used: {listed(names)}. Rewards, ends and interventions are read from "
        f"{', '.join((*COLUMNS.values(), TERMINATED, SUCCESS))}: rename a column that means the same."
    )


def several_tasks(root: str, tasks: Collection[str]) -> str | None:
    """A sentence about the tasks of a data set that has more than one."""
    if len(tasks) < 2:
        return None
    names = listed(map(repr, sorted(tasks)))
    return f"{root}: its episodes have {len(tasks)} tasks, {names}. No agent is told its task: all are learned as one."


def several_splits(root: str, splits: Any) -> str | None:
    """A sentence about the splits of a data set, such as one for tests, if `info.json` has more than one."""
    if not isinstance(splits, dict) or len(splits) < 2:
        return None
    names = listed(f"{name} {episodes}" for name, episodes in splits.items())
    return f"{root}: info.json splits the episodes: {names}. All of them are read."
