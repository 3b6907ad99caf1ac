"""What runs and sweeps tell Weights & Biases and MLflow, and that neither can harm them."""

from __future__ import annotations

import json
import logging
import threading

import pytest
import yaml
from small_runs import SMALL
from tracked import mlflow_runs, wandb_runs

from serl_ray.options.sets import HybridRun
from serl_ray.runs import tracking
from serl_ray.runs.log import read_results
from serl_ray.runs.tracking import Lane, Mlflow, TrackedRun, Trackers, check_tracks
from serl_ray.runs.train import train
from serl_ray.sweeps.run import run_sweep

pytestmark = pytest.mark.usefixtures("shared_ray")
RUN = SMALL | {"max_steps": 100, "steps_per_iteration": 50, "evaluate_every": 50, "evaluation_episodes": 2}
RUN |= {"env_name": "line_envs:LineEnv"}


@pytest.fixture(scope="module", autouse=True)
def nothing_leaves_this_machine():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WANDB_MODE", "offline")
        patch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
        yield


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """MLflow's data base, which takes seconds to make."""
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow')}/mlflow.db"


def known(result):
    return {name: pytest.approx(value) for name, value in result.items()}


@pytest.mark.slow
def test_a_run_and_its_resumption_are_one_run_at_both(store, tmp_path):
    folder, mirror = tmp_path / "peg", f"file://{tmp_path}/store"
    options = {"track": ("wandb:lab/robots", f"mlflow:{store}"), "mirror": mirror, "seed": 3}
    train(HybridRun.of(**RUN, save_dir=folder, **options))
    results = read_results(folder / "logs")
    [told] = wandb_runs(folder).values()
    assert told["name"] == "peg" and told["project"] == "robots" and told["exit"] == 0
    assert told["config"]["max_steps"] == 100 and told["config"]["seed"] == 3 and "track" not in told["config"]
    elsewhere = tmp_path / "elsewhere" / "peg"
    train(HybridRun.of(**RUN | {"max_steps": 150}, save_dir=elsewhere, resume=True, **options))
    results += read_results(elsewhere / "logs")
    names = [json.loads((each / "tracks.json").read_text()) for each in (folder, elsewhere)]
    assert names[0] == names[1]
    rows = wandb_runs(folder)[names[0]["wandb"]]["rows"] + wandb_runs(elsewhere)[names[0]["wandb"]]["rows"]
    assert [row["_step"] for row in rows] == [50, 100, 150]
    last = {int(result["env/steps"]): result for result in results}  # the last evaluation is of the same step
    assert all(
        last[row["_step"]].items() <= {name: pytest.approx(value) for name, value in row.items()}.items()
        for row in rows
    )
    [told] = mlflow_runs(store, "serl_ray").values()
    assert told["name"] == "peg" and told["status"] == "FINISHED" and told["params"]["max_steps"] == "100"
    assert {name: steps[150] for name, steps in told["metrics"].items() if 150 in steps} == known(last[150])
    assert sorted(told["metrics"]["critic/loss"]) == [50, 100, 150]


def test_a_run_whose_name_a_server_does_not_know_begins_there(store, tmp_path):
    run = TrackedRun(tmp_path, {"lr": 1.0}, resume=True)
    run.note("mlflow", "0" * 32)
    Trackers((f"mlflow:{store}",), run).close(failed=True)
    name = run.known_as("mlflow")
    assert mlflow_runs(store, "serl_ray")[name]["status"] == "FAILED" and name != "0" * 32


def test_a_tracker_that_fails_does_not_harm_a_run(store, tmp_path, monkeypatch, caplog):
    logged = []

    def log(tracker, metrics, steps):
        logged.append(steps)
        raise ConnectionError("nobody is there")

    monkeypatch.setattr(Mlflow, "log", log)
    caplog.set_level(logging.WARNING)
    options = HybridRun.of(**RUN | {"max_steps": 150})
    assert train(options.replace(save_dir=tmp_path / "run", track=(f"mlflow:{store}",)))["env/steps"] == 150
    assert logged[:3] == [50, 100, 150] and caplog.text.count("nobody is there") == 1
    assert [result["env/steps"] for result in read_results(tmp_path / "run" / "logs")] == [50, 100, 150, 150]


def test_a_tracker_that_hangs_is_not_waited_for(caplog):
    gone, done = threading.Event(), threading.Event()
    lane = Lane("mlflow:somewhere", lambda: gone)
    lane.ask(lambda gone: gone.wait() and done.set())
    lane.close(seconds=0.1)
    assert "mlflow:somewhere has not taken everything within 0 s" in caplog.text and not done.is_set()
    gone.set()
    assert done.wait(10)


def test_a_tracker_that_works_again_is_said_to(caplog):
    caplog.set_level(logging.WARNING)
    done = []
    lane = Lane("mlflow:somewhere", lambda: done)
    for value in (0, 1, 0, 0, 1, 1):
        lane.ask(lambda done, value=value: done.append(1 / value))
    lane.close()
    assert done == [1, 1, 1] and caplog.text.count("fails: division by zero") == caplog.text.count("works again") == 2


def test_a_run_that_fails_is_told_as_failed(store, tmp_path):
    experiment = mlflow_runs(store, "serl_ray")
    options = HybridRun.of(**RUN | {"env_name": "line_envs:BurningEnv", "max_faults": 0})
    with pytest.raises(RuntimeError, match="caught fire"):
        train(options.replace(save_dir=tmp_path / "run", track=(f"mlflow:{store}", "wandb:peg")))
    [new] = mlflow_runs(store, "serl_ray").keys() - experiment.keys()
    assert mlflow_runs(store, "serl_ray")[new]["status"] == "FAILED"
    assert [told["exit"] for told in wandb_runs(tmp_path / "run").values()] == [1]


def test_what_cannot_be_set_up_ends_a_run_before_it_begins(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with pytest.raises(RuntimeError, match="track is 'wandb:peg', which cannot be set up: No WandB API key found"):
        train(HybridRun.of(**RUN, save_dir=tmp_path / "run", track=("wandb:peg",)))
    assert not (tmp_path / "run" / "checkpoints").exists()


@pytest.mark.parametrize(
    ("tracks", "message"),
    [
        (("tensorboard",), "track is 'tensorboard'; it must be wandb:PROJECT or wandb:TEAM/PROJECT or mlflow:http"),
        (("wandb:",), "track is 'wandb:'; it must be wandb:PROJECT or wandb:TEAM/PROJECT.$"),
        (("wandb:a/b/c",), "track is 'wandb:a/b/c'; it must be wandb:PROJECT"),
        (
            ("mlflow:runs/mlflow",),
            "track is 'mlflow:runs/mlflow'; it must be mlflow:http://HOST:5000 or mlflow:sqlite:///",
        ),
        (("wandb:a", "wandb:b"), "track names wandb 2 times; it must name it once"),
        ("wandb:peg", "track is 'wandb:peg', a str; it must be a tuple such as"),
    ],
)
def test_wrong_tracks_are_refused_at_once(tracks, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        train(HybridRun.of(**RUN, save_dir=tmp_path / "run", track=tracks))
    assert not (tmp_path / "run").exists()


def test_what_is_not_installed_is_told_with_the_mend(monkeypatch):
    monkeypatch.setattr(tracking.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        ValueError, match=r"track is 'wandb:peg', and wandb is not installed: pip install -e \.\[wandb\]"
    ):
        check_tracks(("wandb:peg",))


def write_sweep(folder, settings=(), **keys):
    search = {"lr": {"choice": [3e-4, 1e-3]}}
    sweep = {
        "trains": "hybrid",
        "metric": "evaluation/success_rate",
        "search": search,
        "trials": 2,
        "checkpoint_every": 50,
    }
    settings = {
        name: list(value) if isinstance(value, tuple) else value for name, value in {**RUN, **dict(settings)}.items()
    }
    (folder / "sweep.yaml").write_text(yaml.safe_dump({**sweep, "settings": settings, **keys}))
    return folder / "sweep.yaml"


@pytest.mark.slow
def test_a_sweep_goes_to_both_and_goes_on_there(store, tmp_path):
    output, track, plug = tmp_path / "my_sweep", ("wandb:peg", f"mlflow:{store}"), tmp_path / "plug"
    settings = {"env_name": "faulty_envs:UnpluggedEnv", "env_kwargs": {"plug": str(plug)}, "max_faults": 0}
    file = write_sweep(tmp_path, settings)
    run_sweep(file, output, track=track)
    assert {told["status"] for told in mlflow_runs(store, "my_sweep").values()} == {"FAILED"}
    plug.touch()
    trials = {trial.name: trial for trial in run_sweep(file, output, resume=True, track=track).trials}
    at_wandb, at_mlflow = wandb_runs(output), mlflow_runs(store, "my_sweep")
    assert (
        sorted(at_wandb) == sorted(told["name"] for told in at_mlflow.values()) == sorted(trials) and len(trials) == 2
    )
    for name, told in at_wandb.items():
        assert told["group"] == "my_sweep" and told["project"] == "peg" and told["name"] == name
        assert told["config"]["lr"] == trials[name].values["lr"] and "num_env_runners" not in told["config"]
        assert [(row["_step"], row["evaluation/success_rate"]) for row in told["rows"]] == trials[name].curve
        assert "held_out/q_mean" not in told["rows"][0]  # which is not known
    for told in at_mlflow.values():
        trial = trials[told["name"]]
        assert told["status"] == "FINISHED" and told["params"]["lr"] == str(trial.values["lr"])
        assert sorted(told["metrics"]["evaluation/success_rate"].items()) == trial.curve and len(trial.curve) == 2


@pytest.mark.slow
def test_trials_that_go_on_with_other_options_are_tracked(store, tmp_path, caplog):
    caplog.set_level(logging.WARNING)
    search = {"lr": {"loguniform": [1e-6, 1e-2]}}
    population = {"search": search, "scheduler": {"pbt": {"every": 50, "quantile": 0.5}}}
    run_sweep(write_sweep(tmp_path, {"max_steps": 200}, **population), tmp_path / "pbt", track=(f"mlflow:{store}",))
    assert list((tmp_path / "pbt" / "tune").glob("**/pbt_policy_*.txt")), "no trial was copied"
    told = mlflow_runs(store, "pbt").values()
    assert len(told) == 2 and all(200 in one["metrics"]["critic/loss"] for one in told)
    assert "mlflow:" not in caplog.text, "something has failed"


def test_a_sweep_whose_tracker_cannot_be_set_up_tries_nothing(tmp_path):
    with pytest.raises(Exception, match="track is 'mlflow:ftp://nowhere', which cannot be set up"):
        run_sweep(write_sweep(tmp_path), tmp_path / "out", track=("mlflow:ftp://nowhere",))
    assert not list((tmp_path / "out" / "tune").glob("*/result.json"))
