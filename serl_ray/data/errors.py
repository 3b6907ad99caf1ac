"""Errors of demonstrations, and warnings that are logged once."""

from __future__ import annotations

import logging
from collections.abc import Iterable

logger = logging.getLogger(__name__)

MOST_NAMED = 6
"""Number of names that a message lists."""


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


def warn_once(message: str, subject: str | None = None) -> None:
    """Logs the first warning about a subject in this process, by default every message once.

    Demonstrations are read several times in a run.
    """
    if (subject or message) not in _warned:
        _warned.add(subject or message)
        logger.warning(message)


_warned: set[str] = set()


def listed(names: Iterable[str]) -> str:
    """Names with commas between them, of which MOST_NAMED are listed and the others counted."""
    names = list(names)
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return f"{', '.join(names[:MOST_NAMED])}{more}"
