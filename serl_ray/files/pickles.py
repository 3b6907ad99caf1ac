"""Safe reading of pickles of plain data: nothing in the file is executed.

A pickle is a program that may import and call any function. Here a file can reach only the names in `_ALLOWED`, and
each of them stands for a constructor of this module, never for the real object. numpy's own code for arrays and dtypes
is not used either, because it trusts shapes and flags that a file can forge. A small file cannot take much memory: its
instructions are scanned first, and shared values are counted. A hostile file can still take time.
"""

from __future__ import annotations

import pickle
import pickletools
import re
import struct
from collections.abc import Callable
from math import prod
from os import PathLike
from typing import Any, BinaryIO

import numpy as np

PLAIN_DTYPE = re.compile(r"[biufcSU][1-9]\d{0,8}")
"""Codes of allowed dtypes: booleans, integers, floats, complex numbers and strings, but no objects, records or dates.
Longer codes are refused, because numpy evaluates parts of them."""

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


class UnsafePickleError(ValueError):
    """A pickle asks for something other than plain data."""


def open_local(path: str | PathLike[str]) -> BinaryIO:
    """A local file to read bytes from."""
    return open(path, "rb")


def load_pickle(path: str | PathLike[str], open_input: Callable[[str | PathLike[str]], BinaryIO] = open_local) -> Any:
    """Plain data from a pickle of any protocol.

    Numbers, strings, lists, tuples, sets, dicts and numpy arrays come back unchanged, ordered and flax dicts as dicts,
    and jax arrays as numpy arrays. Arrays share the bytes of the file, so they are read-only. The file is read twice.

    Args:
        path: path of the pickle.
        open_input: function that opens `path`; the default opens a local file.

    Raises:
        UnsafePickleError: the file names anything else (which is not imported), contains itself, or has too many
            values.
        ValueError: the file is cut off, or is not a pickle.
    """
    with open_input(path) as file:
        try:
            num_instructions = _count_instructions(file)
            file.seek(0)
            value, num_values = _plain(_DataUnpickler(file).load(), {})
            if num_values > MAX_SHARING * num_instructions:
                raise UnsafePickleError(f"this pickle of {num_instructions} instructions has {num_values} values.")
            return value
        except UnsafePickleError as error:
            raise UnsafePickleError(f"{path}: {error}") from None
        except MALFORMED as error:
            raise ValueError(
                f"{path}: cut off, or not a pickle ({type(error).__name__}: {error}). Copy the file again."
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
        if (module, name) not in _ALLOWED:
            raise UnsafePickleError(f"this pickle asks for {module}.{name}, which is not plain data, so nothing was loaded.")
        return _ALLOWED[module, name]


class _Constructor:
    """Replacement of a name in a pickle: callable, without attributes that the file could change."""

    __slots__ = ("_build",)

    def __init__(self, build: Callable[..., Any]) -> None:
        self._build = build

    def __call__(self, *args: Any) -> Any:
        return self._build(*args)

    def __setstate__(self, state: Any) -> None:
        raise UnsafePickleError("this pickle tries to change a function, which plain data never does.")


class _PickledDtype:
    """A dtype while it is being unpickled."""

    __slots__ = ("dtype",)

    def __init__(self, code: str, align: bool = False, copy: bool = True) -> None:
        if not isinstance(code, str) or not PLAIN_DTYPE.fullmatch(code):
            raise UnsafePickleError(f"this pickle holds an array of dtype {code!r}; only numbers, booleans and strings are read.")
        self.dtype = np.dtype(code)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        byte_order, *record = state[1:5]
        if byte_order not in ("<", ">", "=", "|") or any(part is not None for part in record):
            raise UnsafePickleError("this pickle holds an array of records; only numbers, booleans and strings are read.")
        self.dtype = self.dtype.newbyteorder(byte_order)


class _PickledArray:
    """An array while it is being unpickled: made empty, then filled by the BUILD instruction that follows."""

    __slots__ = ("array",)

    def __init__(self, array: np.ndarray | None = None) -> None:
        self.array = array

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        shape, dtype, is_fortran, raw = state[-4:]  # recent files have a version number before these
        self.array = _array(raw, dtype, shape, "F" if is_fortran else "C")


def _array(raw: Any, dtype: Any, shape: Any, order: str) -> np.ndarray:
    """An array over bytes that are exactly as many as its shape says, so a forged shape takes no memory."""
    if not isinstance(dtype, _PickledDtype) or not isinstance(raw, bytes | bytearray):
        raise UnsafePickleError("this pickle holds an array that is not made of plain bytes.")
    if not isinstance(shape, tuple) or not all(type(size) is int and size >= 0 for size in shape):
        raise ValueError(f"an array has the shape {shape!r}")
    if prod(shape) * dtype.dtype.itemsize != len(raw):
        raise ValueError(f"an array of shape {shape} and dtype {dtype.dtype} comes with {len(raw)} bytes")
    return np.ndarray(shape, dtype.dtype, bytes(raw), order="F" if order == "F" else "C")


def _reconstruct(array_type: Any, shape: Any, typecode: Any) -> _PickledArray:
    if array_type is not _NDARRAY:
        raise UnsafePickleError("this pickle holds an array that is not a plain numpy array.")
    return _PickledArray()


def _from_buffer(raw: Any, dtype: Any, shape: Any, order: str) -> _PickledArray:
    return _PickledArray(_array(raw, dtype, shape, order))


def _scalar(dtype: Any, raw: Any) -> Any:
    return _array(raw, dtype, (), "C")[()]


def _jax_array(reconstruct: Any, args: tuple[Any, ...], state: tuple[Any, ...], aval_state: Any) -> _PickledArray:
    if reconstruct is not _RECONSTRUCT:
        raise UnsafePickleError("this pickle holds a jax array that is not stored as a numpy array.")
    array = _reconstruct(*args)
    array.__setstate__(state)
    return array


def _bytes(text: str = "", encoding: str = "latin1") -> bytes:
    """Bytes as protocol 2 writes them: a string to encode as latin-1, or no argument for empty bytes."""
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise UnsafePickleError(
            f"this pickle makes bytes from a {type(text).__name__} by {encoding!r}; only latin-1 text is read."
        )
    return text.encode("latin-1")


def _collection(build: type) -> Callable[..., Any]:
    """A constructor that accepts only a container as its argument."""

    def construct(items: Any = ()) -> Any:
        if not isinstance(items, list | tuple | dict | set):
            raise UnsafePickleError(f"this pickle makes a {build.__name__} from a {type(items).__name__}.")
        return build(items)

    return construct


def _complex(real: float, imaginary: float) -> complex:
    return complex(real, imaginary)


def _ndarray(*args: Any) -> None:
    raise UnsafePickleError("this pickle makes an array by calling numpy.ndarray, which numpy itself never writes.")


_NDARRAY = _Constructor(_ndarray)
_RECONSTRUCT = _Constructor(_reconstruct)
_ALLOWED: dict[tuple[str, str], _Constructor] = {
    ("numpy", "ndarray"): _NDARRAY,
    ("numpy", "dtype"): _Constructor(_PickledDtype),
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _RECONSTRUCT for core in ("core", "_core")},
    **{(f"numpy.{core}.multiarray", "scalar"): _Constructor(_scalar) for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): _Constructor(_from_buffer) for core in ("core", "_core")},
    ("jax._src.array", "_reconstruct_array"): _Constructor(_jax_array),
    ("jax._src.device_array", "reconstruct_device_array"): _Constructor(_jax_array),
    ("flax.core.frozen_dict", "FrozenDict"): _Constructor(_collection(dict)),
    ("collections", "OrderedDict"): _Constructor(_collection(dict)),
    ("_codecs", "encode"): _Constructor(_bytes),
    **{(builtins, "bytes"): _Constructor(_bytes) for builtins in ("builtins", "__builtin__")},
    **{(builtins, "set"): _Constructor(_collection(set)) for builtins in ("builtins", "__builtin__")},
    **{(builtins, "frozenset"): _Constructor(_collection(frozenset)) for builtins in ("builtins", "__builtin__")},
    **{(builtins, "complex"): _Constructor(_complex) for builtins in ("builtins", "__builtin__")},
}

_ATOMS = (str, bytes, bytearray, int, float, complex, bool, type(None), np.generic)


def _plain(value: Any, done: dict[int, tuple[Any, int] | None]) -> tuple[Any, int]:
    """`value` with every `_PickledArray` replaced by its array, and the number of values in it.

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
    if isinstance(value, _PickledArray) and value.array is not None:
        return value.array
    if isinstance(value, _PickledDtype):
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
