"""Safe reading of pickles of plain data: nothing in the file is executed.

A pickle is a program that may import and call any function. Here a file can reach only the names in
`pickled_types.ALLOWED`, and each of them stands for a constructor of that module, never for the real object. numpy's
own code for arrays and dtypes is not used either, because it trusts shapes and flags that a file can forge. A small
file cannot take much memory: its instructions are scanned first, and shared values are counted. A hostile file can
still take time.
"""

from __future__ import annotations

import pickle
import pickletools
import struct
from collections.abc import Callable, Iterator
from os import PathLike
from typing import Any, BinaryIO

import numpy as np

from serl_ray.files.lfs import MAX_POINTER_BYTES, check_not_lfs_pointer
from serl_ray.files.pickled_types import PickledArray, PickledDtype, UnsafePickleError, allowed

MALFORMED = (
    pickle.UnpicklingError,
    EOFError,
    AttributeError,
    IndexError,
    KeyError,
    TypeError,
    ValueError,
    OverflowError,
    MemoryError,
    RecursionError,
    AssertionError,
    struct.error,
)
"""Exceptions that `pickle` raises for a file that is cut off or is no pickle."""

PUTS = ("PUT", "BINPUT", "LONG_BINPUT")
"""Instructions that give a value a number. `pickle` allocates a table as large as the number."""
MAX_SHARING = 100
"""Limit of values per instruction of a file; a value that is used twice counts twice."""
OTHER_KINDS = {
    b"PK\x03\x04": "a ZIP archive, as torch.save and np.savez write them. Load it, and write its arrays by "
    "pickle.dump.",
    b"\x93NUMPY": "an array of np.save. Write the data by pickle.dump.",
    b"\x89HDF": "an HDF5 file. Load it, and write its arrays by pickle.dump.",
    b"\x1f\x8b": "compressed by gzip. Run gunzip.",
    b"BZh": "compressed by bzip2. Run bunzip2; only gzip is read.",
    b"\xfd7zXZ": "compressed by xz. Run unxz; only gzip is read.",
    b"\x28\xb5\x2f\xfd": "compressed by zstd. Run unzstd; only gzip is read.",
}
"""First bytes of files that people name like pickles; what they are, and the way out."""


def open_local(path: str | PathLike[str]) -> BinaryIO:
    """A local file to read bytes from."""
    return open(path, "rb")


def load_pickle(path: str | PathLike[str], open_input: Callable[[str | PathLike[str]], BinaryIO] = open_local) -> Any:
    """Plain data from a file of one pickle; see `load_pickles`.

    Raises:
        ValueError: there is more behind the pickle.
    """
    values = load_pickles(path, open_input)
    value = next(values)
    if next(values, _END) is not _END:
        raise ValueError(f"{path}: several pickles, one behind the other. Write one, of a list of what they hold.")
    return value


def load_pickles(
    path: str | PathLike[str], open_input: Callable[[str | PathLike[str]], BinaryIO] = open_local
) -> Iterator[Any]:
    """Plain data from the pickles of any protocol in a file: one, or several that were appended one by one.

    Numbers, strings, lists, tuples, sets, dicts and numpy arrays come back unchanged, ordered, default and flax dicts
    as dicts, and jax arrays as numpy arrays. Arrays share the bytes of the file, so they are read-only. The file is
    read twice.

    Args:
        path: path of the file.
        open_input: function that opens `path`; the default opens a local file.

    Raises:
        UnsafePickleError: the file names anything else (which is not imported), contains itself, or has too many
            values.
        ValueError: the file is cut off, or is not a pickle.
    """
    with open_input(path) as file:
        _check_kind(path, file)
        start = 0
        while True:
            value, start = _load_from(path, file, start)
            yield value
            file.seek(start)
            if not file.read(1):
                return


_END = object()


def _check_kind(path: str | PathLike[str], file: BinaryIO) -> None:
    """Raises ValueError for a file that is known to be something else; otherwise goes back to its start."""
    first_bytes = file.read(MAX_POINTER_BYTES)
    check_not_lfs_pointer(str(path), first_bytes)
    kind = next((kind for start, kind in OTHER_KINDS.items() if first_bytes.startswith(start)), None)
    if kind is not None:
        raise ValueError(f"{path}: not a pickle, but {kind}")
    file.seek(0)


def _load_from(path: str | PathLike[str], file: BinaryIO, start: int) -> tuple[Any, int]:
    """The value of the pickle that starts there, and where it stops."""
    try:
        file.seek(start)
        num_instructions = _count_instructions(file)
        stop = file.tell()
        file.seek(start)
        value, num_values = _plain(_DataUnpickler(file).load(), {})
        if num_values > MAX_SHARING * num_instructions:
            raise UnsafePickleError(f"this pickle of {num_instructions} instructions has {num_values} values.")
        return value, stop
    except UnsafePickleError as error:
        raise UnsafePickleError(f"{path}: {error}") from None
    except MALFORMED as error:
        where = f" behind byte {start}" if start else ""
        raise ValueError(
            f"{path}: cut off, or not a pickle{where} ({type(error).__name__}: {error}). Copy the file again."
        ) from error


def _count_instructions(file: BinaryIO) -> int:
    """The number of instructions in a pickle; a ValueError for value numbers that would allocate too much memory."""
    num_instructions = 0
    for instruction, argument, _ in pickletools.genops(file):
        if instruction.name in PUTS and argument is not None and argument > num_instructions:
            raise ValueError(f"its value number {argument} comes after {num_instructions} instructions")
        num_instructions += 1
    return num_instructions


class _DataUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        return allowed(module, name)


_ATOMS = (str, bytes, bytearray, int, float, complex, bool, type(None), np.generic)


def _plain(value: Any, done: dict[int, tuple[Any, int] | None]) -> tuple[Any, int]:
    """`value` with every `PickledArray` replaced by its array, and the number of values in it.

    `done` holds the results of containers by id, so that shared values stay shared, and None for unfinished ones.
    """
    if not isinstance(value, dict | list | tuple | set | frozenset):
        return _plain_leaf(value), 1
    if id(value) not in done:
        done[id(value)] = None
        done[id(value)] = _plain_container(value, done)
    result = done[id(value)]
    if result is None:
        raise UnsafePickleError(f"this pickle holds a {type(value).__name__} that contains itself.")
    return result


def _plain_container(value: Any, done: dict[int, tuple[Any, int] | None]) -> tuple[Any, int]:
    if isinstance(value, set | frozenset):
        return type(value)(map(_checked_key, value)), 1 + len(value)
    keys = list(map(_checked_key, value)) if isinstance(value, dict) else range(len(value))
    parts = [_plain(value[key], done) for key in keys]
    num_values = 1 + sum(count for _, count in parts)
    if isinstance(value, tuple):
        return tuple(part for part, _ in parts), num_values
    for key, (part, _) in zip(keys, parts, strict=True):
        value[key] = part
    return value, num_values


def _plain_leaf(value: Any) -> Any:
    if isinstance(value, PickledArray) and value.array is not None:
        return value.array
    if isinstance(value, PickledDtype):
        return value.dtype
    if not isinstance(value, _ATOMS):
        raise UnsafePickleError("this pickle holds a bare function or an unfinished array, which is not plain data.")
    return value


def _checked_key(key: Any) -> Any:
    """A dict key or set member: a number, a string, or a tuple or frozen set of them."""
    for part in key if isinstance(key, tuple | frozenset) else (key,):
        if not isinstance(part, _ATOMS):
            raise UnsafePickleError(f"this pickle uses a {type(part).__name__} as a key, which is not plain data.")
    return key
