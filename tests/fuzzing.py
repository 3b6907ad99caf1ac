"""Bytes that somebody has changed."""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

MOST_GROWTH = 2**29
"""Bytes that reading all files of a test, of a few KB each, may add to the process."""

EDITS = st.lists(
    st.tuples(st.sampled_from(["flip", "cut", "insert", "repeat"]), st.floats(0, 1), st.binary(min_size=1, max_size=9)),
    min_size=1,
    max_size=4,
)


def fuzz(examples: int) -> settings:
    """So many examples, however long they take, and none that is remembered."""
    return settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck), database=None)


def edited(content: bytes, edits: list[tuple[str, float, bytes]]) -> bytes:
    """The content with bytes overwritten, inserted or written twice, or without its end."""
    for kind, where, piece in edits:
        place = int(where * len(content))
        if kind == "flip":
            content = content[:place] + piece + content[place + len(piece) :]
        elif kind == "cut":
            content = content[:place]
        elif kind == "insert":
            content = content[:place] + piece + content[place:]
        else:
            content = content[:place] + content[place - 50 : place] + content[place:]
    return content
