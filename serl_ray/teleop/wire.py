"""Messages between robots, the hub and operators: a JSON header with raw blobs, from which nothing is ever executed.

A message is `uint32 length of the header | header | blobs`, little endian. The header is a JSON object with `kind`,
`fields` and `blobs`; a blob is an array, with its dtype and shape, or a JPEG, with its length.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Container, Iterable
from dataclasses import dataclass, field
from typing import Any, NoReturn

import numpy as np

MAX_BYTES = 8 * 2**20
"""Greatest size of a message."""
MAX_HEADER = 64 * 2**10
"""Greatest size of its header."""
MAX_DEPTH = 6
"""Greatest number of arrays and objects in one another in a header."""
MAX_BLOBS = 16
"""Greatest number of blobs in a message."""
MAX_RANK = 4
"""Greatest number of dimensions of an array."""
LENGTH = struct.Struct("<I")
NUMBERS = "bool uint8 int8 uint16 int16 uint32 int32 uint64 int64 float16 float32 float64"
DTYPES = {name: np.dtype(name).newbyteorder("<") for name in NUMBERS.split()}
"""The dtypes that an array may have: numbers alone, because an object's bytes would be read as addresses."""
JPEG = "jpeg"
JPEG_MAGIC = b"\xff\xd8\xff"


class WireError(ValueError):
    """Bytes that are no message: too long, cut off, damaged, or of a form that is never sent."""


@dataclass(frozen=True)
class Message:
    """A message.

    Attributes:
        kind: what it is about.
        fields: JSON values by name.
        arrays: arrays of numbers by name.
        jpegs: JPEG files by name.
    """

    kind: str
    fields: dict[str, Any] = field(default_factory=dict)
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    jpegs: dict[str, bytes] = field(default_factory=dict)


def pack(message: Message) -> bytes:
    """The bytes of a message.

    Raises:
        WireError: the message holds what has no form on the wire, or `unpack` would not accept it.
    """
    blobs: list[dict[str, Any]] = []
    raw: list[bytes] = []
    for name, array in message.arrays.items():
        if array.dtype.name not in DTYPES:
            raise WireError(f"Array {name!r} is {array.dtype}; it must be one of {', '.join(DTYPES)}.")
        blobs.append({"name": name, "dtype": array.dtype.name, "shape": list(array.shape)})
        raw.append(np.ascontiguousarray(array, DTYPES[array.dtype.name]).tobytes())
    for name, jpeg in message.jpegs.items():
        blobs.append({"name": name, "dtype": JPEG, "shape": [len(jpeg)]})
        raw.append(jpeg)
    described = {"kind": message.kind, "fields": message.fields, "blobs": blobs}
    try:
        header = json.dumps(described, allow_nan=False, separators=(",", ":")).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise WireError(f"The fields of a {message.kind!r} message have no form in JSON: {error}.") from error
    packed = b"".join([LENGTH.pack(len(header)), header, *raw])
    unpack(packed)  # a fault is found where the message is made, and not by whoever gets it
    return packed


def unpack(packed: bytes) -> Message:
    """The reverse of `pack`, for bytes of anybody's.

    Raises:
        WireError: the bytes are no message.
    """
    if not LENGTH.size <= len(packed) <= MAX_BYTES:
        raise WireError(f"A message has {len(packed)} bytes; it must have from {LENGTH.size} to {MAX_BYTES}.")
    [length] = LENGTH.unpack_from(packed)
    if length > min(MAX_HEADER, len(packed) - LENGTH.size):
        raise WireError(f"The header of a message is said to have {length} bytes, of {len(packed)} in all.")
    header = _header(packed[LENGTH.size : LENGTH.size + length])
    message = Message(header["kind"], header["fields"])
    rest = memoryview(packed)[LENGTH.size + length :]
    for blob in header["blobs"]:
        rest = _take(message, blob, rest)
    if len(rest):
        raise WireError(f"{len(rest)} bytes follow the last blob of a message.")
    return message


def _header(raw: bytes) -> dict[str, Any]:
    try:
        header = json.loads(raw, object_pairs_hook=_unique, parse_constant=_no_number, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise WireError(f"The header of a message is no JSON: {error}.") from error
    if not isinstance(header, dict) or header.keys() != {"kind", "fields", "blobs"}:
        raise WireError("The header of a message is no object of kind, fields and blobs.")
    if _depth(header, MAX_DEPTH) > MAX_DEPTH:
        raise WireError(f"The header of a message is more than {MAX_DEPTH} levels deep.")
    types = {"kind": str, "fields": dict, "blobs": list}
    if wrong := [name for name, kind in types.items() if not isinstance(header[name], kind)]:
        raise WireError(f"The {wrong[0]} of a message is {type(header[wrong[0]]).__name__}.")
    if len(header["blobs"]) > MAX_BLOBS:
        raise WireError(f"A message has {len(header['blobs'])} blobs; {MAX_BLOBS} are allowed.")
    return header


def _take(message: Message, blob: Any, rest: memoryview) -> memoryview:
    """Adds the next blob to the message, and returns the bytes that follow it."""
    if not isinstance(blob, dict) or blob.keys() != {"name", "dtype", "shape"}:
        raise WireError("A blob is no object of name, dtype and shape.")
    name, dtype, shape = blob["name"], blob["dtype"], blob["shape"]
    if not isinstance(name, str) or name in message.arrays or name in message.jpegs:
        raise WireError(f"A blob is named {name!r:.40}; it must have a name of its own.")
    if not _is_shape(shape, {1} if dtype == JPEG else range(MAX_RANK + 1)):
        raise WireError(f"Blob {name!r:.40} has the shape {shape!r:.60}.")
    if not isinstance(dtype, str) or (dtype != JPEG and dtype not in DTYPES):
        raise WireError(f"Blob {name!r:.40} is {dtype!r:.40}; it must be {JPEG} or one of {', '.join(DTYPES)}.")
    size = math.prod(shape) * (1 if dtype == JPEG else DTYPES[dtype].itemsize)
    if size > len(rest):
        raise WireError(f"Blob {name!r:.40} needs {size} bytes, and {len(rest)} are there.")
    if dtype == JPEG:
        message.jpegs[name] = _jpeg(name, bytes(rest[:size]))
    else:
        message.arrays[name] = _array(name, np.frombuffer(rest[:size], DTYPES[dtype]).reshape(shape))
    return rest[size:]


def _array(name: str, array: np.ndarray) -> np.ndarray:
    """A copy of an array in the machine's byte order; numbers of a robot are finite, and a bool is 0 or 1."""
    if array.dtype.kind == "b":
        array = np.asarray(array.view(np.uint8) != 0)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise WireError(f"Array {name!r:.40} has numbers that are not finite.")
    return array.astype(array.dtype.newbyteorder("="))


def _jpeg(name: str, raw: bytes) -> bytes:
    if not raw.startswith(JPEG_MAGIC):
        raise WireError(f"Blob {name!r:.40} is no JPEG.")
    return raw


def _unique(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"{name!r:.40} is there twice")
        found[name] = value
    return found


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


def _finite(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _no_number(text[:40])


def _is_shape(shape: Any, ranks: Container[int]) -> bool:
    """True for sizes that fit into a message; an empty array's other sizes must, too, or NumPy cannot count them."""
    if not isinstance(shape, list) or len(shape) not in ranks:
        return False
    return all(type(size) is int and size >= 0 for size in shape) and math.prod(filter(None, shape)) <= MAX_BYTES


def _depth(value: Any, limit: int) -> int:
    """The number of arrays and objects in one another; counting ends beyond the limit."""
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    if parts is None:
        return 0
    return 1 + (max((_depth(part, limit - 1) for part in parts), default=0) if limit else 0)
