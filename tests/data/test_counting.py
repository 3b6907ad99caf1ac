"""Demonstrations are counted before they are read: never too few, so that no ring overwrites one."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from lerobot_sets import episode, rewritten
from recordings import changed, dump, recorded, transitions
from stamped import stamped_segment

from serl_ray.data.counting import count_in_file
from serl_ray.data.demos import find_files, read_file, write_demos
from serl_ray.data.formats.lerobot.writer import write_lerobot
from serl_ray.data.formats.parquet import write_segments
from serl_ray.data.observations import Selection
from serl_ray.data.replay.ring import ReplayBuffer


def rows_taken(path: str) -> int:
    """Rows of a ring after every segment that can be read has been added."""
    segments = list(read_file(path, on_bad=lambda error: None))
    buffer = ReplayBuffer(segments[0].observation_spec, segments[0].actions.shape[1], 1000)
    for segment in segments:
        buffer.add(segment)
    return buffer.written


def test_a_pickle_and_a_shard_are_counted_exactly(tmp_path):
    write_demos(tmp_path / "demos.pkl", recorded())
    write_demos(tmp_path / "demos", recorded())
    for file in find_files([str(tmp_path / "demos.pkl"), str(tmp_path / "demos")]):
        assert count_in_file(file) == rows_taken(file) == 6 + 2 + 10


def test_pieces_of_an_episode_may_count_more_and_never_less(tmp_path):
    whole = stamped_segment(1, 0, 9, done=True)
    pieces = [whole.slice(0, 3), whole.slice(3, 5), whole.slice(6, 9)]
    write_segments(tmp_path / "pieces.parquet", pieces)
    assert count_in_file(str(tmp_path / "pieces.parquet")) == 4 + 3 + 4 >= rows_taken(str(tmp_path / "pieces.parquet"))


def test_a_lerobot_file_counts_episodes_and_ends_inside(tmp_path):
    write_lerobot(tmp_path / "set", [episode(5, 0), episode(4, 1), episode(1, 2)])
    for file in find_files(str(tmp_path / "set")):
        assert count_in_file(file) >= rows_taken(file)


def test_what_cannot_be_read_is_left_to_the_reading(tmp_path):
    (tmp_path / "cut.parquet").write_bytes(b"PAR1")
    assert count_in_file(str(tmp_path / "cut.parquet")) == 0
    bad = changed(2, "actions", np.full(7, np.nan))
    path = dump(tmp_path / "half.pkl", transitions(3) + bad)
    assert count_in_file(path) == 4 + 5 > rows_taken(path) == 4


@pytest.mark.parametrize("name", ["no.pkl", "no.parquet"])
def test_a_file_that_is_gone_counts_nothing(tmp_path, name):
    assert count_in_file(str(tmp_path / name)) == 0


def test_a_number_that_no_agent_sees_does_not_hide_an_episode(tmp_path):
    listed = transitions(4)
    listed[2] = {**listed[2], "observations": {**listed[2]["observations"], "force": np.full(2, np.nan)}}
    for transition in listed:
        for role in ("observations", "next_observations"):
            transition[role] = {"force": np.full(2, np.nan), **transition[role]}
    path = dump(tmp_path / "demos.pkl", listed)
    assert count_in_file(path) == 5
    [segment] = read_file(path, select=Selection((), ("state",)))
    assert len(segment) == 4


def test_flags_in_lists_of_one_are_counted_as_flags_are(tmp_path):
    def listed(table):
        done = table.column("next.done").combine_chunks()
        lists = pa.FixedSizeListArray.from_arrays(done, 1)
        return table.set_column(table.column_names.index("next.done"), "next.done", lists)

    write_lerobot(tmp_path / "set", [episode(5, 0), episode(4, 1)])
    [file] = find_files(str(rewritten(tmp_path / "set", listed)))
    assert count_in_file(file) == 5 + 4 + 2 + 2 >= rows_taken(file)


def test_a_strangers_table_is_left_to_the_reading(tmp_path):
    pq.write_table(pa.table({"a": [1, 2]}), tmp_path / "theirs.parquet")
    assert count_in_file(str(tmp_path / "theirs.parquet")) == 0
