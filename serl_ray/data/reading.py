"""What reading by Ray Data has in common: the errors of its tasks, as they were raised there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ray.exceptions import RayError


@contextmanager
def plain_errors(kind: type[Exception]) -> Iterator[None]:
    """In place of what Ray wraps around an error of this kind in a task, raises the error itself."""
    try:
        yield
    except RayError as error:
        raise _bottom(error, kind) from None


def _bottom(error: RayError, kind: type[Exception]) -> Exception:
    """The error of type `kind` under `error`, or `error` itself."""
    cause: Any = error
    while cause is not None and type(cause) is not kind:
        cause = getattr(cause, "cause", None) or cause.__cause__
    return error if cause is None else kind(str(cause).splitlines()[0])  # Ray adds lines
