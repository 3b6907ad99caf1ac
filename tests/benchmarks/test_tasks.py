import json

import pytest

from serl_ray.benchmarks.tasks import STANDARD_TASKS, Tasks


def test_a_task_s_expert_and_speed_are_reported(tmp_path):
    Tasks(save_dir=tmp_path, tasks=("peg",), episodes=3, image_steps=2).run()
    rows = {row["name"]: row["value"] for row in json.loads((tmp_path / "tasks.json").read_text())["rows"]}
    assert rows["peg, expert's success"] == 1.0 and 2 <= rows["peg, expert's steps to it"] <= 100
    assert rows["peg, from state"] > 0 and rows["peg, from 2 camera(s)"] > 0


@pytest.mark.parametrize("name", STANDARD_TASKS)
def test_a_task_is_what_its_entry_says(name):
    task = STANDARD_TASKS[name]
    if task.env_name != "tabletop":
        pytest.importorskip(task.env_name.replace("-", "_"))
    env = task.make(pixels=False)
    assert env.metadata["render_fps"] == task.control_hz
    assert callable(env.unwrapped.expert_action)
    env.close()


def test_an_unknown_task_is_named(tmp_path):
    with pytest.raises(ValueError, match="pegg"):
        Tasks(save_dir=tmp_path, tasks=("pegg",)).run()
