"""Stand-ins for the few names that a pickle of plain data asks for: none is the real object, and none trusts the
file."""

from __future__ import annotations

import re
from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

PLAIN_DTYPE = re.compile(r"[biufcSU][1-9]\d{0,8}")
"""Codes of allowed dtypes: booleans, integers, floats, complex numbers and strings, but no objects, records or dates.
Longer codes are refused, because numpy evaluates parts of them."""


class UnsafePickleError(ValueError):
    """A pickle asks for something other than plain data."""


class _Constructor:
    """Replacement of a name in a pickle: callable, without attributes that the file could change."""

    __slots__ = ("_build",)

    def __init__(self, build: Callable[..., Any]) -> None:
        self._build = build

    def __call__(self, *args: Any) -> Any:
        return self._build(*args)

    def __setstate__(self, state: Any) -> None:
        raise UnsafePickleError("this pickle tries to change a function, which plain data never does.")


class PickledDtype:
    """A dtype while it is being unpickled."""

    __slots__ = ("dtype",)

    def __init__(self, code: str, align: bool = False, copy: bool = True) -> None:
        if not isinstance(code, str) or not PLAIN_DTYPE.fullmatch(code):
            fix = " Save numbers, np.asarray(part, np.float32) of each part." if str(code).startswith("O") else ""
            raise UnsafePickleError(
                f"this pickle holds an array of dtype {code!r}; only numbers, booleans and strings are read.{fix}"
            )
        self.dtype = np.dtype(code)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        byte_order, *record = state[1:5]
        if byte_order not in ("<", ">", "=", "|") or any(part is not None for part in record):
            raise UnsafePickleError(
                "this pickle holds an array of records; only numbers, booleans and strings are read."
            )
        self.dtype = self.dtype.newbyteorder(byte_order)


class PickledArray:
    """An array while it is being unpickled: made empty, then filled by the BUILD instruction that follows."""

    __slots__ = ("array",)

    def __init__(self, array: np.ndarray | None = None) -> None:
        self.array = array

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        shape, dtype, is_fortran, raw = state[-4:]  # recent files have a version number before these
        self.array = _array(raw, dtype, shape, "F" if is_fortran else "C")


def _array(raw: Any, dtype: Any, shape: Any, order: str) -> np.ndarray:
    """An array over bytes that are exactly as many as its shape says, so a forged shape takes no memory."""
    if not isinstance(dtype, PickledDtype) or not isinstance(raw, bytes | bytearray):
        raise UnsafePickleError("this pickle holds an array that is not made of plain bytes.")
    if not isinstance(shape, tuple) or not all(type(size) is int and size >= 0 for size in shape):
        raise ValueError(f"an array has the shape {shape!r}")
    if prod(shape) * dtype.dtype.itemsize != len(raw):
        raise ValueError(f"an array of shape {shape} and dtype {dtype.dtype} comes with {len(raw)} bytes")
    return np.ndarray(shape, dtype.dtype, bytes(raw), order="F" if order == "F" else "C")


def _reconstruct(array_type: Any, shape: Any, typecode: Any) -> PickledArray:
    if array_type is not _NDARRAY:
        raise UnsafePickleError("this pickle holds an array that is not a plain numpy array.")
    return PickledArray()


def _from_buffer(raw: Any, dtype: Any, shape: Any, order: str) -> PickledArray:
    return PickledArray(_array(raw, dtype, shape, order))


def _scalar(dtype: Any, raw: Any) -> Any:
    return _array(raw, dtype, (), "C")[()]


def _jax_array(reconstruct: Any, args: tuple[Any, ...], state: tuple[Any, ...], aval_state: Any) -> PickledArray:
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


def _default_dict(factory: Any = None) -> dict[Any, Any]:
    """A dict in place of a `defaultdict`, whose factory is never called."""
    if factory not in (None, _FACTORY):
        raise UnsafePickleError("this pickle holds a defaultdict of something other than lists or dicts.")
    return {}


def _factory(*args: Any) -> None:
    raise UnsafePickleError("this pickle makes a list or dict by calling its type, which pickle itself never writes.")


def _complex(real: float, imaginary: float) -> complex:
    return complex(real, imaginary)


def _ndarray(*args: Any) -> None:
    raise UnsafePickleError("this pickle makes an array by calling numpy.ndarray, which numpy itself never writes.")


_NDARRAY = _Constructor(_ndarray)
_RECONSTRUCT = _Constructor(_reconstruct)
_FACTORY = _Constructor(_factory)
ALLOWED: dict[tuple[str, str], _Constructor] = {
    ("numpy", "ndarray"): _NDARRAY,
    ("numpy", "dtype"): _Constructor(PickledDtype),
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _RECONSTRUCT for core in ("core", "_core")},
    **{(f"numpy.{core}.multiarray", "scalar"): _Constructor(_scalar) for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): _Constructor(_from_buffer) for core in ("core", "_core")},
    ("jax._src.array", "_reconstruct_array"): _Constructor(_jax_array),
    ("jax._src.device_array", "reconstruct_device_array"): _Constructor(_jax_array),
    ("flax.core.frozen_dict", "FrozenDict"): _Constructor(_collection(dict)),
    ("collections", "OrderedDict"): _Constructor(_collection(dict)),
    ("collections", "defaultdict"): _Constructor(_default_dict),
    **{(builtins, name): _FACTORY for builtins in ("builtins", "__builtin__") for name in ("list", "dict")},
    ("_codecs", "encode"): _Constructor(_bytes),
    **{(builtins, "bytes"): _Constructor(_bytes) for builtins in ("builtins", "__builtin__")},
    **{(builtins, "set"): _Constructor(_collection(set)) for builtins in ("builtins", "__builtin__")},
    **{(builtins, "frozenset"): _Constructor(_collection(frozenset)) for builtins in ("builtins", "__builtin__")},
    **{(builtins, "complex"): _Constructor(_complex) for builtins in ("builtins", "__builtin__")},
}

WAYS_OUT = {
    "torch": "Save torch tensors as arrays, tensor.cpu().numpy().",
    "tensorflow": "Save TensorFlow's tensors as arrays, tensor.numpy().",
    "pandas": "Save pandas' tables as a dict of arrays, table[name].to_numpy().",
    "PIL": "Save images as arrays, np.asarray(image).",
    "collections": "Save it as a list or a dict.",
    "pathlib": "Save paths as text, str(path).",
    "joblib": "Write the file by pickle.dump; joblib's arrays are not read.",
}
"""Advice on saving an object that is no plain data, by its package."""


def allowed(module: str, name: str) -> Any:
    """The stand-in for a name in a pickle.

    Raises:
        UnsafePickleError: it is not of plain data; the message says how to save what is often found there.
    """
    if (module, name) in ALLOWED:
        return ALLOWED[module, name]
    fix = WAYS_OUT.get(module.split(".")[0], "Save dicts, lists and numpy arrays, np.asarray(value).")
    raise UnsafePickleError(
        f"this pickle asks for {module}.{name}, which is not plain data, so nothing was loaded. {fix}"
    )
