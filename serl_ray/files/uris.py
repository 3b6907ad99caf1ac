"""Files by local path or by URI (s3://, gs://, hdfs:// or file://), read through pyarrow's file systems."""

from __future__ import annotations

import atexit
import glob
import io
import os
import re
import shutil
import tempfile
from collections.abc import Sequence
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path, PurePosixPath
from typing import BinaryIO
from urllib.parse import quote, unquote

import pyarrow as pa
from pyarrow.fs import FileSelector, FileSystem, FileType, LocalFileSystem, copy_files

from serl_ray.files.paths import is_uri

WILDCARD = re.compile(r"[*\[]")
"""Wildcards in a URI. A question mark is none: it starts the query, such as `?region=eu-west-1`."""


def locate(path: str | os.PathLike[str]) -> tuple[FileSystem, str]:
    """The file system of a path or URI, and the name of the file in it.

    Raises:
        ValueError: pyarrow has no file system for the URI.
    """
    if not is_uri(path):
        return LocalFileSystem(), os.path.abspath(path)
    try:
        file_system, name = FileSystem.from_uri(str(path))
        return file_system, name
    except pa.ArrowInvalid as error:
        raise ValueError(
            f"{path}: {error}. Give a local path, or a URI that begins with s3://, gs://, hdfs:// or file://."
        ) from error


def open_input(path: str | os.PathLike[str]) -> BinaryIO:
    """A seekable file opened for reading."""
    if not is_uri(path):
        return open(path, "rb")
    file_system, name = locate(path)
    return io.BufferedReader(file_system.open_input_file(name))


def suffix(path: str | os.PathLike[str]) -> str:
    """The ending of a file's name, without the query of a URI."""
    return PurePosixPath(_split_query(str(path))[0]).suffix


def join(folder: str, relative: str) -> str:
    """The path of the file at `relative` in a folder."""
    if not is_uri(folder):
        return os.path.join(folder, relative)
    base, query = _split_query(folder)
    return f"{base.rstrip('/')}/{quote(relative)}{query}"


def parents(path: str) -> list[str]:
    """The folders above a file, nearest first; for a URI, those below its host or bucket."""
    if not is_uri(path):
        return [str(folder) for folder in PurePosixPath(os.path.abspath(path)).parents]
    base, query = _split_query(path)
    scheme, _, rest = base.partition("://")
    folders = [folder for folder in PurePosixPath(rest).parents if str(folder) != "."]
    return [f"{scheme}://{folder}{query}" for folder in folders]


def is_file(path: str) -> bool:
    """True if there is a file at a path or URI; False for a pattern."""
    if not is_uri(path):
        return os.path.isfile(path)
    if WILDCARD.search(_split_query(path)[0]):
        return False
    file_system, name = locate(path)
    return bool(file_system.get_file_info(name).type == FileType.File)


@cache
def local_copy(folder: str) -> Path:
    """A local folder: the folder itself, or a copy of the folder at a URI.

    A process makes each copy once, and deletes it at exit.

    Raises:
        FileNotFoundError: the URI has no folder.
    """
    if not is_uri(folder):
        return Path(folder)
    file_system, name = locate(folder)
    if file_system.get_file_info(name).type != FileType.Directory:
        raise FileNotFoundError(f"{folder}: there is no such folder.")
    copy = tempfile.mkdtemp(prefix="serl_ray-")
    atexit.register(shutil.rmtree, copy, ignore_errors=True)
    copy_files(name, copy, file_system, LocalFileSystem())
    return Path(copy)


def expand(path: str) -> list[str]:
    """The sorted files of a path: the file itself, the contents of a folder, or the matches of a pattern."""
    if is_uri(path):
        return _expand_uri(path)
    if os.path.isfile(path):
        return [os.path.abspath(path)]
    pattern = os.path.join(glob.escape(path), "*") if os.path.isdir(path) else path
    return [os.path.abspath(name) for name in sorted(glob.glob(pattern, recursive=True))]


def _expand_uri(uri: str) -> list[str]:
    base, query = _split_query(uri)
    wildcard = WILDCARD.search(base)
    if wildcard:
        folder = base[: wildcard.start()].rpartition("/")[0]
        pattern = unquote(base[len(folder) + 1 :])
    else:
        folder, pattern = base.rstrip("/"), "*"
    file_system, root = locate(folder + query)
    info = file_system.get_file_info(root)
    if info.type == FileType.File:
        return [uri]
    parts = pattern.split("/")
    selector = FileSelector(root, allow_not_found=True, recursive=len(parts) > 1 or "**" in parts)
    names = sorted(os.path.relpath(found.path, root) for found in file_system.get_file_info(selector))
    return [join(folder + query, name) for name in names if _matches(name.split("/"), parts)]


def _matches(names: Sequence[str], patterns: Sequence[str]) -> bool:
    """True if a path matches a pattern folder by folder; `**` stands for any number of folders."""
    if not patterns:
        return not names
    if patterns[0] == "**":
        return _matches(names, patterns[1:]) or (len(names) > 0 and _matches(names[1:], patterns))
    return len(names) > 0 and fnmatchcase(names[0], patterns[0]) and _matches(names[1:], patterns[1:])


def _split_query(uri: str) -> tuple[str, str]:
    """A URI without its query, and the query with its question mark; a local path has none."""
    base, mark, query = uri.partition("?") if is_uri(uri) else (uri, "", "")
    return base, mark + query
