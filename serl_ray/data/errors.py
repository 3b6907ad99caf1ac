"""Errors of demonstrations."""

from __future__ import annotations


class DemoError(ValueError):
    """A fault in a demonstration file. The message names the file, the transition and the key."""


def demo_error(path: str, index: int, key: str, expected: str, found: str) -> DemoError:
    """The error for a failed check of a demonstration, with a message in the common form."""
    return DemoError(f"{path}: transition {index}: {key}: expected {expected}, found {found}.")
