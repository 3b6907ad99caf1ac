"""The sections of the benchmark run, on little, and leave what they have measured with its configuration."""

import json
import os
import platform
from pathlib import Path

import commands
import pytest

from serl_ray.benchmarks import objectives, offline, operator, rollout, scaling, soak, timing
from serl_ray.benchmarks.acting import Acting
from serl_ray.benchmarks.deploy import Deploy
from serl_ray.benchmarks.franka import Franka
from serl_ray.benchmarks.kernels import Kernels
from serl_ray.benchmarks.learn import Learn
from serl_ray.benchmarks.learner import Learner
from serl_ray.benchmarks.maps import Maps
from serl_ray.benchmarks.objectives import Objectives
from serl_ray.benchmarks.overhead import Overhead
from serl_ray.benchmarks.remote import Remote
from serl_ray.benchmarks.replay import Replay
from serl_ray.benchmarks.start import Start
from serl_ray.benchmarks.trunks import Trunks
from serl_ray.data.demos import read_file
from serl_ray.data.replay.log import num_transitions
from serl_ray.files.atomic import write_json
from serl_ray.options.presets import PRESETS
from serl_ray.options.sets import TrainingOptions
from serl_ray.utils.options import Role, names_of

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def output(tmp_path, monkeypatch):
    """A section's folder, beside which nothing may lie in the end; its commands begin with their imports done."""
    monkeypatch.chdir(tmp_path)
    for section in (objectives, offline):
        monkeypatch.setattr(section, "run_serl", commands.run)
    yield tmp_path / "output"
    assert [path.name for path in tmp_path.iterdir()] == ["output"]


def rows_of(output, section):
    """Names and values of a section, whose file has machine, versions and configuration, too."""
    content = json.loads((output / f"{section}.json").read_text())
    assert content["machine"]["processor"] and content["machine"]["torch"] and content["machine"]["ray"]
    assert content["configuration"]["save_dir"] == str(output)
    return {row["name"]: row["value"] for row in content["rows"]}


def outcomes_of(output):
    """The lines of a section of whole runs, each with machine, versions and two configurations: the section's and the
    run's."""
    outcomes = [json.loads(line) for line in (output / "results.jsonl").read_text().splitlines()]
    for outcome in outcomes:
        assert outcome["machine"]["processor"] and outcome["machine"]["torch"] and outcome["machine"]["ray"]
        assert outcome["configuration"]["save_dir"] == str(output) and outcome["success"] in (0.0, 1.0), (
            "of one episode"
        )
        assert set(outcome["options"]) >= {*names_of(TrainingOptions)} - {*names_of(TrainingOptions, Role.PATH)}
    return outcomes


def limits_of(output, section):
    """What the values should be, where they should be something."""
    content = json.loads((output / f"{section}.json").read_text())
    return {row["name"]: row["limit"] for row in content["rows"] if row["limit"]}


@pytest.mark.usefixtures("shared_ray")
@pytest.mark.parametrize(
    "section",
    [
        lambda output: Acting(save_dir=output, crops=1, repeats=1),
        lambda output: Replay(save_dir=output, capacity=404, batch_size=8, repeats=1),
        lambda output: Overhead(save_dir=output, learner_steps=4, env_steps=2, repeats=1),
    ],
    ids=["acting", "replay", "overhead"],
)
def test_a_section_leaves_its_rows(section, output, request):
    section(output).run()
    [file] = output.iterdir()
    content = json.loads(file.read_text())
    assert file.stem in request.node.name and content["machine"]["torch"] and content["configuration"]["repeats"] == 1
    assert all(row["value"] > 0 for row in content["rows"])
    assert any(row["limit"] for row in content["rows"])


@pytest.mark.slow  # a training starts, with all of its processes
def test_the_start_of_a_training_is_measured(output, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    Start(save_dir=output, demos=1, repeats=1).run()
    seconds = list(rows_of(output, "start").values())
    assert len(seconds) == 5 and seconds == sorted(seconds) and seconds[0] > 0
    assert list(limits_of(output, "start")) == ["until the first env step is stored"]


def test_each_trunk_is_measured(output):
    Trunks(save_dir=output, trunks=("random",), batch_size=2, repeats=1).run()
    rows = rows_of(output, "trunks")
    assert rows.pop("random: a stored map") == 16 and len(rows) == 2 and min(rows.values()) > 0


def test_the_loop_over_an_operator_is_measured_with_delays(output, monkeypatch):
    monkeypatch.setattr(operator, "SOAK_SECONDS", 0.5)
    operator.Operator(save_dir=output, steps=20, repeats=1, delays=(0, 30), soak_minutes=0.01).run()
    rows = rows_of(output, "operator")
    assert rows["frame to command, 30 ms added each way: p50"] > 60
    assert rows["frame to command, 0 ms added each way: p50"] < rows["frame to command, 30 ms added each way: p50"]
    assert rows["watched / alone"] > 0
    assert [name for name in rows if name.startswith("threads after")]
    assert len(limits_of(output, "operator")) == 8


@pytest.mark.slow  # each path starts a robot in another process
def test_every_path_to_a_robot_is_measured(output, capsys, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(str, (ROOT, ROOT / "robot"))))
    Remote(save_dir=output, steps=10, delays=(15,)).run()
    rows = rows_of(output, "remote")
    paths = ("in this process", "remote, 30 ms of round trip added", "Franka's server", "LeRobot's adapter, remote")
    assert [name for name in rows if name.endswith("p50")] == [f"{path}: action to observation, p50" for path in paths]
    assert rows["remote, 30 ms of round trip added: action to observation, p50"] > 30
    assert rows["Franka's server: action to observation, p50"] > 80, "it observes 0.08 s after its command"
    table = capsys.readouterr().out.split("| path")[1]
    assert all(f"| {path} |" in table for path in paths)


@pytest.mark.slow  # demonstrations are recorded, and a policy learns a little, by a server of its own
@pytest.mark.parametrize("pixels", [False, True], ids=["state", "pixels"])
def test_a_policy_learns_by_the_server_of_a_franka(output, pixels):
    Franka(save_dir=output, pixels=pixels, max_steps=130, episodes=1).run()
    rows = rows_of(output, "franka")
    assert rows["success after 130 env steps, 1 episodes"] in (0.0, 1.0)
    for demo in read_file(next(output.glob("*.pkl"))):
        assert demo.rewards.sum() == 1.0 and demo.observations["state"][0, 0] > 0.85, "each begins with an open gripper"


@pytest.mark.slow  # a policy is exported, and served by another process
def test_every_way_to_ask_a_policy_is_measured(output, monkeypatch):
    pytest.importorskip("onnxruntime")
    monkeypatch.setattr("serl_ray.benchmarks.deploy.FRESH_CAMERAS", {"state": ()})
    Deploy(save_dir=output, steps=5, clients=(2,), control_hz=20.0).run()
    rows = rows_of(output, "deploy")
    ways = ("PyTorch, in this process", "exported, onnxruntime", "served to 2 robots")
    assert list(rows) == [f"state, {way}: {share}" for way in ways for share in ("p50", "p95")]
    assert rows["state, served to 2 robots: p50"] > 2, "the server waits for other robots"


def test_a_replay_row_costs_little_beside_its_frames(output):
    Replay(save_dir=output, capacity=404, batch_size=8, repeats=1).run()
    assert rows_of(output, "replay")["raw images: bytes a row / bytes of an image, state and action"] <= 1.02


def test_the_processor_is_called_by_its_model(tmp_path, monkeypatch):
    monkeypatch.setattr(timing, "CPUINFO", tmp_path / "output")
    timing.CPUINFO.write_text("processor\t: 0\nmodel name\t: A Fast One\nprocessor\t: 1\nmodel name\t: A Fast One\n")
    assert timing.machine()["processor"] == "A Fast One"
    timing.CPUINFO.write_text("processor\t: 0\nCPU architecture: 8\n")
    assert timing.machine()["processor"] in (platform.processor(), platform.machine())


def test_the_learner_and_what_acts_are_measured_as_the_readme_has_it(output):
    Learner(save_dir=output, batch_size=2, image_size=32, repeats=1, compile=False).run()
    Acting(save_dir=output, crops=1, repeats=1).run()
    wanted = {"raw pixels / stored maps", "raw pixels / 4 bare trunk passes", "full update, state alone"}
    assert wanted <= set(rows_of(output, "learner"))
    assert {"action / bare trunk pass", "action and 1 maps / bare pass over 1"} <= set(limits_of(output, "acting"))


def test_fast_forms_are_measured_beside_plain_ones(output):
    Kernels(save_dir=output, batch_size=2, repeats=1).run()
    measured = rows_of(output, "kernels")
    assert len(measured) == 27 and all(value > 0 for value in measured.values())
    plain, fast = measured["dropout mask, plain"], measured["dropout mask, fast"]
    assert measured["dropout mask, plain / fast"] == pytest.approx(plain / fast)


@pytest.mark.slow
def test_a_rollout_worker_is_measured_beside_a_bare_loop_and_a_slow_learner(shared_ray, output, monkeypatch):
    monkeypatch.setattr(rollout, "INPUTS", {"state": (), "a camera": ("wrist",)})
    rollout.Rollout(save_dir=output, steps=20, repeats=1, learner_seconds=0.2, seconds=2.0).run()
    assert [path.name for path in output.iterdir()] == ["rollout.json"]
    held = "rate held at 10 Hz, learner step 0.2 s"
    runs = ("state", "a camera", "a camera, watched by an operator")
    wanted = {f"{name}: one rollout worker / bare loop" for name in runs} | {held}
    assert set(limits_of(output, "rollout")) == wanted
    assert 0.0 < rows_of(output, "rollout")[held] < 1.3


@pytest.mark.slow
def test_offline_training_is_measured_in_memory_and_streaming(own_cluster, output, monkeypatch):
    monkeypatch.setattr(offline, "cameras_of", lambda setup_mode: ("wrist",))
    small = {"augment_crops": 1, "critic_ensemble_size": 2}
    monkeypatch.setitem(PRESETS, "tabletop", PRESETS["tabletop"] | small)
    offline.Offline(save_dir=output, episodes=4, copies=2, memory_gb=0.001, batch_size=4, learner_steps=50).run()
    rows = rows_of(output, "offline")
    for name in ("in memory", "streaming"):
        assert 0.0 <= rows[f"{name}: share of the time that the learner waits"] <= 1.0
        assert rows[f"{name}: size of the data"] > 0
        assert f"{name}: greatest memory of the learner's process beyond that at the start" in rows
    assert rows["2 cores / 1 core"] > 0
    assert rows["streaming: size of the data / memory granted"] > 1


def test_stored_maps_and_raw_pixels_are_compared_over_the_same_steps(output, capsys, monkeypatch):
    curves = {
        "stored_maps": ({"10": 0.0, "20": 0.88}, {"10": 0.2, "20": 0.92}),
        "raw_pixels": ({"10": 0.1, "20": 0.1},) * 2,
    }

    def train(self, run, asked, path):
        curve = curves[self.save_dir.name][run.seed]
        write_json(path, {"asked": asked, "curve": curve, "success": curve["20"]})

    monkeypatch.setattr(Learn, "_train", train)
    Maps(save_dir=output, seeds=(0, 1), episodes=50).run()
    assert (output / "maps.png").stat().st_size > 1000
    table = capsys.readouterr().out
    assert "| 10 | 0.10 [0.00, 1.00] | 0.10 [0.10, 0.10] | yes |" in table
    assert "| 20 | 0.90 [0.65, 1.00] | 0.10 [0.10, 0.10] | no |" in table, (
        "12.7 standard errors, with one degree of freedom"
    )
    assert "stored maps, each seed in 50 fresh episodes at last: [0.88, 0.92]" in table


@pytest.mark.slow
def test_objectives_are_compared(output, capsys):
    options = {"batch_size": "8", "evaluation_episodes": "1"}
    mode, sizes = (
        "single-arm-fixed-gripper",
        {"seeds": (0,), "demos": 2, "max_steps": 20, "episodes": 1, "online_steps": 30},
    )
    Objectives(save_dir=output, setup_modes=(mode,), objectives=("awac",), settings=options, jobs=1, **sizes).run()
    offline, online = outcomes_of(output)
    assert online["objective"] == "awac, then online" and online["curve"].keys() == {"0", "30"}
    assert offline["objective"] == offline["options"]["objective"] == "awac" and offline["options"]["batch_size"] == 8
    assert offline["configuration"]["demos"] == 2
    assert f"| {mode} | {offline['success']:.2f}" in capsys.readouterr().out


@pytest.mark.slow
def test_a_soak_accounts_for_what_lies_on_disk(real_workers, output):
    soak.Soak(save_dir=output, minutes=0.0, control_hz=50.0, num_workers=1, break_every=300, sample_every=25).run()
    rows = rows_of(output, "soak")
    shards = sorted((output / "run" / "replay" / "online").glob("*.parquet"))
    assert rows["env steps stored"] == num_transitions(shards) >= 4 * 25
    assert rows["env steps unaccounted for"] == rows["interventions unaccounted for"] == 0
    assert rows["interventions stored that are not among the demonstrations"] == 0
    assert rows["learner_steps_per_second, second quarter"] > 0
    shards[0].unlink()
    assert soak.rows_of(shards[0].parent)[0] < rows["env steps stored"]


@pytest.mark.slow
def test_workers_of_many_nodes_are_measured_and_what_they_send(own_cluster, output, monkeypatch):
    monkeypatch.setattr(scaling, "INPUTS", {"state": ()})
    monkeypatch.setattr(scaling, "IDLE_SECONDS", 1.0)
    scaling.Scaling(save_dir=output, workers=(2,), seconds=2.0).run()
    assert [path.name for path in output.iterdir()] == ["scaling.json"]
    rows = rows_of(output, "scaling")
    assert rows["state: 2 workers, as fast as they go"] > 0
    assert 0.0 < rows["state: 2 robots at 10 Hz: env steps / ideal"] < 1.2
    assert rows["state: 2 robots at 10 Hz: traffic"] > rows["state: acting weights"] / 10 / 4  # a request is ten steps
