import collections
import os
import pickle
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from serl_ray.files.pickles import UnsafePickleError, load_pickle

PLAIN = {
    "nested": [1, 2.5, "text", None, True, (3, {"deep": (4, [5])}), {6}, frozenset([7]), 8j, b"", b"\xff\x00"],
    "ordered": collections.OrderedDict(b=1, a=2),
    "scalar": np.float32(2.5),
    "flag": np.bool_(True),
    "empty": np.zeros((0, 3), np.int16),
    "point": np.array(3.0),
    "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "strided": np.arange(20).reshape(4, 5)[::2, 1:],
    "big_endian": np.array([1.5, -2.0], ">f8"),
    "half": np.arange(8, dtype=np.float16),
    "text": np.array(["ab", "c"]),
    "dtype": np.dtype(np.uint8),
}


def assert_equal(found, expected) -> None:
    if isinstance(expected, np.ndarray | np.generic):
        assert isinstance(found, type(expected))
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)
    else:
        assert found == expected


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_plain_data_of_every_protocol(tmp_path, protocol):
    path = tmp_path / "plain.pkl"
    path.write_bytes(pickle.dumps(PLAIN, protocol))
    found = load_pickle(path)
    assert list(found) == list(PLAIN)
    for key, expected in PLAIN.items():
        assert_equal(found[key], expected)


@pytest.mark.parametrize("protocol", [2, 3])
def test_numpy_1_and_2_name_their_modules_differently(tmp_path, protocol):
    path = tmp_path / "old.pkl"
    dump = pickle.dumps(
        {"array": np.arange(3), "scalar": np.int8(1)}, protocol
    )  # from 4 on names are preceded by their length
    path.write_bytes(dump.replace(b"numpy._core", b"numpy.core"))
    assert b"numpy.core" in path.read_bytes()
    assert load_pickle(path)["array"].tolist() == [0, 1, 2]


def test_a_shared_array_stays_one(tmp_path):
    array = np.arange(3)
    path = tmp_path / "shared.pkl"
    path.write_bytes(pickle.dumps({"a": array, "b": [array], "c": [(array,)]}))
    found = load_pickle(path)
    assert found["a"] is found["b"][0] is found["c"][0][0]


class Call:
    """Pickles as the call of a function."""

    def __init__(self, function, *args, state=None):
        self.reduced = (function, args) if state is None else (function, args, state)

    def __reduce__(self):
        return self.reduced


def raw(*parts) -> bytes:
    return b"".join(parts)


def global_name(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


EXPLOITS = {
    "os.system": pickle.dumps(Call(os.system, "touch owned")),
    "builtins.eval": pickle.dumps(Call(eval, "open('owned', 'w')")),
    "builtins.exec": pickle.dumps(Call(exec, "open('owned', 'w')")),
    "subprocess.Popen": pickle.dumps(Call(subprocess.Popen, ["touch", "owned"])),
    "builtins.getattr": pickle.dumps(Call(getattr, Call(__import__, "posix"), "system")),
    "os.open": pickle.dumps(Call(os.open, "owned", os.O_CREAT)),
    "numpy runstring": raw(global_name("numpy.testing._private.utils", "runstring"), b"(Vopen('owned','w')\n}tR."),
    "numpy load": raw(global_name("numpy", "load"), b"(Vowned\ntR."),
    "numpy memmap": raw(global_name("numpy", "memmap"), b"(Vowned\ntR."),
    "numpy fromfile": raw(global_name("numpy", "fromfile"), b"(V/etc/passwd\ntR."),
    "numpy f2py": raw(global_name("numpy.f2py", "compile"), b"(Vx\ntR."),
    "dotted name": raw(b"\x80\x04\x8c\x05numpy\x8c\x11ndarray.__class__\x93."),
    "dotted escape": raw(b"\x80\x04\x8c\x05numpy\x8c\x0cos.system.id\x93."),
    "instance": raw(b"(Vtouch owned\nios\nsystem\n."),
    "object opcode": raw(b"(", global_name("os", "system"), b"Vtouch owned\no."),
    "module attribute": raw(global_name("serl_ray.files.pickles", "np"), b"."),
    "copyreg": raw(global_name("copyreg", "_reconstructor"), b"."),
    "types.CodeType": raw(global_name("types", "CodeType"), b"."),
    "functools.partial": raw(global_name("functools", "partial"), b"."),
    "operator": raw(global_name("operator", "attrgetter"), b"(Vx\ntR."),
    "object dtype": pickle.dumps(np.array([Call(os.getcwd)], dtype=object)),
    "plain object dtype": pickle.dumps(np.array([1, None], dtype=object)),
    "record dtype": pickle.dumps(np.zeros(2, [("a", "f4"), ("b", "O")])),
    "void dtype": pickle.dumps(np.zeros(2, "V8")),
    "evaluated dtype": raw(global_name("numpy", "dtype"), b"(V(open,),f4\ntR."),
    "padded dtype": raw(global_name("numpy", "dtype"), b"(V9999f4\ntR."),
    "masked array": pickle.dumps(np.ma.zeros(3)),
    "setstate on a function": raw(global_name("numpy._core.multiarray", "_reconstruct"), b"}Vx\nK\x01sb."),
    "slot state on a function": raw(global_name("collections", "OrderedDict"), b"(N}V_build\nK\x01stb."),
    "setstate on ndarray": raw(global_name("numpy", "ndarray"), b"}b."),
    "ndarray of any size": raw(global_name("numpy", "ndarray"), b"((J\xff\xff\xff\x7fttR."),
    "subclass reconstruct": raw(
        global_name("numpy._core.multiarray", "_reconstruct"),
        b"(",
        global_name("collections", "OrderedDict"),
        b"(K\x00tVb\ntR.",
    ),
    "bytes of any size": raw(global_name("builtins", "bytes"), b"(J\xff\xff\xff\x7ftR."),
    "other codec": raw(global_name("_codecs", "encode"), b"(Vabc\nVrot13\ntR."),
    "set of anything": raw(global_name("builtins", "set"), b"(Vabc\ntR."),
    "jax with any function": raw(
        global_name("jax._src.array", "_reconstruct_array"), b"(", global_name("collections", "OrderedDict"), b"))}tR."
    ),
    "bare function as data": raw(b"]", global_name("numpy", "ndarray"), b"a."),
    "function as key": raw(b"}", global_name("numpy", "ndarray"), b"K\x01s."),
    "unfinished array": raw(
        b"]",
        global_name("numpy._core.multiarray", "_reconstruct"),
        b"(",
        global_name("numpy", "ndarray"),
        b"(K\x00tVb\ntRa.",
    ),
}


@pytest.mark.parametrize("name", EXPLOITS)
def test_nothing_runs(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "exploit.pkl"
    path.write_bytes(EXPLOITS[name])
    with pytest.raises(UnsafePickleError) as caught:
        load_pickle(path)
    assert str(caught.value).startswith(f"{path}: this pickle")
    assert os.listdir(tmp_path) == ["exploit.pkl"]


def test_the_message_names_what_was_asked_for(tmp_path):
    path = tmp_path / "exploit.pkl"
    path.write_bytes(EXPLOITS["os.system"])
    with pytest.raises(UnsafePickleError, match=r"posix\.system, which is not plain data"):
        load_pickle(path)


def forged_array(shape: tuple, data: bytes, code: str = "f4", byte_order: str = "<") -> bytes:
    """A pickled array whose parts are not checked by anybody."""

    class Forged:
        def __reduce__(self):
            dtype = Call(np.dtype, code, False, True, state=(3, byte_order, None, None, None, -1, -1, 0))
            return np._core.multiarray._reconstruct, (np.ndarray, shape, b"b"), (1, shape, dtype, False, data)

    return pickle.dumps(Forged())


@pytest.mark.parametrize(
    "dump",
    [
        forged_array((10**12,), b"1234"),
        forged_array((2**62, 2**62), b""),
        forged_array((-1,), b"1234"),
        forged_array((1, -4, -1), b"x" * 16),
        forged_array((2.0,), b"x" * 8),
        forged_array((3,), b"x" * 11),
        forged_array((1,) * 70, b"1234"),
        raw(b"\x80\x04\x8e", struct.pack("<Q", 2**60), b"abc."),
        raw(b"\x80\x04", b"]" * 100_000, b"a" * 99_999, b"."),
    ],
)
def test_a_forged_size_takes_no_memory_and_crashes_nothing(tmp_path, dump):
    path = tmp_path / "forged.pkl"
    path.write_bytes(dump)
    try:
        load_pickle(path)
    except ValueError as error:
        assert str(path) in str(error)
    else:
        pytest.fail("a forged array was read")


def test_every_way_of_cutting_a_file_is_one_message(tmp_path):
    dump, path = pickle.dumps(PLAIN, 4), tmp_path / "cut.pkl"
    for length in range(0, len(dump) - 1, 3):
        path.write_bytes(dump[:length])
        with pytest.raises(ValueError, match=r"cut\.pkl: (cut off|this pickle)"):
            load_pickle(path)


def test_every_flipped_byte_is_either_read_or_one_message(tmp_path):
    dump, path = pickle.dumps(PLAIN, 2), tmp_path / "flipped.pkl"
    rng = np.random.default_rng(0)
    for _ in range(600):
        forged = bytearray(dump)
        forged[rng.integers(len(forged))] = rng.integers(
            ord("r")
        )  # from there on: LONG_BINPUT, which takes the memory it asks for
        path.write_bytes(bytes(forged))
        try:
            load_pickle(path)
        except ValueError as error:
            assert str(path) in str(error)


def test_text_that_is_no_pickle(tmp_path):
    path = tmp_path / "notes.pkl"
    path.write_text("hello")
    with pytest.raises(ValueError, match="not a pickle"):
        load_pickle(path)


JAX_STUB = """
import sys, types, pickle, numpy as np
jax, array, flax = (types.ModuleType(name) for name in ("jax._src", "jax._src.array", "flax.core.frozen_dict"))
def _reconstruct_array(fun, args, state, aval): ...
_reconstruct_array.__module__ = "jax._src.array"
class FrozenDict:
    def __init__(self, tree): self.tree = tree
    def __reduce__(self): return FrozenDict, (self.tree,)
FrozenDict.__module__, FrozenDict.__qualname__ = "flax.core.frozen_dict", "FrozenDict"
array._reconstruct_array, flax.FrozenDict = _reconstruct_array, FrozenDict
for name in ("jax", "jax._src", "flax", "flax.core"): sys.modules[name] = types.ModuleType(name)
sys.modules["jax._src.array"], sys.modules["flax.core.frozen_dict"] = array, flax
class Array:
    def __reduce__(self):
        fun, args, state = np.arange(6, dtype="f4").reshape(2, 3).__reduce__()
        return _reconstruct_array, (fun, args, state, {"weak_type": False})
with open(sys.argv[1], "wb") as file: pickle.dump(FrozenDict({"Dense_0": {"kernel": Array()}}), file, 4)
"""


def test_jax_arrays_in_a_flax_dict_need_neither(tmp_path):
    path = tmp_path / "params.pkl"
    subprocess.run([sys.executable, "-c", JAX_STUB, path], check=True)
    kernel = load_pickle(path)["Dense_0"]["kernel"]
    assert_equal(kernel, np.arange(6, dtype=np.float32).reshape(2, 3))


def test_only_the_standard_library_and_numpy_are_imported():
    names = "{name.split('.')[0] for name in sys.modules if name not in old}"
    code = f"import sys; old = set(sys.modules); import serl_ray.files.pickles; print(*{names})"
    root = Path(__file__).parents[2]
    imported = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=root
    ).stdout.split()
    assert set(imported) - sys.stdlib_module_names <= {"numpy", "serl_ray"}
