"""Which checkpoints a run's folder keeps, whatever people and kills leave in it."""

from __future__ import annotations

import shutil

import pytest
from small_runs import SMALL

from serl_ray.rllib import SERLConfig
from serl_ray.rllib.checkpoint import checkpoints_of, read_run
from serl_ray.rllib.evaluator import Evaluator
from serl_ray.runs.folder import RunFolder, best_checkpoint
from serl_ray.runs.log import RunLog

pytestmark = pytest.mark.usefixtures("shared_ray")


@pytest.fixture
def algorithm(build, tmp_path):
    """An algorithm that only collects, 50 env steps a result."""
    options = SMALL | {"training_starts": 400, "steps_per_iteration": 50, "evaluate_every": 0}
    return build(SERLConfig().training(env_name="line_envs:LineEnv", **options).keep_replay(tmp_path / "replay"))


def test_the_newest_and_the_best_are_kept(algorithm, tmp_path):
    folder, log = RunFolder(tmp_path, keep=2), RunLog(tmp_path / "logs")
    for success in (0.2, 0.9, 0.4, 0.9, 0.1, 0.3):
        result = algorithm.train()
        log.append(
            result | {"evaluation/at_step": float(algorithm.steps), "evaluation/success_rate": success}, algorithm.steps
        )
        folder.save(algorithm)
    log.close()
    assert [path.name for path in checkpoints_of(tmp_path)] == ["step-000000200", "step-000000250", "step-000000300"]
    assert best_checkpoint(folder.path)[0].name == "step-000000200", "the newer of two equals"
    assert all(read_run(path)["counters"]["env_steps"] == int(path.name[5:]) for path in checkpoints_of(tmp_path))


def test_what_is_being_evaluated_is_kept(algorithm, tmp_path, monkeypatch):
    folder = RunFolder(tmp_path, keep=1)
    for _ in range(3):
        algorithm.train()
        with monkeypatch.context() as patch:
            patch.setattr(Evaluator, "at_step", 50)
            folder.save(algorithm)
    assert [path.name for path in checkpoints_of(tmp_path)] == ["step-000000050", "step-000000150"]
    folder.save(algorithm)
    assert [path.name for path in checkpoints_of(tmp_path)] == ["step-000000150"]


def test_a_run_s_folder_survives_what_people_and_kills_leave_in_it(algorithm, tmp_path):
    folder = RunFolder(tmp_path, keep=1)
    for _ in range(2):
        algorithm.train()
        folder.save(algorithm)
    [newest] = checkpoints_of(tmp_path)
    shutil.copytree(newest, newest.with_name("step-000000100.bak"))
    newest.rename(newest.with_name(f".{newest.name}.old"))  # killed between two renames
    newest.with_name(".step-000000050.gone").mkdir()
    (tmp_path / "logs").mkdir()
    results = '{"evaluation/at_step": 1\n{"evaluation/at_step": 100, "evaluation/success_rate": 1}\n'
    (tmp_path / "logs" / "results.jsonl").write_text(results)
    folder.check(resume=True)
    assert checkpoints_of(tmp_path) == [newest] and best_checkpoint(folder.path)[0] == newest
    assert {path.name for path in (tmp_path / "checkpoints").iterdir()} == {newest.name, "step-000000100.bak"}
    algorithm.train()
    folder.save(algorithm)
    assert len(checkpoints_of(tmp_path)) == 2
