"""Arrays as columns of Arrow: vectors as lists of numbers, arrays with other axes as raw bytes in C order."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from serl_ray.data.schema import ArraySpec


def to_arrow(rows: np.ndarray, spec: ArraySpec) -> pa.Array:
    """Vectors (n, D) as lists of numbers, other rows (n, ...) as raw bytes."""
    if len(spec.shape) == 1:
        return pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), spec.shape[0])
    contiguous = np.ascontiguousarray(rows, spec.dtype)
    return pa.Array.from_buffers(pa.binary(spec.nbytes), len(rows), [None, pa.py_buffer(contiguous)])


def to_numpy(column: pa.ChunkedArray, spec: ArraySpec, where: str) -> np.ndarray:
    """The rows (n, ...) of a column without nulls; `where` names it in errors.

    Raises:
        ValueError: a row is a vector of another length.
    """
    array = column.combine_chunks()
    if len(spec.shape) == 1:
        lengths = {array.type.list_size} if pa.types.is_fixed_size_list(array.type) else set(np.diff(array.offsets))
        if wrong := lengths - {spec.shape[0]}:
            raise ValueError(
                f"{where}: expected {spec} in each row, found one of {wrong.pop()} numbers. Copy the file again."
            )
        numbers: np.ndarray = array.flatten().to_numpy(zero_copy_only=False)
        return numbers.reshape(len(array), *spec.shape)
    start = array.offset * spec.nbytes
    raw = memoryview(array.buffers()[1])[start : start + len(array) * spec.nbytes]
    return np.frombuffer(raw, spec.dtype).reshape(len(array), *spec.shape)


def holds(found: pa.DataType | None, spec: ArraySpec) -> bool:
    """True if a column of this type holds arrays of this spec, in the form of `to_arrow` or as lists of any length."""
    if len(spec.shape) != 1:
        return found is not None and pa.types.is_fixed_size_binary(found) and bool(found.byte_width == spec.nbytes)
    if found is None or not (
        pa.types.is_fixed_size_list(found) or pa.types.is_list(found) or pa.types.is_large_list(found)
    ):
        return False
    return bool(found.value_type == pa.from_numpy_dtype(spec.dtype))
