"""Atomic writes: a file or folder is complete or absent, even if the process or the machine stops."""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

logger = logging.getLogger(__name__)


def write_file(path: Path, data: bytes) -> None:
    """Writes a file atomically: a temporary file replaces `path` once it is on the disk."""
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
        FileNotFoundError: the file does not exist, so its folder holds no `kind`.
        ValueError: the file is damaged.
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
    """Returns once a file, or a folder's list of names, is on the disk. Windows has no such call for folders."""
    if os.name == "nt" and path.is_dir():
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """A folder to fill, which replaces `path` when the block ends without an error."""
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
    """Locks a file, created if needed, for this process; the system releases the lock when the process ends.

    Raises:
        BlockingIOError: another process holds the lock.
    """
    lock = FileLock(path, timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise BlockingIOError(f"{path} is held by another process.") from error
    try:
        yield
    finally:
        lock.release()
