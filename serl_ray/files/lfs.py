"""Pointers that Git LFS leaves in place of files that were not downloaded."""

from __future__ import annotations

import re

POINTER = b"version https://git-lfs.github.com/spec/"
SIZE = re.compile(rb"^size (\d+)$", re.MULTILINE)
MAX_POINTER_BYTES = 1024
"""Number of first bytes of a file that hold a whole pointer."""


def check_not_lfs_pointer(path: str, first_bytes: bytes) -> None:
    """Raises ValueError if a file that begins with these bytes is a pointer of Git LFS.

    Args:
        path: path of the file, for the message.
        first_bytes: the first `MAX_POINTER_BYTES` of the file, or fewer.
    """
    if not first_bytes.startswith(POINTER):
        return
    size = SIZE.search(first_bytes)
    missing = f"its contents of {int(size[1]) / 1e6:.3g} MB were" if size else "its contents were"
    raise ValueError(f"{path}: a Git LFS pointer; {missing} not downloaded. Run `git lfs pull` in its repository.")
