"""Errors of demonstrations."""

from __future__ import annotations


class DemoError(ValueError):
    """A fault in a demonstration file. The message names the file, the transition and the key."""


class ShortEpisode(DemoError):
    """An episode without a transition: a single frame, with no observation after its action. It is left out and
    counted."""


def demo_error(path: str, index: int, key: str, expected: str, found: str, fix: str = "") -> DemoError:
    """The error for a failed check of a demonstration, with a message in the common form.

    Args:
        path: path of the file.
        index: number of the transition in the file.
        key: name of the value at fault.
        expected, found: what was expected of it and what was found.
        fix: sentence that says what to do.
    """
    return DemoError(f"{path}: transition {index}: {key}: expected {expected}, found {found}.{fix and f' {fix}'}")
