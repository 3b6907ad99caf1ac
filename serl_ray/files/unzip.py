"""Files that may be compressed by gzip, opened as what they hold."""

from __future__ import annotations

import gzip
import tempfile
import zlib
from contextlib import ExitStack
from os import PathLike
from typing import BinaryIO

from serl_ray.files.tables import check_memory
from serl_ray.files.uris import open_input

GZIP_MAGIC = b"\x1f\x8b"
"""First bytes of a file that gzip has compressed."""
CHUNK_BYTES = 2**20


def open_unzipped(path: str | PathLike[str]) -> BinaryIO:
    """A seekable file opened for reading; one that is compressed by gzip, whatever its name, as a temporary file on
    disk.

    Raises:
        ValueError: it is cut off, or holds more than the free memory.
    """
    file = open_input(path)
    is_zipped = file.read(len(GZIP_MAGIC)) == GZIP_MAGIC
    file.seek(0)
    if not is_zipped:
        return file
    with file, ExitStack() as on_error:
        target: BinaryIO = on_error.enter_context(tempfile.TemporaryFile())
        try:
            with gzip.open(file) as source:
                while chunk := source.read(CHUNK_BYTES):
                    check_memory(target.tell() + len(chunk), str(path))
                    target.write(chunk)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise ValueError(
                f"{path}: cut off, or damaged ({type(error).__name__}: {error}). Copy the file again."
            ) from error
        target.seek(0)
        on_error.pop_all()
        return target
