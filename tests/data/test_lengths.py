"""The lengths of demonstrations are known before they are read, and without their images."""

from __future__ import annotations

import numpy as np
import pytest
from lerobot_sets import episode
from recordings import changed, dump, recorded, transitions
from stamped import stamped_segment

from serl_ray.data import lengths
from serl_ray.data.demos import write_demos
from serl_ray.data.formats.lerobot.writer import write_lerobot
from serl_ray.data.formats.parquet import write_segments
from serl_ray.data.lengths import episode_lengths
from serl_ray.data.observations import Selection


@pytest.fixture
def columns(monkeypatch):
    """The columns that are read of row groups."""
    read, seen = lengths.read_group, []

    def seen_group(file, group, columns, where):
        seen.append(columns)
        return read(file, group, columns, where)

    monkeypatch.setattr(lengths, "read_group", seen_group)
    return seen


def test_a_pickle_a_folder_of_shards_and_both(tmp_path, columns):
    paths = [str(tmp_path / name) for name in ("demos.pkl", "demos")]
    for path in paths:
        write_demos(path, recorded())
        assert sorted(episode_lengths(path)) == [1, 5, 9]
    assert sorted(episode_lengths(paths)) == [1, 1, 5, 5, 9, 9]
    assert columns == [], "a row group of one episode is known by its statistics"


def test_the_pieces_of_an_episode_are_one_also_where_a_row_group_has_several(tmp_path, columns):
    whole = stamped_segment(1, 0, 9, done=True)
    write_segments(tmp_path / "a.parquet", [whole.slice(0, 3), stamped_segment(2, 0, 4, done=True)])
    write_segments(tmp_path / "b.parquet", [whole.slice(3, 9)])
    assert sorted(episode_lengths(str(tmp_path))) == [4, 9]
    assert columns == [["episode"]]


def test_a_lerobot_data_set_is_measured_by_its_metadata(tmp_path):
    write_lerobot(tmp_path / "set", [episode(5, 0), episode(4, 1), episode(1, 2)])
    for path in tmp_path.rglob("data/*/*.parquet"):
        path.write_bytes(b"")
    assert episode_lengths(str(tmp_path / "set")) == [5, 4, 1]


def test_what_cannot_be_read_has_no_length(tmp_path):
    (tmp_path / "cut.parquet").write_bytes(b"PAR1")
    bad = changed(2, "actions", np.full(7, np.nan))
    half = dump(tmp_path / "half.pkl", transitions(3) + bad)
    assert episode_lengths([half, str(tmp_path / "cut.parquet")], Selection(("wrist",), ("state",))) == [3]
