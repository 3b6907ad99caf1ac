"""SHA-256 digests of files, and JSON files that are sealed by one of their own contents: a flipped bit is found by
name."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from serl_ray.files.atomic import write_json

SEAL = "seal"
"""Key of the digest of an object's other entries."""


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_files(folder: Path, digests: Mapping[str, Any], names: Iterable[str]) -> None:
    """Raises ValueError for the first of the files in a folder that is not what `digests` says of it by name."""
    for name in names:
        if sha256_of(folder / name) != digests.get(name):
            raise ValueError(
                f"{folder / name} is damaged: it is not what was written, by its SHA-256. Take another copy of it."
            )


def write_sealed(path: Path, value: Mapping[str, Any]) -> None:
    """Writes an object as JSON with its seal, atomically."""
    write_json(path, {**value, SEAL: _digest(value)})


def check_seal(path: Path, value: Mapping[str, Any]) -> None:
    """Raises ValueError for the object in a JSON file if it is not what `write_sealed` wrote there."""
    if value.get(SEAL) != _digest({name: part for name, part in value.items() if name != SEAL}):
        what = "it is not what was written" if SEAL in value else "its seal is missing"
        raise ValueError(f"{path} is damaged: {what}, by its SHA-256. Take another copy of it.")


def _digest(value: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()
