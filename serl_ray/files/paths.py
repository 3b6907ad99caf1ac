"""Paths and URIs, told apart without the libraries that read them."""

from __future__ import annotations

import os
import re

PICKLES = (".pkl", ".pickle")
"""Ends of the names of pickles."""
SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")


def is_uri(path: str | os.PathLike[str]) -> bool:
    """True for a URI, which has a scheme that names its file system."""
    return SCHEME.match(str(path)) is not None


def absolute(path: str) -> str:
    """The path for processes that run in other folders: an absolute one; a URI as it is."""
    return path if is_uri(path) else os.path.abspath(os.path.expanduser(path))
