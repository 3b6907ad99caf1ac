"""Files and folders that lie beside demonstrations and are not read."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePosixPath

from serl_ray.data.errors import listed, warn_once
from serl_ray.files.uris import suffix

DOCUMENTS = (".md", ".txt", ".log", ".pdf", ".png", ".jpg", ".jpeg", ".gif", ".svg")
"""Ends of the names of files that are no data."""


def unread_data(paths: Iterable[str]) -> str:
    """Names of the files and folders that may hold data: all but hidden ones and documents; empty without any."""
    names = [PurePosixPath(path).name for path in paths if suffix(path).lower() not in DOCUMENTS]
    return listed(name for name in names if not name.startswith((".", "_")))


def warn_of_unread(path: str, others: str) -> None:
    """Logs once which files and folders at a path are not read."""
    if others:
        warn_once(
            f"{path}: not read: {others}. Demonstrations are .pkl, .pickle, .pkl.gz and .parquet files and LeRobot "
            "folders; give other folders by their own paths."
        )
