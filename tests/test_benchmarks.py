"""The sections of the benchmark run, on little, and leave what they have measured with its configuration."""

import json

import pytest
import ray

from serl_ray.benchmarks import scaling
from serl_ray.benchmarks.acting import Acting
from serl_ray.benchmarks.overhead import Overhead
from serl_ray.benchmarks.replay import Replay


@pytest.fixture(autouse=True)
def no_ray_left():
    yield
    ray.shutdown()


@pytest.mark.parametrize(
    "section",
    [
        lambda output: Acting(output, crops=1, repeats=1),
        lambda output: Replay(output, capacity=404, batch_size=8, repeats=1),
        lambda output: Overhead(output, learner_steps=4, env_steps=2, repeats=1),
    ],
    ids=["acting", "replay", "overhead"],
)
def test_a_section_leaves_its_rows(section, tmp_path, request):
    section(tmp_path).run()
    [file] = tmp_path.iterdir()
    content = json.loads(file.read_text())
    assert file.stem in request.node.name and content["machine"]["torch"] and content["configuration"]["repeats"] == 1
    assert all(row["value"] > 0 for row in content["rows"])
    assert any(row["limit"] for row in content["rows"])


def test_a_replay_row_costs_little_beside_its_frames(tmp_path):
    Replay(tmp_path, capacity=404, batch_size=8, repeats=1).run()
    rows = {row["name"]: row["value"] for row in json.loads((tmp_path / "replay.json").read_text())["rows"]}
    assert rows["raw frames: bytes a row / bytes of a frame, state and action"] <= 1.02


def test_workers_of_many_nodes_are_measured_and_what_they_send(tmp_path, monkeypatch):
    monkeypatch.setattr(scaling, "CAMERAS", {"state": ()})
    scaling.Scaling(tmp_path, workers=(2,), seconds=2.0).run()
    rows = {row["name"]: row["value"] for row in json.loads((tmp_path / "scaling.json").read_text())["rows"]}
    assert rows["state: 2 workers, as fast as they go"] > 0
    assert 0.0 < rows["state: 2 robots at 10 Hz: env steps / ideal"] < 1.2
    assert rows["state: 2 robots at 10 Hz: traffic"] > rows["state: acting weights"] / 10 / 4  # a request is ten steps
