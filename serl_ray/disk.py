"""Files that are there whole or not at all, whenever the process or the machine stops."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def write_file(path: Path, data: bytes) -> None:
    """Writes a file, and returns when it is on the disk."""
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def write_json(path: Path, value: Any) -> None:
    """Writes a value as JSON; see `write_file`."""
    write_file(path, json.dumps(value, indent=2).encode())


def read_json(path: Path, kind: str) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        FileNotFoundError: there is no such file, and so no `kind` in its folder.
        ValueError: it is not what was written.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path.parent} holds no {kind}: there is no {path.name} in it.")
    try:
        value = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is damaged: it is not JSON ({error}). Take another copy of the {kind}.") from error
    if not isinstance(value, dict):
        raise ValueError(f"{path} is damaged: it holds no JSON object. Take another copy of the {kind}.")
    return value


def sync(path: Path) -> None:
    """Returns when a file, or the list of names in a folder, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """A folder to fill, which becomes `path` once the block has ended well, in place of what is there by then."""
    new, old = (path.with_name(f".{path.name}.{state}") for state in ("new", "old"))
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    try:
        yield new
    except BaseException:
        shutil.rmtree(new, ignore_errors=True)
        raise
    sync(new)
    shutil.rmtree(old, ignore_errors=True)
    if path.exists():
        path.rename(old)
    new.rename(path)
    sync(path.parent)
    shutil.rmtree(old, ignore_errors=True)
