"""Values of an episode's columns, each row checked against the shape of its feature in `meta/info.json`."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from serl_ray.files.images import decode
from serl_ray.files.tables import check_memory


def holds_numbers(found: pa.DataType | None, within: bool) -> bool:
    """True if a column holds numbers or, with `within`, nested lists of numbers."""
    while within and found is not None and _is_list(found):
        found = found.value_type
    return found is not None and (
        pa.types.is_boolean(found) or pa.types.is_integer(found) or pa.types.is_floating(found)
    )


def holds_images(found: pa.DataType | None) -> bool:
    """True if a column holds encoded images."""
    return found is not None and pa.types.is_struct(found) and found.get_field_index("bytes") >= 0


def read_numbers(table: pa.Table, column: str, shape: Sequence[int], dtype: np.dtype, where: str) -> np.ndarray:
    """The rows (n, *shape) of a column of numbers or nested lists of numbers; `where` names the episode in errors.

    Raises:
        ValueError: a row is empty, has another shape, or holds a number that the dtype cannot.
    """
    array = table.column(column).combine_chunks()
    rows, lengths = np.arange(len(array)), []
    while _is_list(array.type):
        _check_present(array, rows, column, where)
        lengths.append(pc.list_value_length(array).to_numpy())
        array, rows = array.flatten(), np.repeat(rows, lengths[-1])
    _check_present(array, rows, column, where)
    _check_sizes(np.bincount(rows, minlength=len(table)), lengths, shape, f"{where}: {column}")
    values: np.ndarray = array.to_numpy(zero_copy_only=False)
    with np.errstate(invalid="ignore", over="ignore"):
        numbers = values.astype(dtype)
    if dtype.kind in "biu" and (lost := np.flatnonzero(numbers != values)).size:
        raise ValueError(
            f"{where}: {column}: expected numbers that {dtype} holds, found {values[lost[0]]} in frame "
            f"{rows[lost[0]]}. Record the episode again, or leave it out."
        )
    return numbers.reshape(len(table), *shape)


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _check_present(array: pa.Array, rows: np.ndarray, column: str, where: str) -> None:
    if array.null_count:
        frame = rows[np.flatnonzero(array.is_null().to_numpy(zero_copy_only=False))[0]]
        raise ValueError(
            f"{where}: {column} has {array.null_count} empty places, the first in frame {frame}. "
            "Record the episode again, or leave it out."
        )


def _check_sizes(counts: np.ndarray, lengths: list[np.ndarray], shape: Sequence[int], where: str) -> None:
    """Raises ValueError for rows of `counts` (n,) numbers, in nested lists of these lengths, that do not have
    `shape`."""
    wrong = np.flatnonzero(counts != prod(shape))
    is_cut_otherwise = len(lengths) == len(shape) and any(
        (found != size).any() for found, size in zip(lengths, shape, strict=True)
    )
    if not wrong.size and not is_cut_otherwise:
        return
    found = f"{counts[wrong[0]]} of them in frame {wrong[0]}" if wrong.size else "in lists of other lengths"
    raise ValueError(
        f"{where}: expected an array of shape {list(shape)} in each row, as info.json says, found {counts.sum()} "
        f"numbers in {len(counts)} rows, {found}. Copy meta and data of one data set."
    )


def read_images(table: pa.Table, column: str, shape: Sequence[int], where: str) -> np.ndarray:
    """The images (n, H, W, C) uint8 of a column of PNG or JPEG bytes; `where` names the episode and the column in
    errors.

    Raises:
        ValueError: an image is missing, cannot be decoded, or has another shape than (H, W, C).
    """
    encoded = table.column(column).to_pylist()
    if any(image is None or image["bytes"] is None for image in encoded):
        raise ValueError(f"{where}: an image is in a separate file. Embed the images with LeRobot.")
    images: list[np.ndarray] = []
    for frame, image in enumerate(encoded):
        images.append(_image(image["bytes"], tuple(shape), f"{where}: frame {frame}"))
        if not frame:
            check_memory(images[0].nbytes * len(encoded), where)
    return np.stack(images)


def _image(raw: bytes, shape: tuple[int, ...], where: str) -> np.ndarray:
    try:
        image = decode(raw)
    except ValueError as error:
        raise ValueError(f"{where}: {error} Record the episode again, or leave it out.") from error
    if image.dtype != np.uint8:
        raise ValueError(f"{where}: expected images of uint8, found {image.dtype}. {leave_out('this camera')}")
    image = image[..., None] if image.ndim == 2 else image
    if image.shape != shape:
        raise ValueError(
            f"{where}: expected an image of shape {list(shape)}, as info.json says, found {list(image.shape)}. "
            "Convert the images to one shape, and write it into info.json."
        )
    return image


def leave_out(what: str) -> str:
    """The way to read a data set without a column."""
    return f"Remove {what} from the features in meta/info.json to read the data set without it."
