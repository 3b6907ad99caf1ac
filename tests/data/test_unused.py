"""Parts of demonstrations that are not read are named once, and what is said twice must agree or is named."""

import json
import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from lerobot_sets import change_info, episode, read, rewritten, with_column
from recordings import dump, transitions
from stamped import stamped_segment

from serl_ray.data.counting import count_in_file
from serl_ray.data.demos import find_files, first_segment, read_file, write_demos
from serl_ray.data.errors import DemoError
from serl_ray.data.formats.lerobot.writer import LeRobotFormat, write_lerobot


def told(n=4, **columns):
    """An episode of n transitions with more fields; `infos_NAME` is a field of their infos."""
    listed = transitions(n)
    for name, values in columns.items():
        for transition, value in zip(listed, values, strict=True):
            if name.startswith("infos_"):
                transition["infos"][name.removeprefix("infos_")] = value
            else:
                transition[name] = value
    return listed


def said(caplog, part):
    return [record.getMessage() for record in caplog.records if part in record.getMessage()]


def test_fields_of_pickles_that_are_not_used_are_named_once_for_a_folder(tmp_path, caplog):
    for name in ("a.pkl", "b.pkl"):
        dump(tmp_path / name, told(reset=[1, 0, 0, 0], is_first=[1, 0, 0, 0]))
    for path in find_files(str(tmp_path)) * 2:
        assert len(list(read_file(path))) == 1
    assert said(caplog, "not used") == [
        f"{tmp_path / 'a.pkl'}: fields that are not used: reset, is_first. "
        "Only the first such file of a folder is named."
    ]


def test_only_reading_names_fields(tmp_path, caplog):
    path = dump(tmp_path / "a.pkl", told(reset=[1, 0, 0, 0]))
    assert count_in_file(path) == 5 and len(first_segment(path)) == 1 and not caplog.text


@pytest.mark.parametrize(
    ("columns", "names"),
    [
        ({"infos_is_intervention": [True] * 4}, r"infos\['is_intervention'\]"),
        (
            {"infos_teleop_action": [np.zeros(7)] * 4, "infos_terminated": [0] * 4},
            r"infos\['teleop_action'\], infos\['term",
        ),
        ({"infos_left": [0] * 4, "infos_original_state_obs": [{}] * 4}, None),
        ({"infos_succeed": [0, 0, 0, 1], "infos_TimeLimit.truncated": [False] * 4}, None),
        ({"info": [{}] * 4}, r"fields that are not used: info\."),
        ({"discount": [1, 1, 1, 0], **{f"extra{i}": [0] * 4 for i in range(7)}}, "discount, extra0, .* and 2 more"),
    ],
)
def test_names_in_infos_that_tell_something_are_named_and_others_are_not(tmp_path, caplog, columns, names):
    list(read_file(dump(tmp_path / "a.pkl", told(**columns))))
    messages = said(caplog, "not used")
    assert [bool(re.search(names, message)) for message in messages] == [True] if names else not caplog.text


def test_a_persons_action_that_differs_from_the_stored_one_is_counted(tmp_path, caplog):
    listed = transitions(4)
    for transition in listed[:3]:
        transition["infos"]["intervene_action"] = transition["actions"].astype(np.float32)
    listed[2]["infos"]["intervene_action"] = np.ones(7)
    listed[1]["grasp_penalty"] = 0.0
    [segment] = read_file(dump(tmp_path / "a.pkl", listed))
    np.testing.assert_array_equal(segment.actions[2], listed[2]["actions"].astype(np.float32))
    assert segment.intervened.tolist() == [True, True, True, False]
    both = "transitions that have both; the value in infos is not used. Only the first such file of a folder is named."
    list(read_file(dump(tmp_path / "b.pkl", listed)))
    assert [record.getMessage() for record in caplog.records] == [
        f"{tmp_path / 'a.pkl'}: the field actions differs from infos['intervene_action'] in 1 of the 3 {both}",
        f"{tmp_path / 'a.pkl'}: the field grasp_penalty differs from infos['grasp_penalty'] in 1 of the 1 {both}",
    ]


def test_a_flag_of_interventions_goes_before_the_info(tmp_path, caplog):
    listed = transitions(3)
    for transition in listed:
        transition["infos"]["intervene_action"] = transition["actions"]
        transition["intervened"] = False
    [segment] = read_file(dump(tmp_path / "a.pkl", listed))
    assert not segment.intervened.any() and not caplog.text


def test_rows_of_nothing_in_an_array_of_interventions_are_none(tmp_path, caplog):
    listed = transitions(3)
    acted = np.stack([listed[0]["actions"], *np.full((2, 7), np.nan)])
    whole = {
        "observations": {"state": np.zeros((4, 3), np.float32)},
        **{name: np.stack([t[name] for t in listed]) for name in ("actions", "rewards", "dones")},
        "infos": {"intervene_action": acted},
    }
    [segment] = read_file(dump(tmp_path / "a.pkl", [whole]))
    assert segment.intervened.tolist() == [True, False, False] and not caplog.text


def test_dones_float_must_agree_with_dones(tmp_path):
    path = dump(tmp_path / "a.pkl", told(dones_float=[0.0, 0.0, 0.0, 0.0]))
    with pytest.raises(DemoError, match="transition 3: dones_float: expected the value of dones, which means the same"):
        list(read_file(path))


@pytest.mark.parametrize(("name", "value", "success"), [("succeed", True, True), ("success", 0.0, False)])
def test_success_in_the_info_of_a_pickle_is_kept(tmp_path, name, value, success):
    [segment] = read_file(dump(tmp_path / "a.pkl", told(**{f"infos_{name}": [False] * 3 + [value]})))
    assert segment.success is success


def test_files_beside_demonstrations_are_named_once(tmp_path, caplog):
    write_demos(tmp_path / "demos" / "a.pkl", [stamped_segment(0, 0, 3, done=True)])
    for name in ("b.npz", "c.h5", "episodes.json", "notes.txt", "demos.png", ".hidden", "_SUCCESS"):
        (tmp_path / "demos" / name).touch()
    (tmp_path / "demos" / "d.zarr").mkdir()
    write_demos(tmp_path / "demos" / "shards", [stamped_segment(1, 0, 3, done=True)])
    for _ in range(2):
        assert find_files(str(tmp_path / "demos")) == [str(tmp_path / "demos" / "a.pkl")]
    [message] = [record.getMessage() for record in caplog.records]
    assert message.startswith(f"{tmp_path / 'demos'}: not read: b.npz, c.h5, d.zarr, episodes.json, shards. ")
    with pytest.raises(FileNotFoundError, match=r"no demonstrations there, only b\.npz\. Give"):
        find_files(str(tmp_path / "demos" / "*.npz"))


def test_columns_of_shards_that_are_not_used_are_named(tmp_path, caplog):
    write_demos(tmp_path / "demos", [stamped_segment(0, 0, 3, done=True)])
    shard = tmp_path / "demos" / "shard-00000.parquet"
    pq.write_table(pq.read_table(shard).append_column("quality", pa.array([1, 2, 3])), shard)
    assert len(list(read_file(str(shard)))) == 1
    assert f"{shard}: columns that are not used: quality." in caplog.text


def test_columns_of_lerobot_that_are_not_used_are_named_once(tmp_path, caplog):
    write_lerobot(tmp_path / "plain", [episode(3)])
    read(tmp_path / "plain")
    assert not caplog.text
    write_lerobot(tmp_path / "set", [episode(3), episode(3, number=1)])
    features = {"observation.words": {"dtype": "string", "shape": [1], "names": None}}
    info = json.loads((tmp_path / "set/meta/info.json").read_text())
    change_info(tmp_path / "set", features=info["features"] | features)
    rewritten(tmp_path / "set", with_column("next.value", [0.0] * 6))
    rewritten(tmp_path / "set", with_column("is_intervention", [True] * 6))
    rows = tmp_path / "set" / "meta/episodes/chunk-000/file-000.parquet"
    pq.write_table(with_column("outcome", ["good", "bad"])(pq.read_table(rows)), rows)
    assert len(read(tmp_path / "set")) == 2
    [message] = said(caplog, "not used")
    assert message.startswith(
        f"{tmp_path / 'set'}: columns that are not used: observation.words, next.value, is_intervention, "
        "outcome (of episodes). Rewards, ends and interventions are read from next.reward, next.done,"
    )


@pytest.mark.parametrize(
    ("version", "known"), [("v3.1", "v3.0"), ("v3.12", "v3.0"), ("v2.1.1", "v2.1"), ("v3.0", None), ("v2.1", None)]
)
def test_versions_that_nobody_has_tested_are_named(tmp_path, caplog, version, known):
    write_lerobot(tmp_path / "set", [episode(3)], LeRobotFormat(version[:4] if known is None else known))
    change_info(tmp_path / "set", codebase_version=version)
    assert len(read(tmp_path / "set")) == len(read(tmp_path / "set")) == 1
    expected = [f"codebase_version {version} is read as {known}; tested are v2.0, v2.1, v3.0."] if known else []
    assert len(caplog.records) == len(expected) and all(part in caplog.text for part in expected)


def test_a_version_with_another_layout_is_refused(tmp_path):
    write_lerobot(tmp_path / "set", [episode(3)])
    for version in ("v4.0", "v2.10", "v30", "v3"):
        change_info(tmp_path / "set", codebase_version=version)
        with pytest.raises(ValueError, match=f"codebase_version {version}; this release reads v2.1 and v3.0"):
            read(tmp_path / "set")


def test_tasks_and_splits_that_no_agent_is_told_are_named_once(tmp_path, caplog):
    write_lerobot(tmp_path / "set", [episode(3), episode(4)])
    rows = tmp_path / "set" / "meta/episodes/chunk-000/file-000.parquet"
    pq.write_table(with_column("tasks", [["push"], ["pick"]])(pq.read_table(rows)), rows)
    change_info(tmp_path / "set", splits={"train": "0:1", "test": "1:2"})
    assert len(read(tmp_path / "set")) == len(read(tmp_path / "set")) == 2
    assert said(caplog, "2 tasks") == [
        f"{tmp_path / 'set'}: its episodes have 2 tasks, 'pick', 'push'. No agent is told its task: all are learned as "
        "one."
    ]
    assert said(caplog, "splits the") == [
        f"{tmp_path / 'set'}: info.json splits the episodes: train 0:1, test 1:2. All of them are read."
    ]
