"""Messages on the wire: what is sent comes back, and bytes of anybody's are a message or refused."""

from __future__ import annotations

import json
from typing import Any

import memory
import numpy as np
import pytest
from fuzzing import EDITS, edited, fuzz
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as nps

from serl_ray.teleop.wire import (
    DTYPES,
    JPEG_MAGIC,
    LENGTH,
    MAX_BLOBS,
    MAX_BYTES,
    MAX_DEPTH,
    MAX_HEADER,
    MAX_RANK,
    Message,
    WireError,
    pack,
    unpack,
)

MOST_GROWTH = 2**26
"""Bytes that reading one message may add to the process."""
NAMES = st.text(max_size=12)
LEAVES = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    LEAVES | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=6,
)
FIELDS = st.dictionaries(NAMES, VALUES, max_size=4)
SHAPES = st.lists(st.integers(0, 4), max_size=MAX_RANK).map(tuple)
ARRAYS = st.sampled_from(sorted(DTYPES)).flatmap(
    lambda dtype: nps.arrays(
        dtype,
        SHAPES,
        elements={"allow_nan": False, "allow_infinity": False} if dtype.startswith("float") else None,
    )
)
JPEGS = st.binary(max_size=40).map(JPEG_MAGIC.__add__)


@st.composite
def messages(draw: st.DrawFn) -> Message:
    names = draw(st.lists(NAMES, unique=True, max_size=5))
    is_array = draw(st.lists(st.booleans(), min_size=len(names), max_size=len(names)))
    arrays = {name: draw(ARRAYS) for name, array in zip(names, is_array, strict=True) if array}
    jpegs = {name: draw(JPEGS) for name in names if name not in arrays}
    return Message(draw(NAMES), draw(FIELDS), arrays, jpegs)


def header(blobs: Any = (), kind: Any = "x", fields: Any = None, **more: Any) -> dict[str, Any]:
    return {"kind": kind, "fields": {} if fields is None else fields, "blobs": list(blobs), **more}


def blob(name: Any = "a", dtype: Any = "uint8", shape: Any = (1,), **more: Any) -> dict[str, Any]:
    return {"name": name, "dtype": dtype, "shape": list(shape) if isinstance(shape, tuple) else shape, **more}


def framed(described: Any, rest: bytes = b"") -> bytes:
    """Bytes with this header, as JSON unless it is text already."""
    text = described if isinstance(described, str) else json.dumps(described)
    return LENGTH.pack(len(text.encode())) + text.encode() + rest


def is_read_or_refused(raw: bytes) -> None:
    try:
        message = unpack(raw)
    except WireError as error:
        assert len(str(error)) < 400
    else:
        assert isinstance(message, Message)
        assert sum(array.nbytes for array in message.arrays.values()) <= len(raw)


@given(message=messages())
@settings(max_examples=60, deadline=None)
def test_what_is_sent_comes_back(message):
    try:
        read = unpack(pack(message))
    except WireError as error:
        assert "levels deep" in str(error)
        return
    assert (read.kind, read.fields, read.jpegs) == (message.kind, message.fields, message.jpegs)
    assert [*read.arrays] == [*message.arrays]
    for name, array in message.arrays.items():
        assert (read.arrays[name].dtype, read.arrays[name].shape) == (array.dtype, array.shape)
        assert read.arrays[name].tobytes() == array.tobytes()
        assert read.arrays[name].flags.writeable and read.arrays[name].flags.owndata


@pytest.mark.parametrize("dtype", sorted(DTYPES))
def test_arrays_of_every_dtype_and_layout_come_back(dtype):
    array = np.arange(24).reshape(2, 3, 4).astype(dtype)
    for sent in (array, array.T, array[:, ::2], np.asfortranarray(array), array.astype(array.dtype.newbyteorder(">"))):
        read = unpack(pack(Message("x", arrays={"a": sent}))).arrays["a"]
        assert read.dtype == np.dtype(dtype) and read.dtype.isnative
        np.testing.assert_array_equal(read, sent)


def test_the_layout_of_a_message_is_that_of_the_page():
    raw = pack(Message("command", {"epoch": 1}, {"action": np.array([1.0, -1.0], np.float32)}))
    text = b'{"kind":"command","fields":{"epoch":1},"blobs":[{"name":"action","dtype":"float32","shape":[2]}]}'
    assert raw == len(text).to_bytes(4, "little") + text + b"\x00\x00\x80\x3f\x00\x00\x80\xbf"


GOOD = pack(
    Message(
        "frame",
        {"frame": 7, "state": {"counts": {"takeovers": 3}, "refusals": ["No."], "held": 0.5}},
        {"action": np.linspace(-1, 1, 7, dtype=np.float32), "is_held": np.array(True), "none": np.zeros((0, 3))},
        {"front": JPEG_MAGIC + bytes(30)},
    )
)


@given(edits=EDITS)
@fuzz(300)
def test_a_message_with_changed_bytes(edits):
    is_read_or_refused(edited(GOOD, edits))


@given(raw=st.binary(max_size=80), is_framed=st.booleans())
@fuzz(200)
def test_any_bytes(raw, is_framed):
    is_read_or_refused(LENGTH.pack(len(raw)) + raw if is_framed else raw)


@given(data=st.data(), value=VALUES | st.sampled_from([-1, 2**31, 2**63, 10**400, "object", "float64", "jpeg"]))
@fuzz(200)
def test_a_header_with_one_value_changed(data, value):
    [length] = LENGTH.unpack_from(GOOD)
    described = inner = json.loads(GOOD[LENGTH.size : LENGTH.size + length])
    while True:
        key = data.draw(st.sampled_from(sorted(inner) if isinstance(inner, dict) else range(len(inner))))
        if not (isinstance(inner[key], dict | list) and inner[key] and data.draw(st.booleans())):
            break
        inner = inner[key]
    inner[key] = value
    is_read_or_refused(framed(described, GOOD[LENGTH.size + length :]))


@given(
    described=st.lists(
        st.builds(
            blob,
            name=NAMES,
            dtype=st.sampled_from([*DTYPES, "jpeg"]),
            shape=st.lists(st.sampled_from([0, 1, 2, 3, 2**10, 2**20, MAX_BYTES]), max_size=MAX_RANK),
        ),
        max_size=4,
    ),
    rest=st.binary(max_size=60),
)
@fuzz(150)
def test_blobs_of_any_shapes(described, rest):
    is_read_or_refused(framed(header(described), rest))


BAD = {
    "no bytes": (b"", "has 0 bytes"),
    "three bytes": (b"\0\0\0", "has 3 bytes"),
    "an empty header": (framed(""), "no JSON"),
    "no JSON": (framed("{"), "no JSON"),
    "no text": (LENGTH.pack(2) + b"\xff\xfe", "no JSON"),
    "too long": (framed(header(), bytes(MAX_BYTES)), "bytes; it must have"),
    "a header that is longer than the message": (LENGTH.pack(9) + b"{}", "said to have 9 bytes"),
    "a header of 4 GiB": (LENGTH.pack(2**32 - 1) + b"{}", "said to have"),
    "a header that is too long": (framed(header(fields={"a": "b" * MAX_HEADER})), "said to have"),
    "a list": (framed([]), "no object of kind"),
    "a field too many": (framed(header(more=1)), "no object of kind"),
    "a field too few": (framed({"kind": "x", "fields": {}}), "no object of kind"),
    "a kind that is no text": (framed(header(kind=1)), "kind of a message is int"),
    "fields that are a list": (framed(header(fields=[])), "fields of a message is list"),
    "blobs that are an object": (framed({"kind": "x", "fields": {}, "blobs": {}}), "blobs of a message is dict"),
    "NaN": (framed(header(fields={"a": float("nan")})), "NaN is no number"),
    "infinity": (framed(header(fields={"a": float("-inf")})), "-Infinity is no number"),
    "a number that becomes infinite": (framed('{"kind":"x","fields":{"a":1e999},"blobs":[]}'), "1e999 is no number"),
    "a whole number of 5000 digits": (framed(f'{{"kind":"x","fields":{{"a":{"9" * 5000}}},"blobs":[]}}'), "no JSON"),
    "a key twice": (framed('{"kind":"x","kind":"y","fields":{},"blobs":[]}'), "'kind' is there twice"),
    "a key twice within": (framed('{"kind":"x","fields":{"a":{"b":1,"b":2}},"blobs":[]}'), "'b' is there twice"),
    "one level too deep": (framed(header(fields={"a": [[[[[]]]]]})), f"more than {MAX_DEPTH} levels"),
    "60000 levels": (framed("[" * 60000), "no JSON"),
    "10000 closed levels": (
        framed(f'{{"kind":"x","fields":{{"a":{"[" * 10000}{"]" * 10000}}},"blobs":[]}}'),
        "message",
    ),
    "trailing bytes": (framed(header([blob()]), b"ab"), "1 bytes follow"),
    "bytes without a blob": (framed(header(), b"a"), "1 bytes follow"),
    "too few bytes": (framed(header([blob(shape=(3,))]), b"ab"), "needs 3 bytes, and 2"),
    "a shape of more bytes": (framed(header([blob(dtype="float64", shape=(2,))]), bytes(8)), "needs 16 bytes"),
    "a name twice": (framed(header([blob(), blob()]), b"ab"), "a name of its own"),
    "a name of an array and a JPEG": (
        framed(header([blob(), blob(dtype="jpeg", shape=(3,))]), b"a\xff\xd8\xff"),
        "own",
    ),
    "a name that is no text": (framed(header([blob(name=1)]), b"a"), "a name of its own"),
    "too many blobs": (framed(header([blob(str(n)) for n in range(MAX_BLOBS + 1)]), bytes(17)), "has 17 blobs"),
    "a blob that is a list": (framed(header([[]])), "no object of name"),
    "a blob with more fields": (framed(header([blob(more=1)]), b"a"), "no object of name"),
    "objects": (framed(header([blob(dtype="object")]), bytes(8)), "'object'; it must be"),
    "objects by their letter": (framed(header([blob(dtype="O")]), bytes(8)), "'O'; it must be"),
    "records": (framed(header([blob(dtype="f4,O")]), bytes(12)), "'f4,O'; it must be"),
    "complex numbers": (framed(header([blob(dtype="complex64")]), bytes(8)), "'complex64'; it must be"),
    "a dtype that is a list": (framed(header([blob(dtype=[["a", "O"]])]), bytes(8)), "it must be"),
    "a negative size": (framed(header([blob(shape=(-1,))]), b"a"), "shape [-1]"),
    "two negative sizes": (framed(header([blob(shape=(-1, -1))]), b"a"), "shape [-1, -1]"),
    "a huge size": (framed(header([blob(shape=(2**63,))]), b"a"), "shape [9223372036854775808]"),
    "a huge product": (framed(header([blob(shape=(2**16, 2**16, 2**16, 2**16))]), b"a"), "has the shape"),
    "an empty array with huge sizes": (framed(header([blob(dtype="float64", shape=(0, *[2**23] * 3))])), "the shape"),
    "a size that is a truth value": (framed(header([blob(shape=(True,))]), b"a"), "shape [True]"),
    "a size with a fraction": (framed(header([blob(shape=(1.0,))]), b"a"), "shape [1.0]"),
    "a shape that is a number": (framed(header([blob(shape=1)]), b"a"), "shape 1"),
    "too many dimensions": (framed(header([blob(shape=(1,) * 5)]), b"a"), "shape [1, 1, 1, 1, 1]"),
    "NaN in an array": (framed(header([blob(dtype="float32")]), b"\0\0\xc0\x7f"), "not finite"),
    "infinity in an array": (framed(header([blob(dtype="float16")]), b"\0\x7c"), "not finite"),
    "a JPEG that is none": (framed(header([blob(dtype="jpeg", shape=(4,))]), b"GIF8"), "no JPEG"),
    "an empty JPEG": (framed(header([blob(dtype="jpeg", shape=(0,))])), "no JPEG"),
    "a JPEG of two dimensions": (framed(header([blob(dtype="jpeg", shape=(2, 2))]), JPEG_MAGIC + b"a"), "the shape"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_bytes_are_refused_by_name(case):
    raw, named = BAD[case]
    with pytest.raises(WireError) as refusal, memory.at_most(MOST_GROWTH):
        unpack(raw)
    assert named in str(refusal.value)
    assert len(str(refusal.value)) < 400


def test_what_is_at_the_limits_is_read():
    nested: Any = 1
    for _ in range(MAX_DEPTH - 2):
        nested = [nested]
    raw = framed(header([blob(str(n)) for n in range(MAX_BLOBS)], fields={"a": nested}), bytes(MAX_BLOBS))
    message = unpack(raw)
    assert message.fields == {"a": nested} and len(message.arrays) == MAX_BLOBS
    text = json.dumps(header([blob(shape=(MAX_BYTES,))]))
    size = MAX_BYTES - LENGTH.size - len(text)  # which has as many digits
    largest = framed(header([blob(shape=(size,))]), bytes(size))
    assert len(largest) == MAX_BYTES
    assert unpack(largest).arrays["a"].nbytes == size


def test_a_truth_value_of_any_byte_is_a_truth_value():
    [read] = unpack(framed(header([blob(dtype="bool", shape=(3,))]), b"\0\x01\x07")).arrays.values()
    assert read.dtype == bool and read.view(np.uint8).tolist() == [0, 1, 1]


def deep() -> list[Any]:
    nested: list[Any] = []
    for _ in range(100_000):
        nested = [nested]
    return nested


@pytest.mark.parametrize(
    "message",
    [
        Message("x", {"a": float("nan")}),
        Message("x", {"a": float("inf")}),
        Message("x", {"a": b"bytes"}),
        Message("x", {"a": np.float32(1)}),
        Message("x", {"a": [[[[[]]]]]}),
        Message("x", {"a": deep()}),
        Message("x", {"a": "b" * MAX_HEADER}),
        Message("x", arrays={"a": np.array([None])}),
        Message("x", arrays={"a": np.array(["text"])}),
        Message("x", arrays={"a": np.array([1j])}),
        Message("x", arrays={"a": np.array([np.nan])}),
        Message("x", arrays={"a": np.zeros((1,) * 5)}),
        Message("x", arrays={"a": np.zeros(MAX_BYTES, np.uint8)}),
        Message("x", arrays={str(n): np.zeros(1) for n in range(MAX_BLOBS + 1)}),
        Message("x", arrays={"a": np.zeros(1)}, jpegs={"a": JPEG_MAGIC}),
        Message("x", jpegs={"a": b"GIF8"}),
    ],
    ids=lambda message: "",
)
def test_what_nobody_could_read_is_not_sent(message):
    with pytest.raises(WireError):
        pack(message)
