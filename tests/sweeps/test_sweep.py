"""A sweep finds what is best among what it tries, reads its data once, keeps little on disk, and goes on where it was
stopped."""

from __future__ import annotations

import csv
import json
import signal
import time
from pathlib import Path
from statistics import median

import pytest
import ray
import yaml
from commands import start
from line_demos import record_line_demos
from small_runs import SWEPT
from tracked import mlflow_runs

from serl_ray.data.demos import read_file
from serl_ray.data.lengths import episode_lengths
from serl_ray.data.rewards import discount_for
from serl_ray.rllib.checkpoint import read_run
from serl_ray.sweeps import run
from serl_ray.sweeps.checks import read_sweep
from serl_ray.sweeps.outcome import Configuration, Trial
from serl_ray.sweeps.report import default_configuration
from serl_ray.sweeps.run import run_sweep
from serl_ray.sweeps.shared import find_options

ROOT = Path(__file__).parents[2]
CONFIGS = sorted((ROOT / "tune_configs").glob("*.yaml"))
MODE = "single-arm-learned-gripper"


pytestmark = pytest.mark.usefixtures("shared_ray")


@pytest.fixture(scope="module")
def demos(tmp_path_factory):
    return record_line_demos(tmp_path_factory.mktemp("demos") / "demos.pkl")


def write(folder, **keys):
    sweep = {
        "trains": "hybrid",
        "metric": "evaluation/success_rate",
        "search": {"lr": {"choice": [3e-4, 1e-3]}},
        "trials": 2,
    }
    settings = SWEPT | keys.pop("settings", {})
    (folder / "sweep.yaml").write_text(yaml.safe_dump({**sweep, "settings": settings, **keys}))
    return folder / "sweep.yaml"


def rows(output):
    with (output / "trials.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("file", CONFIGS, ids=[file.stem for file in CONFIGS])
def test_every_sweep_that_comes_along_is_short_and_right(file):
    assert len(file.read_text().splitlines()) <= 40
    whole, _ = read_sweep(file)
    small, _ = read_sweep(file, smoke=True)
    assert (small.trains, small.metric, set(small.search)) == (whole.trains, whole.metric, set(whole.search))
    assert small.record.episodes < whole.record.episodes


@pytest.mark.slow
@pytest.mark.parametrize("name", ["hybrid", "offline_objective", "classifier"])
def test_a_sweep_of_each_kind_that_comes_along_runs_small(name, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    file, store = ROOT / "tune_configs" / f"{name}.yaml", f"sqlite:///{tmp_path}/mlflow.db"
    outcome = run_sweep(file, tmp_path / "out", smoke=True, track=(f"mlflow:{store}",))
    sweep, _ = read_sweep(file, smoke=True)
    assert len(rows(tmp_path / "out")) == len(outcome.trials) >= 2 and not any(trial.error for trial in outcome.trials)
    told = mlflow_runs(store, "out").values()
    assert len(told) >= len(outcome.trials) and all(sweep.metric in one["metrics"] for one in told)
    assert {one["status"] for one in told} == {"FINISHED"}
    best = yaml.safe_load((tmp_path / "out" / "best.yaml").read_text())
    assert (outcome.confirmed or outcome.ranked)[0].values.items() <= best.items()
    for picture in ("parallel_coordinates.png", "curves.png"):
        assert (tmp_path / "out" / picture).stat().st_size > 1000
    if sweep.drawn:
        default = sweep.default({"discount": outcome.default.values.get("discount")})
        assert outcome.default.values == {**outcome.default.values, **default}


@pytest.mark.slow
def test_demonstrations_are_read_once_for_all_trials(demos, tmp_path, monkeypatch):
    """They are gone from the disk before the first trial starts."""
    moved = tmp_path / "demos.pkl"
    moved.write_bytes(Path(demos).read_bytes())
    shares = []

    def share_and_delete(*arguments):
        shares.append(run_share(*arguments))
        moved.unlink()
        return shares[-1]

    run_share = run.share
    monkeypatch.setattr(run, "share", share_and_delete)
    file = write(tmp_path, settings={"demo_paths": [str(moved)]}, trials=3, search={"lr": {"uniform": [1e-4, 1e-3]}})
    outcome = run_sweep(file, tmp_path / "out")
    assert len(shares) == 1 and len(shares[0]) == 1
    assert len(outcome.trials) == 3 and not any(trial.error for trial in outcome.trials)
    steps = sum(len(segment) for segment in read_file(demos))
    results = [path.read_text().splitlines()[-1] for path in (tmp_path / "out" / "tune").glob("*/result.json")]
    assert len(results) == 3 and all(f'"buffer/demo_size": {float(steps)}' in result for result in results)


@pytest.mark.slow
def test_a_copied_trial_has_the_replay_of_its_original_and_the_disk_stays_bounded(demos, tmp_path):
    search = {"lr": {"loguniform": [1e-6, 1e-2]}, "discount": {"choice": [0.1, 0.95]}}
    settings = {"demo_paths": [demos], "max_steps": 150}
    scheduler = {"pbt": {"every": 50, "quantile": 0.5}}
    output = tmp_path / "out"
    file = write(tmp_path, settings=settings, search=search, scheduler=scheduler, trials=3, concurrent=2)
    outcome = run_sweep(file, output)
    assert not any(trial.error for trial in outcome.trials)
    histories = [
        [json.loads(line) for line in file.read_text().splitlines()] for file in (output / "tune").glob("*/result.json")
    ]
    assert any(result["time_since_restore"] < result["time_total_s"] for history in histories for result in history), (
        "no pause"
    )
    assert list((output / "tune").glob("**/pbt_policy_*.txt")), "no trial was copied"
    session = Path(ray._private.worker.global_worker.node.get_session_dir_path())
    assert not list(session.glob("artifacts/**/*.parquet")), "what a trial has written beside its checkpoints is left"
    for trial in outcome.trials:
        checkpoints = sorted((output / "tune" / trial.name).glob("checkpoint_*"))
        assert 1 <= len(checkpoints) <= 3
        state = read_run(checkpoints[-1])
        shards = [checkpoints[-1] / "replay" / "online" / shard for shard in state["replay"]["online"]]
        assert (
            sum(len(segment) for shard in shards for segment in read_file(str(shard)))
            == state["counters"]["env_steps"]
            == 150
        )


def test_ties_go_to_what_was_better_all_along():
    curves = [(50, 0.0), (100, 1.0)], [(50, 1.0), (100, 1.0)]
    late, early = (Configuration({}, [Trial("a", {}, 1.0, curve, seconds=1.0, error=None)]) for curve in curves)
    assert early.rank("max") > late.rank("max") and early.rank("min") < late.rank("min")


def test_the_default_has_the_usual_values_of_grids_too(demos, tmp_path):
    search = {"lr": {"choice": [3e-4, 1e-3]}, "utd_ratio": {"grid": [1.0, 2.0]}}
    sweep, _ = read_sweep(write(tmp_path, search=search, settings={"demo_paths": [demos]}))
    best, usual = ({"lr": 3e-4, "utd_ratio": ratio} for ratio in (1.0, 2.0))
    ranked = [Configuration(values, []) for values in (best, {"lr": 1e-3, "utd_ratio": 2.0}, usual)]
    assert default_configuration(sweep, ranked) is ranked[2] and default_configuration(sweep, ranked[:2]) is ranked[0]
    assert default_configuration(sweep, ranked[1:2]) is None


def test_the_default_has_the_discount_that_a_run_finds(demos, tmp_path):
    search = {"discount": {"uniform": [0.9, 0.999]}}
    sweep, _ = read_sweep(write(tmp_path, search=search, settings={"demo_paths": [demos]}))
    assert sweep.default() is None
    found = find_options(sweep, tmp_path, {})
    assert sweep.default(found) == found == {"discount": discount_for(median(episode_lengths(demos)))}
    sweep, _ = read_sweep(write(tmp_path, search=search, settings={"demo_paths": [demos], "reward": "dense"}))
    assert find_options(sweep, tmp_path, {}) == {"discount": 0.98}


@pytest.mark.slow
def test_the_scores_of_seeds_are_averaged(demos, tmp_path):
    search = {"lr": {"choice": [3e-4]}, "seed": {"grid": [0, 1]}}
    outcome = run_sweep(write(tmp_path, search=search, trials=1, settings={"max_steps": 100}), tmp_path / "out")
    [only] = outcome.ranked
    assert len(only.trials) == 2 and only.values == {"lr": 3e-4} and outcome.default is only
    assert only.score == sum(trial.score for trial in only.trials) / 2


@pytest.mark.slow
@pytest.mark.parametrize(("mode", "order"), [("max", [2.0, 1.0]), ("min", [1.0, 2.0])])
def test_the_default_and_the_best_other_are_confirmed_with_other_seeds(demos, tmp_path, mode, order):
    """More learner steps, or fewer, count as better here."""
    search, settings = {"utd_ratio": {"choice": [2.0, 1.0]}}, {"max_steps": 50, "demo_paths": [demos]}
    file = write(tmp_path, metric="learner/steps", mode=mode, search=search, settings=settings, trials=4, confirm=2)
    outcome = run_sweep(file, tmp_path / "out")
    assert [one.values["utd_ratio"] for one in outcome.confirmed] == order
    assert outcome.default.values["utd_ratio"] == 2.0
    assert [sorted(trial.values["seed"] for trial in one.trials) for one in outcome.confirmed] == [[1000, 1001]] * 2
    assert [one.score for one in outcome.confirmed] == [30.0 * ratio for ratio in order]
    assert yaml.safe_load((tmp_path / "out" / "best.yaml").read_text())["utd_ratio"] == order[0]


@pytest.mark.slow
def test_a_failing_trial_is_reported_and_the_others_count(tmp_path):
    file = write(tmp_path, settings={"env_name": "line_envs:BurningEnv"})
    with pytest.raises(RuntimeError, match="No trial has come to evaluation/success_rate. "):
        run_sweep(file, tmp_path / "out")
    assert all(row["error"] for row in rows(tmp_path / "out"))


@pytest.mark.slow
def test_optuna_draws(demos, tmp_path):
    search = {"lr": {"loguniform": [1e-4, 1e-3]}, "batch_size": {"choice": [16, 128]}}
    settings = {"demo_paths": [demos], "max_steps": 100}
    settings = {name: value for name, value in (SWEPT | settings).items() if name != "batch_size"}
    sweep = {
        "trains": "hybrid",
        "metric": "evaluation/success_rate",
        "search": search,
        "trials": 3,
        "searcher": "optuna",
    }
    (tmp_path / "sweep.yaml").write_text(yaml.safe_dump({**sweep, "settings": settings}))
    outcome = run_sweep(tmp_path / "sweep.yaml", tmp_path / "out")
    assert len(outcome.trials) == 3 and outcome.default.values == {"lr": 3e-4, "batch_size": 128}


@pytest.mark.slow
def test_a_killed_sweep_goes_on(demos, tmp_path):
    output = tmp_path / "out"
    search = {"lr": {"loguniform": [1e-4, 1e-3]}}
    settings = {"demo_paths": [demos], "max_steps": 600}
    file = write(tmp_path, settings=settings, search=search, trials=2, checkpoint_every=100)
    driver = start(["tune", str(file), "--save_dir", str(output)], tmp_path / "printed.txt")
    deadline = time.monotonic() + 120
    while len(list((output / "tune").glob("*/checkpoint_*/run.json"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.2)
    time.sleep(1)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    with pytest.raises(FileExistsError, match="go on with its sweep by --resume"):
        run_sweep(file, output)
    outcome = run_sweep(file, output, resume=True)
    assert len(outcome.trials) == 2 and not any(trial.error for trial in outcome.trials) and outcome.overhead is None
    for row in rows(output):
        assert float(row["env/steps"]) == 600
        checkpoint = max((output / "tune" / row["trial"]).glob("checkpoint_*"))
        assert read_run(checkpoint)["counters"]["env_steps"] == 600
    write(tmp_path, settings=settings, search=search, trials=3, checkpoint_every=100)
    with pytest.raises(ValueError, match="began with another trials"):
        run_sweep(file, output, resume=True)
