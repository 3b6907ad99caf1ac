import json
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stamped import SPEC, assert_same, random_segment, stamped_segment

from serl_ray.data.formats import parquet
from serl_ray.data.schema import ArraySpec


@given(
    episodes=st.lists(st.tuples(st.integers(1, 9), st.booleans()), min_size=1, max_size=6),
    shapes=st.lists(st.lists(st.integers(1, 3), max_size=4), min_size=1, max_size=3),
    dtype=st.sampled_from(["u1", "f2", "f4", "f8", "i8", "?"]),
    seed=st.integers(0, 2**31),
)
@settings(deadline=None, max_examples=60)
def test_what_is_written_is_read_to_the_bit(tmp_path_factory, episodes, shapes, dtype, seed):
    rng = np.random.default_rng(seed)
    spec = {f"key.{i}": ArraySpec(tuple(shape), np.dtype(dtype)) for i, shape in enumerate(shapes)}
    segments = [random_segment(rng, n, spec, 3, f"episode {i}", actors) for i, (n, actors) in enumerate(episodes)]
    folder = tmp_path_factory.mktemp("shards")
    parquet.write_shards(folder, segments)
    parquet.write_segments(folder / "one.parquet", segments)
    for name in ("shard-00000.parquet", "one.parquet"):
        for found, expected in zip(parquet.read_segments(folder / name), segments, strict=True):
            assert_same(found, expected)


def test_one_row_is_one_transition_and_no_frame_is_stored_twice(tmp_path):
    parquet.write_shards(tmp_path, [stamped_segment(1, 0, 5, done=True), stamped_segment(2, 3, 4)])
    file = pq.ParquetFile(tmp_path / "shard-00000.parquet")
    table = file.read()
    assert len(table) == 9
    assert file.num_row_groups == 2
    assert table.column("episode").to_pylist() == ["1"] * 5 + ["2"] * 4
    assert table.column("step").to_pylist() == [0, 1, 2, 3, 4, 3, 4, 5, 6]
    assert table.column("observations.state").to_pylist()[1] == [1.0, 1.0]
    has_final = table.column("final_observations.image").is_valid().to_pylist()
    assert [row for row, final in enumerate(has_final) if final] == [4, 8]
    described = json.loads(table.schema.metadata[b"serl_ray"])
    assert described["version"] == 1
    assert described["observations"]["image"] == {"shape": [2, 2, 3], "dtype": "|u1"}
    assert file.metadata.row_group(0).column(0).compression == "ZSTD"


def test_a_reported_success_is_stored_and_older_files_lack_it(tmp_path):
    reported = [True, None, False]
    segments = [
        replace(stamped_segment(number, 0, 3, done=True), success=success) for number, success in enumerate(reported)
    ]
    parquet.write_shards(tmp_path, segments)
    file = tmp_path / "shard-00000.parquet"
    assert [segment.success for segment in parquet.read_segments(file)] == reported
    assert pq.read_table(file).column("success").to_pylist() == [None, None, True, None, None, None, None, None, False]
    table = pq.read_table(file)
    pq.write_table(table.drop_columns("success"), file)
    for segment, expected in zip(parquet.read_segments(file), segments, strict=True):
        assert_same(segment, replace(expected, success=None))
        assert segment.success is None
    pq.write_table(table.set_column(table.schema.get_field_index("success"), "success", [[1] * 9]), file)
    with pytest.raises(ValueError, match="column success: expected booleans, found int64"):
        list(parquet.read_segments(file))


def test_actors_are_stored_and_older_files_lack_them(tmp_path):
    segments = [stamped_segment(number, 0, 3, done=True, actors=number == 1) for number in range(2)]
    parquet.write_shards(tmp_path, segments)
    file = tmp_path / "shard-00000.parquet"
    table = pq.read_table(file)
    assert table.column("source").to_pylist() == [None, None, None, "expert", "policy", "policy"]
    assert table.column("intervention").to_pylist() == [None, None, None, 1, 0, 0]
    assert json.loads(table.schema.metadata[b"serl_ray"])["version"] == 1
    pq.write_table(table.drop_columns(["policy_actions", "intervention", "source"]), file)
    for segment, expected in zip(parquet.read_segments(file), segments, strict=True):
        assert_same(segment, replace(expected, actors=None))
    named = table.drop_columns(["policy_actions", "intervention"])  # somebody else's column, as older releases read it
    pq.write_table(named, file)
    assert all(segment.actors is None for segment in parquet.read_segments(file))
    encoded = table.column("source").combine_chunks().dictionary_encode()
    pq.write_table(table.set_column(table.schema.get_field_index("source"), "source", encoded), file)
    for segment, expected in zip(parquet.read_segments(file), segments, strict=True):
        assert_same(segment, expected)


def test_a_large_recording_is_cut_into_shards_in_order(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet, "SHARD_BYTES", 300)
    segments = [stamped_segment(episode, 0, 7) for episode in range(6)]
    parquet.write_shards(tmp_path, segments)
    shards = sorted(tmp_path.glob("*.parquet"))
    assert len(shards) > 1
    found = [segment for shard in shards for segment in parquet.read_segments(shard)]
    for segment, expected in zip(found, segments, strict=True):
        assert_same(segment, expected)


def test_only_the_keys_asked_for_are_read(tmp_path):
    parquet.write_shards(tmp_path, [stamped_segment(1, 0, 5)])
    path = tmp_path / "shard-00000.parquet"
    [segment] = parquet.read_segments(path, ["state"])
    assert list(segment.observations) == ["state"]
    with pytest.raises(ValueError, match="no observations front, wrist; the file has image, state, map"):
        list(parquet.read_segments(path, ["wrist", "front", "state"]))


def test_row_groups_merged_by_another_tool_still_hold_the_same_segments(tmp_path):
    segments = [stamped_segment(1, 0, 5), stamped_segment(1, 9, 2), stamped_segment(2, 3, 4)]
    parquet.write_shards(tmp_path, segments)
    path = tmp_path / "merged.parquet"
    pq.write_table(pq.read_table(tmp_path / "shard-00000.parquet"), path)
    for found, expected in zip(parquet.read_segments(path), segments, strict=True):
        assert_same(found, expected)


def test_files_that_are_not_ours_are_refused_by_name(tmp_path):
    parquet.write_shards(tmp_path, [stamped_segment(1, 0, 5)])
    shard = tmp_path / "shard-00000.parquet"
    table = pq.read_table(shard)
    described = json.loads(table.schema.metadata[b"serl_ray"])
    path = tmp_path / "other.parquet"

    def message_of(table) -> str:
        pq.write_table(table, path)
        with pytest.raises(ValueError, match=r"other\.parquet: ") as caught:
            list(parquet.read_segments(path))
        return str(caught.value)

    assert "serl_ray did not write" in message_of(table.replace_schema_metadata(None))
    newer = {b"serl_ray": json.dumps({**described, "version": 2})}
    assert "version 2 of the format; this release reads version 1" in message_of(table.replace_schema_metadata(newer))
    assert "ends without final observations" in message_of(table.slice(0, 4))
    assert "skips steps" in message_of(table.take([0, 1, 3, 4]))
    path.write_bytes(shard.read_bytes()[:-20])
    with pytest.raises(ValueError, match=r"other\.parquet: cut off"):
        list(parquet.read_segments(path))


def test_segments_of_two_layouts_do_not_share_a_file(tmp_path):
    segment = stamped_segment(2, 0, 3)
    with pytest.raises(ValueError, match="Episode '2' has the layout"):
        parquet.write_shards(tmp_path, [stamped_segment(1, 0, 3), replace(segment, actions=np.zeros((3, 5)))])
    with pytest.raises(ValueError, match="no segment to write"):
        parquet.write_shards(tmp_path, [])
    assert segment.observation_spec == SPEC


def test_a_flipped_bit_in_a_page_is_named(tmp_path):
    path = tmp_path / "episode.parquet"
    parquet.write_segments(path, [stamped_segment(0, 0, 30)])
    column = pq.ParquetFile(path).metadata.row_group(0).column(2)
    content = bytearray(path.read_bytes())
    content[column.data_page_offset + column.total_compressed_size - 1] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"{path}: row 0: its row group cannot be read .*CRC.*Copy the file again"):
        list(parquet.read_segments(path))
