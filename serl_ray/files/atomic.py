"""Files that are there whole or not at all, whenever the process or the machine stops."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)


def write_file(path: Path, data: bytes) -> None:
    """Writes a file beside, which becomes `path` once it is on the disk, in place of what is there."""
    new = path.with_name(f".{path.name}.new")
    try:
        with new.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        new.unlink(missing_ok=True)
        raise
    new.replace(path)
    sync(path.parent)


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


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds a file, which is made if need be, for this process alone; the kernel lets go of it when the process dies.

    Raises:
        BlockingIOError: another process holds it.
    """
    with path.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise
        except OSError as error:
            logger.warning("%s cannot be locked (%s): see to it that no other process writes to its folder.", path, error)
        yield
