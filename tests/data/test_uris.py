import collections
import pickle

import numpy as np
import pytest
from recordings import recorded
from stamped import ACTION_DIM, SPEC, assert_same, stamped_segment

from serl_ray.data.demos import find_files, read_demos, read_file, segments, write_demos
from serl_ray.data.errors import DemoError
from serl_ray.data.formats.lerobot.writer import LeRobotFormat, write_lerobot


def test_uris_are_read_as_paths_are(tmp_path, shared_ray):
    folder = tmp_path / "some demos"
    write_demos(folder / "0", recorded())
    for i in range(1, 3):
        write_demos(folder / f"{i}.pkl", [stamped_segment(i, 0, 2 * i, done=True)])
    uri = folder.as_uri()
    names = [
        [file.rsplit("/", 1)[1] for file in find_files(f"{uri}{what}")]
        for what in ("", "/1.pkl", "/*.pkl", "/0", "/**/*t")
    ]
    assert names == [
        ["1.pkl", "2.pkl"],
        ["1.pkl"],
        ["1.pkl", "2.pkl"],
        ["shard-00000.parquet"],
        ["shard-00000.parquet"],
    ]
    dataset = read_demos([f"{uri}/0", f"{uri}/[12].pkl"], SPEC, ACTION_DIM)
    expected = [*recorded(), stamped_segment(1, 0, 2, done=True), stamped_segment(2, 0, 4, done=True)]
    for found, wanted in zip(segments(dataset), expected, strict=True):
        assert_same(found, wanted, ids=False)
    with pytest.raises(FileNotFoundError, match="no demonstrations there"):
        find_files(f"{uri}/nothing*")
    with pytest.raises(ValueError, match=r"ftp://host/a\.pkl.*begins with s3://, gs://, hdfs:// or file://"):
        find_files("ftp://host/a.pkl")


def test_a_pickle_from_a_uri_runs_nothing_either(tmp_path):
    path = tmp_path / "bad.pkl"
    path.write_bytes(pickle.dumps([collections.deque([1])]))
    with pytest.raises(DemoError, match="asks for collections.deque, which is not plain data"):
        list(read_file(path.as_uri()))


def test_a_lerobot_folder_is_read_from_a_uri(tmp_path):
    segment = stamped_segment(1, 0, 5, done=True)
    write_lerobot(tmp_path / "set", [segment], LeRobotFormat(videos=True))
    [file] = find_files((tmp_path / "set").as_uri())
    [found] = read_file(file)
    np.testing.assert_array_equal(found.actions, segment.actions)
    assert found.observations["image"].shape == (6, 2, 2, 3)
