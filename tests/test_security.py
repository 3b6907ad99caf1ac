"""Hostile files: no code runs from data, small files take little memory, and paths do not leave their folder."""

import io
import json
import os
import pickle
import resource
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from ray.data._internal.object_extensions.arrow import ArrowPythonObjectType

from serl_ray.data.demos import read_file
from serl_ray.data.errors import DemoError
from serl_ray.data.formats.lerobot.folder import LeRobotFolder
from serl_ray.data.formats.lerobot.video import VideoWriter, read_video_frames
from serl_ray.data.formats.lerobot.writer import LeRobotFormat, write_lerobot
from serl_ray.data.formats.parquet import read_segments, write_episode, write_shards
from serl_ray.data.schema import Segment
from serl_ray.files.images import decode, encode
from serl_ray.files.pickles import load_pickle
from serl_ray.files.tables import open_parquet
from serl_ray.networks.pretrained import build_trunk

ROOT = Path(__file__).parents[1]
STEPS = 3


class Canary:
    """Writes the file `owned` when it is unpickled."""

    def __reduce__(self):
        return os.system, ("touch owned",)


@pytest.fixture(autouse=True)
def no_code_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    yield
    assert not (tmp_path / "owned").exists()


def segment(episode="0"):
    observations = {"front": np.random.default_rng(0).integers(0, 255, (STEPS + 1, 32, 32, 3), np.uint8)}
    columns = {name: np.zeros(STEPS) for name in ("rewards", "truncateds", "grasp_penalty", "intervened")}
    columns |= {"dones": np.arange(STEPS) == STEPS - 1, "masks": np.arange(STEPS) < STEPS - 1}
    return Segment(observations, np.zeros((STEPS, 7)), episode=episode, **columns)


def rewritten(path, **columns):
    """The Parquet file again, with some of its columns, or columns more."""
    table = pq.read_table(path)
    for name, column in columns.items():
        found = table.schema.get_field_index(name)
        table = table.append_column(name, column) if found < 0 else table.set_column(found, name, column)
    pq.write_table(table, path)


def pickled_objects(count=STEPS):
    kind = ArrowPythonObjectType()
    return kind.wrap_array(pa.array([pickle.dumps(Canary())] * count, kind.storage_type))


def text(value: str) -> bytes:
    return b"\x8c" + bytes([len(value)]) + value.encode()


def stack_global(module: str, name: str) -> bytes:
    return b"\x80\x04" + text(module) + text(name) + b"\x93"


ARRAY = pickle.dumps(np.arange(3.0), 4)[:-1]
UNPICKLED = {
    "getattr chain": (b"\x80\x04cbuiltins\ngetattr\n" + text("os") + text("system") + b"\x86R.", "builtins.getattr"),
    "dunder import": (stack_global("builtins", "__import__") + text("os") + b"\x85R.", "builtins.__import__"),
    "traversal by dots": (
        stack_global("numpy._core.multiarray", "_reconstruct.__globals__") + b".",
        "numpy._core.multiarray._reconstruct.__globals__",
    ),
    "module below numpy": (
        stack_global("numpy", "lib._npyio_impl.os.system") + text("touch owned") + b"\x85R.",
        "os.system",
    ),
    "reader of npy files": (stack_global("numpy.lib.format", "read_array") + b".", "numpy.lib.format.read_array"),
    "old alias of builtins": (b"c__builtin__\neval\n(V1\ntR.", "__builtin__.eval"),
    "tensor storage": (
        stack_global("torch.storage", "_load_from_bytes") + b"C\x01.\x85R.",
        "torch.storage._load_from_bytes",
    ),
    "tensor": (pickle.dumps(torch.zeros(2)), "torch._utils._rebuild_tensor_v2"),
    "new object": (stack_global("subprocess", "Popen") + text("touch owned") + b"\x85\x81.", "subprocess.Popen"),
    "new object with keywords": (stack_global("subprocess", "Popen") + b")}\x92.", "subprocess.Popen"),
    "allowed name, new object": (stack_global("collections", "OrderedDict") + b")\x81.", "not a pickle"),
    "allowed name, new object with keywords": (stack_global("collections", "OrderedDict") + b")}\x92.", "not a pickle"),
    "call of an array": (ARRAY + b")R.", "not a pickle"),
    "dict of an array": (ARRAY + b"}" + text("__class__") + b"K\x01sb.", "not a pickle"),
    "slots of an array": (ARRAY + b"N}" + text("array") + b"K\x01s\x86b.", "not a pickle"),
    "dict of a list": (b"\x80\x04]}" + text("append") + b"K\x01sb.", "not a pickle"),
    "persistent id": (b"\x80\x04" + text("os.system") + b"Q.", "persistent"),
    "persistent id in text": (b"Pos.system\n.", "persistent"),
    "extension code": (b"\x80\x02\x82\x01.", "not a pickle"),
    "long extension code": (b"\x80\x02\x84\x01\x00\x00\x00.", "not a pickle"),
    "memo that is not there": (b"\x80\x04h\x07.", "not a pickle"),
    "code after the end": (b"\x80\x04N.cos\nsystem\n(Vtouch owned\ntR.", "system"),
    "buffer out of band": (b"\x80\x05\x97.", "not a pickle"),
    "key that is hashed": (b"\x80\x04}" + stack_global("numpy", "ndarray")[2:] + b"K\x01s.", "as a key"),
}


@pytest.mark.parametrize("name", UNPICKLED)
def test_exploits_name_the_file_and_what_they_ask_for(tmp_path, name):
    dump, message = UNPICKLED[name]
    path = tmp_path / "exploit.pkl"
    path.write_bytes(dump)
    with pytest.raises(ValueError) as caught:
        load_pickle(path)
    assert str(path) in str(caught.value) and message in str(caught.value)


def doubled(depth: int) -> bytes:
    places = (bytes([number]) for number in range(depth))
    return b"\x80\x04]" + b"".join(b"q" + i + b"0]h" + i + b"ah" + i + b"a" for i in places) + b"."


BOMBS = {
    "memo": b"\x80\x04Nr" + struct.pack("<I", 50_000_000) + b".",
    "memo in text": b"Np50000000\n.",
    "bytes": b"\x80\x04\x8e" + struct.pack("<Q", 2**31) + b"abc.",
    "byte array": b"\x80\x05\x96" + struct.pack("<Q", 2**31) + b"abc.",
    "text": b"\x80\x04\x8d" + struct.pack("<Q", 2**31) + b"abc.",
    "frame": b"\x80\x04\x95" + struct.pack("<Q", 2**31) + b"N.",
    "tuples in tuples": b"\x80\x04)" + b"\x85" * 200_000 + b".",
    "lists that double": doubled(40),
    "list in itself": b"\x80\x04]q\x00h\x00a.",
    "dtype": b"\x80\x04cnumpy\ndtype\n" + text("S999999999") + b"\x85R.",
}
LOAD = """
import sys, resource
from serl_ray.files.pickles import load_pickle
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    load_pickle(sys.argv[1])
except ValueError as error:
    print(str(error)[:200])
assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**17, "128 MB more"
"""


@pytest.mark.parametrize("name", BOMBS)
def test_a_small_file_takes_little_memory(tmp_path, name):
    path = tmp_path / "bomb.pkl"
    path.write_bytes(BOMBS[name])

    def limit():
        resource.setrlimit(resource.RLIMIT_AS, (2**32, 2**32))

    done = subprocess.run(
        [sys.executable, "-c", LOAD, path], cwd=ROOT, capture_output=True, text=True, preexec_fn=limit
    )
    assert done.returncode == 0, done.stderr[-500:]
    assert name == "dtype" or str(path) in done.stdout


def test_trunk_files_run_nothing(tmp_path):
    torch.save({"conv1.weight": Canary()}, tmp_path / "zip.pt")
    (tmp_path / "bare.pth").write_bytes(pickle.dumps(Canary(), 2))
    (tmp_path / "original.pkl").write_bytes(pickle.dumps({"conv_init": {"kernel": Canary()}}))
    (tmp_path / "long.safetensors").write_bytes(struct.pack("<Q", 2**50) + b"{}")
    for name, message in (
        ("zip.pt", "system"),
        ("bare.pth", "system"),
        ("original.pkl", "system"),
        ("long.safetensors", "tensors"),
    ):
        with pytest.raises(ValueError) as caught:
            build_trunk(str(tmp_path / name))
        assert name in str(caught.value) and message in str(caught.value) and "Re-running" not in str(caught.value)


@pytest.mark.parametrize("nested", [False, True])
def test_columns_of_pickled_objects_are_refused(tmp_path, nested):
    objects = pickled_objects(1)
    column = pa.StructArray.from_arrays([objects], ["inner"]) if nested else objects
    pq.write_table(pa.table({"harmless": column}), tmp_path / "shard.parquet")
    with (
        pytest.raises(ValueError, match=r"shard\.parquet: column 'harmless' is of the type .*not plain data"),
        open_parquet(tmp_path / "shard.parquet"),
    ):
        pass


@pytest.mark.parametrize("file", ["meta/episodes/chunk-000/file-000.parquet", "data/chunk-000/file-000.parquet"])
def test_lerobot_files_with_pickled_objects_are_refused(tmp_path, file):
    write_lerobot(tmp_path / "set", [segment()])
    column = "tasks" if "meta" in file else "observation.images.front"
    rewritten(tmp_path / "set" / file, **{column: pickled_objects(1 if "meta" in file else STEPS)})
    with pytest.raises(DemoError, match="not plain data"):
        list(read_file(str(tmp_path / "set/data/chunk-000/file-000.parquet")))


def test_shards_with_pickled_objects_are_refused(tmp_path):
    write_shards(tmp_path, [segment()])
    for column in ("episode", "rewards", "surplus"):
        rewritten(tmp_path / "shard-00000.parquet", **{column: pickled_objects()})
        with pytest.raises(ValueError, match="not plain data"):
            list(read_segments(tmp_path / "shard-00000.parquet"))


@pytest.mark.parametrize(
    "spec",
    [{"dtype": ["f4"]}, {"dtype": "O"}, {"dtype": "f4,O"}, {"dtype": "(9,)f4"}, {"shape": [-1]}, {"shape": ["x"]}],
)
def test_shapes_and_dtypes_in_metadata_are_numbers(tmp_path, spec):
    write_shards(tmp_path, [segment()])
    path = tmp_path / "shard-00000.parquet"
    table = pq.read_table(path)
    described = json.loads(table.schema.metadata[b"serl_ray"])
    described["observations"]["front"] |= spec
    pq.write_table(table.replace_schema_metadata({"serl_ray": json.dumps(described)}), path)
    with pytest.raises(ValueError, match="its metadata are damaged"):
        list(read_segments(path))


def test_a_picture_is_bytes_and_no_path(tmp_path):
    write_lerobot(tmp_path / "set", [segment()])
    (tmp_path / "secret.png").write_bytes(encode(np.zeros((32, 32, 3), np.uint8)))
    shown = pa.array([{"bytes": str(tmp_path / "secret.png"), "path": ""}] * STEPS)
    path = tmp_path / "set/data/chunk-000/file-000.parquet"
    rewritten(path, **{"observation.images.front": shown})
    with pytest.raises(DemoError, match="not a PNG or JPEG image, but"):
        list(read_file(str(path)))


def test_a_picture_is_a_png_or_jpeg(tmp_path):
    gif = io.BytesIO()
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(gif, format="GIF")
    for raw in (b"%!PS-Adobe-3.0 EPSF-3.0\n(owned) (w) file\n", b"#EXTM3U\n", gif.getvalue(), b"", None):
        with pytest.raises(ValueError, match="not a PNG or JPEG"):
            decode(raw)
    with pytest.raises(ValueError, match="cut off, broken or too large"):
        decode(b"\x89PNG\r\n\x1a\n" + bytes(40))


def test_a_picture_of_any_size_takes_no_memory():
    header = b"IHDR" + struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    with pytest.raises(ValueError, match="cut off, broken or too large"):
        decode(b"\x89PNG\r\n\x1a\n" + chunk)


@pytest.mark.parametrize(
    "playlist", ["ffconcat version 1.0\nfile secret.mp4\n", "#EXTM3U\n#EXTINF:1,\nsecret.mp4\n#EXT-X-ENDLIST\n"]
)
def test_a_video_is_no_playlist(tmp_path, playlist):
    video = VideoWriter(tmp_path / "secret.mp4", 10, (32, 32, 3))
    video.add(segment().observations["front"])
    video.close()
    (tmp_path / "video.mp4").write_text(playlist)
    with pytest.raises(ValueError, match="not a video"):
        read_video_frames(str(tmp_path / "video.mp4"), 0.0, 1, 10)


@pytest.mark.parametrize("place", ["../../../secret", "/etc"])
def test_numbers_of_files_in_metadata_are_no_way_out(tmp_path, place):
    write_lerobot(tmp_path / "set", [segment()])
    rewritten(tmp_path / "set/meta/episodes/chunk-000/file-000.parquet", **{"data/chunk_index": pa.array([place])})
    info = json.loads((tmp_path / "set/meta/info.json").read_text())
    (tmp_path / "set/meta/info.json").write_text(json.dumps(info | {"data_path": "{chunk_index}/file.parquet"}))
    with pytest.raises(ValueError, match=r"info\.json: the path .* leads out of the data set"):
        LeRobotFolder.open(str(tmp_path / "set")).data_files()


@pytest.mark.parametrize("name", ["../outside", "/outside", "a/b"])
def test_an_episode_is_not_written_outside_its_folder(tmp_path, name):
    (tmp_path / "set").mkdir()
    with pytest.raises(ValueError, match=r"set: episode .* cannot be written there"):
        write_episode(tmp_path / "set", segment(name))
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


@pytest.mark.parametrize("version", ["v2.1", "v3.0"])
def test_names_in_a_demonstration_are_no_paths_of_a_converted_one(tmp_path, version):
    demo = segment("../../outside")
    write_lerobot(tmp_path / "good", [demo], LeRobotFormat(version, videos=True))
    write_shards(tmp_path / "good", [demo])
    demo.observations["../../../../outside"] = demo.observations.pop("front")
    with pytest.raises(ValueError, match="names with a slash"):
        write_lerobot(tmp_path / "bad", [demo], LeRobotFormat(version, videos=True))
    assert sorted(path.name for path in tmp_path.iterdir()) in (["good"], ["bad", "good"])
