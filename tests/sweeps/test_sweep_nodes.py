"""A sweep whose trials run on several nodes, and leave what they have in a store that all of them reach."""

import pytest
import ray
import yaml
from ray.cluster_utils import Cluster
from small_runs import SWEPT
from stores import s3_store

from serl_ray.files.uris import locate
from serl_ray.sweeps.run import run_sweep

pytestmark = pytest.mark.slow


@pytest.fixture
def nodes(own_cluster):
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    cluster.add_node(num_cpus=1)
    ray.init(cluster.address)
    yield
    ray.shutdown()
    cluster.shutdown()


def test_trials_on_several_nodes_leave_all_in_a_store(nodes, tmp_path):
    with s3_store("sweeps") as uri:
        storage = uri("mine")
        settings = {
            **SWEPT,
            "env_name": "faulty_envs:NodeEnv",
            "env_kwargs": {"folder": str(tmp_path)},
            "max_steps": 100,
        }
        sweep = {"trains": "hybrid", "metric": "evaluation/success_rate", "trials": 2, "storage": storage}
        file = tmp_path / "sweep.yaml"
        file.write_text(yaml.safe_dump({**sweep, "search": {"lr": {"choice": [3e-4, 1e-3]}}, "settings": settings}))
        outcome = run_sweep(file, tmp_path / "out")
        assert len(list(tmp_path.glob("node-*"))) == 2, "a trial on each node"
        assert {path.name for path in (tmp_path / "out").iterdir()} >= {"best.yaml", "trials.csv", "curves.png"}
        assert not (tmp_path / "out" / "tune").exists()
        files, root = locate(storage)
        for trial in outcome.trials:
            assert files.get_file_info(f"{root}/tune/{trial.name}/checkpoint_000000/run.json").is_file
            assert [steps for steps, _ in trial.curve] == [50, 100] and trial.curve[-1][1] == trial.score in (
                0.0,
                0.5,
                1.0,
            )
        again = run_sweep(file, tmp_path / "out", resume=True)
        assert {trial.name: trial.score for trial in again.trials} == {
            trial.name: trial.score for trial in outcome.trials
        }
        with pytest.raises(FileExistsError, match="holds a sweep already. Choose another storage."):
            run_sweep(file, tmp_path / "other")
