"""Runs of the learning benchmark, their resumption, and the report over their seeds."""

import json
from pathlib import Path
from subprocess import CalledProcessError

import commands
import pytest

from serl_ray.benchmarks import learn
from serl_ray.benchmarks.commands import words
from serl_ray.benchmarks.learn import METHODS, Learn, LearningRun
from serl_ray.benchmarks.report import Report, band, lasting
from serl_ray.benchmarks.tasks import STANDARD_TASKS
from serl_ray.cli.parser import given_options
from serl_ray.options.presets import preset
from serl_ray.options.sets import HybridOptions, TrainingOptions
from serl_ray.utils.options import OptionError, Role, names_of

CURVES = sorted((Path(__file__).parents[2] / "docs" / "curves").glob("*.json"))
CHANGED = {"bfloat16"}
"""Options whose values have got other names since some of the runs."""


def outcome(**changes):
    curve = {"500": 0.2, "1000": 0.9, "1500": 1.0}
    plain = {"task": "peg", "input": "state", "method": "default", "demos": 20, "seed": 0, "control_hz": 10.0}
    return plain | {"success": 1.0, "curve": curve, "intervened_steps": 0, "minutes": 2.0} | changes


def rows_of(table):
    lines = [line for line in table.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


@pytest.mark.parametrize(
    ("curve", "reached"),
    [
        ({"500": 0.9, "1000": 0.95}, 500),
        ({"500": 0.9, "1000": 0.8, "1500": 0.9}, 1500),
        ({"1500": 0.9, "500": 1.0, "1000": 0.0}, 1500),
        ({"500": 1.0, "1000": 0.89}, None),
        ({}, None),
    ],
)
def test_a_level_is_reached_where_success_stays_there(curve, reached):
    assert lasting(curve, 0.9) == reached


def test_a_band_is_the_mean_over_seeds_with_student_s_interval():
    found = band([{"10": 0.0, "20": 0.8}, {"10": 0.0, "20": 1.0}, {"10": 0.0, "20": 0.6, "30": 1.0}])
    assert found[10] == (0.0, 0.0, 0.0) and found.keys() == {10, 20}
    mean, low, high = found[20]
    assert mean == pytest.approx(0.8) and high == 1.0
    assert low == pytest.approx(0.8 - 4.3027 * 0.2 / 3**0.5, abs=1e-4)  # t(0.975) with two degrees of freedom


def test_the_report_has_a_row_for_each_method_and_says_what_never_was(tmp_path, capsys):
    (tmp_path / "runs").mkdir()
    runs = [
        outcome(),
        outcome(seed=1, curve={"500": 0.9, "1000": 0.9}, minutes=4.0, success=0.9),
        outcome(method="redq", curve={"500": 0.1}, minutes=None, success=0.1, intervened_steps=30),
        outcome(method="utd2", curve={"500": 0.5}, minutes=None, success=None),
    ]
    for number, run in enumerate(runs):
        (tmp_path / "runs" / f"{number}.json").write_text(json.dumps(run))
    Report(results=(tmp_path / "runs" / "0.json", tmp_path / "runs"), save_dir=tmp_path / "report").run()
    head, _, default, redq, utd2 = rows_of(capsys.readouterr().out)
    named = dict(zip(head, default, strict=True))
    assert named["runs"] == "2" and named["success at the end"] == "0.95 (0.90 to 1.00)"
    assert named["env steps to 0.9"] == "750 (500 to 1,000)" and named["robot minutes to 0.9"] == "1.2 (0.8 to 1.7)"
    assert named["env steps to 0.95"] == "1,500; never in 1 of 2" and named["minutes"] == "3 (2 to 4)"
    named = dict(zip(head, redq, strict=True))
    assert named["env steps to 0.9"] == "never" and named["steps with interventions"] == "30"
    assert dict(zip(head, utd2, strict=True))["success at the end"] == "not ended"
    assert named["minutes"] == "" and (tmp_path / "report" / "curves.png").stat().st_size > 1000


def test_no_runs_are_named(tmp_path):
    with pytest.raises(OptionError, match="no JSON files"):
        Report(results=(str(tmp_path),)).run()  # as a command line has it


@pytest.mark.parametrize("name", METHODS)
def test_a_method_is_made_of_options_that_there_are(name):
    options = METHODS[name]
    assert options.keys() <= {*names_of(HybridOptions), "preset"}


@pytest.mark.parametrize("changes", [{"tasks": ("pegg",)}, {"methods": ("sac2",)}])
def test_what_is_unknown_is_named_before_anything_is_trained(tmp_path, changes):
    with pytest.raises(ValueError, match="pegg|sac2"):
        Learn(save_dir=tmp_path / "runs", **changes).run()
    assert not (tmp_path / "runs").exists()


def test_a_file_among_the_settings_is_no_folder_of_the_results(tmp_path):
    section = Learn(save_dir=tmp_path, settings={"trunk": "weights/resnet10.pkl", "discount": "0.9"})
    name = section._name(LearningRun("peg", "default", 0))
    assert name == "peg-state-default,trunk=resnet10.pkl,discount=0.9-demos20-seed0"


@pytest.mark.slow
def test_a_run_leaves_its_curve_and_options_and_is_not_made_twice(tmp_path, monkeypatch, capsys):
    name, settings = "peg-state-default,batch_size=8-demos1-seed3.json", {"batch_size": "8"}
    started, growing = [], []

    def run_serl(*words, meanwhile=lambda: None, **options):
        started.append(words)
        meanwhile()
        assert len(started) > 2 or not (tmp_path / name).exists()
        commands.run(*words, **options)
        meanwhile()
        if words[0] == "train":
            growing.append(json.loads((tmp_path / name).read_text()))

    monkeypatch.setattr(learn, "run_serl", run_serl)
    sizes = {"seeds": (3,), "demos": 1, "max_steps": 60, "evaluate_every": 60, "episodes": 1}
    section = Learn(save_dir=tmp_path, tasks=("peg",), settings=settings, **sizes)
    section.run()
    assert [words[0] for words in started] == ["record", "train"] and "--resume" not in started[1]
    found = json.loads((tmp_path / name).read_text())
    assert growing == [found | {"success": None, "minutes": None}]
    assert found["options"]["batch_size"] == 8 and found["options"]["critic_ensemble_size"] == 4
    assert (
        set(found["options"]) >= set(names_of(TrainingOptions)) - set(names_of(TrainingOptions, Role.PATH))
        and found["machine"]["processor"]
    )
    assert found["curve"].keys() == {"60"} and found["success"] in (0.0, 1.0) and found["minutes"] > 0
    assert "| peg | state | default,batch_size=8 | 1 | 1 |" in capsys.readouterr().out
    assert (tmp_path / "table.md").exists() and (tmp_path / "curves.png").stat().st_size > 1000
    section.run()
    assert len(started) == 2, "what is there is not made again"
    with pytest.raises(OptionError, match="other options"):
        Learn(save_dir=tmp_path, tasks=("peg",), settings=settings, **sizes | {"max_steps": 120}).run()
    (tmp_path / name).write_text(json.dumps(found | {"success": None}))  # as after an interruption
    section.run()
    assert len(started) == 3 and "--resume" in started[2]
    assert json.loads((tmp_path / name).read_text())["success"] == found["success"]


@pytest.mark.parametrize("path", CURVES, ids=lambda path: path.stem)
def test_the_command_of_a_run_in_the_documentation_gives_it_the_same_options(path):
    run = json.loads(path.read_text())
    assert path.name == f"{run['task']}-{run['input']}-{run['method']}-demos{run['demos']}-seed{run['seed']}.json"
    assert run["task"] in STANDARD_TASKS
    method, *settings = run["method"].split(",")
    given = {"preset": "none"} | METHODS[method] | dict(setting.split("=") for setting in settings)
    named = preset(given.pop("preset"), HybridOptions)
    options = HybridOptions.of(**(named | given_options("serl train", words(given), HybridOptions)))
    expected = json.loads(json.dumps({**options.learning.flat(), **options.agent.flat()}))
    found = {"discount"} if options.agent.discount is None else set()  # by the demonstrations
    names = (expected.keys() & run["options"].keys()) - CHANGED - found
    assert {name: run["options"][name] for name in names} == {name: expected[name] for name in names}


@pytest.mark.slow
def test_a_command_is_watched_while_it_runs_and_its_failure_is_one(monkeypatch):
    monkeypatch.setattr("serl_ray.benchmarks.commands.SECONDS", 0.1)
    looks = []
    learn.run_serl("train", "--help", meanwhile=lambda: looks.append(None))
    assert looks
    with pytest.raises(CalledProcessError):
        learn.run_serl("train", "--no_such_option", "1")
