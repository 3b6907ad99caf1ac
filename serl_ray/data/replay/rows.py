"""Rows of a replay buffer: their columns, and the memory that they take."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import numpy as np

from serl_ray.data.schema import SCALAR_FIELDS, ArraySpec
from serl_ray.utils.memory import free_memory

logger = logging.getLogger(__name__)

MAX_MEMORY_SHARE = 0.8
"""Largest share of the free memory that a new buffer may take."""


def new_rows(
    observation_spec: Mapping[str, ArraySpec], action_dim: int, capacity: int, name: str, promised: int
) -> dict[str, np.ndarray]:
    """Empty columns (capacity, ...) of a ring; their pages take physical memory only when they are written.

    Args:
        observation_spec: shape and dtype of each observation key.
        action_dim: length of an env action.
        capacity: number of rows.
        name: name of the ring in log lines and errors.
        promised: bytes of free memory that other rings will take when they fill.

    Raises:
        MemoryError: the rows need more than `MAX_MEMORY_SHARE` of the free memory that is not promised.
    """
    _check_memory(name, observation_spec, capacity, capacity * row_bytes(observation_spec, action_dim), promised)
    specs = _row_specs(observation_spec, action_dim)
    return {column: np.zeros((capacity, *spec.shape), spec.dtype) for column, spec in specs.items()}


def row_bytes(observation_spec: Mapping[str, ArraySpec], action_dim: int) -> int:
    """Bytes of one row of a ring."""
    return sum(spec.nbytes for spec in _row_specs(observation_spec, action_dim).values())


def _row_specs(observation_spec: Mapping[str, ArraySpec], action_dim: int) -> dict[str, ArraySpec]:
    """Shapes and dtypes of one row of a ring, by column."""
    return {
        **{f"observations/{key}": spec for key, spec in observation_spec.items()},
        "actions": ArraySpec((action_dim,), np.dtype(np.float32)),
        **{field: ArraySpec((), dtype) for field, dtype in SCALAR_FIELDS.items()},
        "next_row": ArraySpec((), np.dtype(np.int64)),
        "previous_row": ArraySpec((), np.dtype(np.int64)),
        "valid": ArraySpec((), np.dtype(bool)),
    }


def _check_memory(
    name: str, observation_spec: Mapping[str, ArraySpec], capacity: int, nbytes: int, promised: int
) -> None:
    """Logs the size of a ring, and raises MemoryError if there is not enough memory."""
    num_cameras = sum(len(spec.shape) >= 3 for spec in observation_spec.values())
    free = max(free_memory() - promised, 0)
    cost = f"{name}: {capacity:,} observations, {num_cameras} cameras, {nbytes / 1e9:.1f} GB; {free / 1e9:.0f} GB free"
    logger.info(cost)
    if nbytes > MAX_MEMORY_SHARE * free:
        raise MemoryError(
            f"{cost}, of which {MAX_MEMORY_SHARE:.0%} may be used. Choose a smaller --capacity or fewer cameras."
        )
