import logging
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
from recordings import BAD, IMAGE, STATE, changed, dump, recorded, transitions
from stamped import stamped_segment

from serl_ray.data.convert import convert
from serl_ray.data.demos import find_files, read_demos, read_file, segments, write_demos
from serl_ray.data.errors import DemoError, ShortEpisode
from serl_ray.data.formats.lerobot.reader import AS_RECORDED
from serl_ray.data.formats.lerobot.writer import LeRobotFormat, write_lerobot


def test_a_bad_transition_of_a_pickle_drops_its_episode_only(tmp_path):
    first, second, third = transitions(4, seed=1), changed(2, "actions", np.full(7, np.nan)), transitions(3, seed=2)
    path = dump(tmp_path / "demo.pkl", first + second + third)
    errors = []
    found = list(read_file(path, {"wrist": IMAGE, "state": STATE}, 7, on_bad=errors.append))
    assert [len(segment) for segment in found] == [4, 3]
    assert [str(error) for error in errors] == [
        f"{path}: transition 6: actions[0]: expected a number in [-1, 1], found nan."
    ]


@pytest.mark.parametrize(
    "name", [name for name, (content, _) in BAD.items() if isinstance(content, list) and len(content) == 4]
)
def test_whatever_is_wrong_with_an_episode_the_next_is_read(tmp_path, name):
    content, _message = BAD[name]
    path, errors = dump(tmp_path / "demo.pkl", content + transitions(3, seed=2)), []
    found = list(read_file(path, {"wrist": IMAGE, "state": STATE}, 7, on_bad=errors.append))
    assert [len(segment) for segment in found] == [3]
    assert len(errors) == 1
    np.testing.assert_array_equal(
        found[0].observations["wrist"][0], transitions(3, seed=2)[0]["observations"]["wrist"][0]
    )


def test_a_bad_row_group_does_not_hide_those_after_it(tmp_path):
    bad = stamped_segment(2, 0, 4)
    bad.rewards[1] = np.inf
    write_demos(tmp_path / "demos", [stamped_segment(1, 0, 3), bad, stamped_segment(3, 0, 5)])
    shard, errors = tmp_path / "demos" / "shard-00000.parquet", []
    assert [s.episode for s in read_file(str(shard), on_bad=errors.append)] == ["1", "3"]
    assert "transition 4: rewards" in str(errors[0])
    column = pq.ParquetFile(shard).metadata.row_group(1).column(1)
    raw = bytearray(shard.read_bytes())
    raw[column.data_page_offset : column.data_page_offset + column.total_compressed_size] = bytes(
        column.total_compressed_size
    )
    shard.write_bytes(raw)
    errors.clear()
    assert [s.episode for s in read_file(str(shard), on_bad=errors.append)] == ["1", "3"]
    assert "row 3: its row group cannot be read" in str(errors[0])


@pytest.mark.slow
def test_what_is_skipped_is_counted_once(tmp_path, shared_ray, caplog):
    write_demos(tmp_path / "0", recorded())
    dump(tmp_path / "1.pkl", changed(2, "actions", np.full(7, np.nan)))
    dump(tmp_path / "2.pkl", {"observations": []})
    dump(tmp_path / "3.pkl", transitions(3) + changed(1, "rewards", None) + changed(2, "rewards", None))
    paths = [str(tmp_path / "0"), str(tmp_path / "*.pkl")]
    found = list(segments(read_demos(paths, skip_bad=True)))
    assert [len(segment) for segment in found] == [5, 1, 9, 3]
    warnings = [record.getMessage() for record in caplog.records if "dropped" in record.getMessage()]
    assert len(warnings) == 1
    assert warnings[0].startswith("4 of 8 episodes dropped: ") and "1.pkl: transition 2: actions[0]" in warnings[0]
    with pytest.raises(DemoError, match="2 of 2 episodes dropped: .* Nothing is left"):
        list(segments(read_demos([str(tmp_path / "1.pkl"), str(tmp_path / "2.pkl")], skip_bad=True)))
    with pytest.raises(DemoError, match=r"1\.pkl: transition 2"):
        list(segments(read_demos(paths)))


def frame(episode: int, length: int = 1):
    """An episode that is stopped by a person; LeRobot then loses its last transition."""
    return replace(stamped_segment(episode, 0, length), observations={"state": np.zeros((length + 1, 2), np.float32)})


def test_episodes_of_one_frame_are_counted(tmp_path, caplog):
    write_lerobot(tmp_path / "set", [frame(0), frame(1, 5), frame(2)], LeRobotFormat("v3.0"))
    [path], errors = find_files(str(tmp_path / "set")), []
    assert [len(segment) for segment in read_file(path, on_bad=errors.append)] == [4]
    assert [type(error) for error in errors] == [ShortEpisode] * 2
    assert str(errors[0]) == f"{path}: an episode of one frame, with no observation after its action."
    with caplog.at_level(logging.WARNING):
        done = convert(str(tmp_path / "set"), tmp_path / "shards", "parquet", LeRobotFormat("v3.0"), AS_RECORDED, False)
    assert done.num_episodes == 1
    assert f"2 of 3 episodes dropped: {path}: an episode of one frame" in caplog.text


def test_episodes_of_one_frame_alone_are_an_error_that_names_them(tmp_path):
    write_lerobot(tmp_path / "set", [frame(0)], LeRobotFormat("v3.0"))
    with pytest.raises(DemoError, match=r"1 of 1 episodes dropped: .*an episode of one frame.*Nothing is left"):
        convert(str(tmp_path / "set"), tmp_path / "out", "parquet", LeRobotFormat("v3.0"), AS_RECORDED, False)
    assert not (tmp_path / "out").exists()


def test_ray_counts_episodes_of_one_frame_too(tmp_path, shared_ray, caplog):
    write_lerobot(tmp_path / "set", [frame(0), frame(1, 5)], LeRobotFormat("v2.1"))
    with caplog.at_level(logging.WARNING):
        assert [len(segment) for segment in segments(read_demos(str(tmp_path / "set")))] == [4]
    assert "1 of 2 episodes dropped: " in caplog.text and "an episode of one frame" in caplog.text
