"""Shared parts of reading by Ray Data: the original errors of its tasks, and warnings about skipped episodes."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import ray.data
from ray.exceptions import RayError

from serl_ray.data.errors import DemoError

logger = logging.getLogger(__name__)


@contextmanager
def plain_errors(kind: type[Exception]) -> Iterator[None]:
    """Raises the original error of this kind from a task, without Ray's wrapper around it."""
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


def rows_where(dataset: ray.data.Dataset, condition: pc.Expression) -> ray.data.Dataset:
    """The rows that meet a condition.

    Ray's own `filter` writes the condition into its metrics, which take ASCII alone; the names of episodes are often
    paths.
    """
    return dataset.map_batches(partial(_rows_where, condition=condition), batch_size=None, batch_format="pyarrow")


def _rows_where(batch: pa.Table, condition: pc.Expression) -> pa.Table:
    return batch.filter(condition)


def keep_good(dataset: ray.data.Dataset) -> ray.data.Dataset:
    """The rows of a materialised dataset from `read_demos` that are segments, after a warning about those that were
    left out."""
    errors: list[str] = []
    num_good = 0
    for row in dataset.map(_noted).iter_rows():
        errors += row["errors"]
        num_good += row["is_good"]
    warn_dropped(errors, num_good)
    if not errors:
        return dataset
    good: ray.data.Dataset = dataset.filter(_is_good).map(_without_errors).materialize()
    return good


def _noted(row: dict[str, Any]) -> dict[str, Any]:
    return {"errors": list(row.get("errors", ())), "is_good": _is_good(row)}


def _is_good(row: dict[str, Any]) -> bool:
    return row.get("episode") is not None


def _without_errors(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != "errors"}


def warn_dropped(errors: Sequence[str | DemoError], num_good: int) -> None:
    """Logs the number of dropped episodes, and the first error.

    Raises:
        DemoError: all episodes were dropped.
    """
    if not errors:
        return
    message = f"{len(errors)} of {len(errors) + num_good} episodes dropped: {errors[0]}"
    if not num_good:
        raise DemoError(f"{message} Nothing is left.")
    logger.warning(message)
