"""Runs at a URI: a store of S3's kind on this machine, and a folder."""

import shutil

import numpy as np
import pytest
import ray
from stores import s3_store

from serl_ray import cluster
from serl_ray.agents.checkpoint import load_any_agent
from serl_ray.mirror import Mirror, local_run
from serl_ray.rllib import SERLConfig
from serl_ray.rllib.checkpoint import checkpoint_of, checkpoints_of
from serl_ray.run_folder import RunFolder


@pytest.fixture(scope="module")
def store():
    with s3_store("runs") as uri:
        yield uri("a/run")


@pytest.fixture
def build(tmp_path):
    cluster.start_here(num_cpus=2)
    algorithms = []

    def build(folder):
        settings = {"training_starts": 20, "max_steps": 500, "batch_size": 8, "hidden_dims": (8, 8), "steps_per_iteration": 30}
        config = SERLConfig().training(env_name="line_envs:LineEnv", evaluate_every=0, **settings)
        algorithms.append(config.keep_replay(folder.path / "replay").build_algo())
        return algorithms[-1]

    yield build
    for algorithm in algorithms:
        algorithm.stop()
    ray.shutdown()


@pytest.mark.parametrize("kind", ["s3", "file"])
def test_another_machine_goes_on_from_the_mirror(kind, store, build, tmp_path):
    uri = store if kind == "s3" else (tmp_path / "far away").as_uri()
    folder = RunFolder(tmp_path / "run", keep=2, mirror=Mirror(uri))
    folder.check(resume=False)
    algorithm = build(folder)
    for _ in range(4):
        algorithm.train()
        folder.save(algorithm)
    assert folder.mirror._names(folder.mirror._root / "checkpoints") == {path.name for path in checkpoints_of(folder.path)}
    elsewhere = RunFolder(tmp_path / "elsewhere", keep=2, mirror=Mirror(uri))
    with pytest.raises(FileExistsError, match="holds a run already. Choose another --mirror"):
        elsewhere.check(resume=False)
    elsewhere.check(resume=True)
    restored = build(elsewhere)
    restored.load_checkpoint(str(checkpoint_of(elsewhere.path)))
    assert restored.env_steps == len(restored.online) == 120
    ours, theirs = algorithm.agent.tensors(), restored.agent.tensors()
    assert all(np.array_equal(ours[name], theirs[name]) for name in ours)
    restored.train()
    elsewhere.save(restored)
    policy = load_any_agent(local_run(uri) / "agent", "cpu").networks.state_dict()
    assert all(np.array_equal(policy[name], tensor) for name, tensor in restored.agent.networks.state_dict().items())


def test_a_shard_travels_once(build, tmp_path, monkeypatch):
    folder = RunFolder(tmp_path / "run", keep=2, mirror=Mirror((tmp_path / "far away").as_uri()))
    pushed, push = [], Mirror._push
    monkeypatch.setattr(Mirror, "_push", lambda self, source, target: (pushed.append(source.name), push(self, source, target)))
    algorithm = build(folder)
    for _ in range(3):
        algorithm.train()
        folder.save(algorithm)
    shards = [name for name in pushed if name.endswith(".parquet")]
    assert len(shards) == len(set(shards)) == 3


def test_a_mirror_that_is_not_reached_does_not_stop_a_run(build, tmp_path, caplog):
    folder = RunFolder(tmp_path / "run", keep=2, mirror=Mirror((tmp_path / "far away").as_uri()))
    (tmp_path / "far away").write_text("no folder")
    algorithm = build(folder)
    algorithm.train()
    folder.save(algorithm)
    assert "could not be reached" in caplog.text and len(checkpoints_of(folder.path)) == 1
    (tmp_path / "far away").unlink()
    algorithm.train()
    folder.save(algorithm)
    shutil.rmtree(folder.path)
    folder.check(resume=True)
    assert checkpoint_of(folder.path).name == "step-000000060"
