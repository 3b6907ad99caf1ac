"""What a run shows in Ray's metrics, and the dashboard that draws it."""

import json
import re
import time
import urllib.request
from pathlib import Path

import pytest
import ray

from serl_ray.cluster import start
from serl_ray.rllib import SERLConfig
from serl_ray.rllib.gauges import gauge_name
from serl_ray.rllib.metrics import METRICS

ROOT = Path(__file__).parents[2]


@pytest.fixture
def local_ray():
    start.start_here(num_cpus=2, runtime_env={"env_vars": {"PYTHONPATH": str(ROOT / "tests")}})
    yield
    ray.shutdown()


def scraped(metric, seconds=60):
    """Values of a metric at this node's endpoint, by run, once it is there."""
    url = f"http://127.0.0.1:{ray.nodes()[0]['MetricsExportPort']}/metrics"
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        with urllib.request.urlopen(url) as response:
            text = response.read().decode()
        if found := re.findall(rf'^ray_{gauge_name(metric)}{{.*run="(.*?)".*}} (\S+)$', text, re.MULTILINE):
            return {run: float(value) for run, value in found}
        time.sleep(0.5)
    raise AssertionError(f"{metric} is not at {url}")


def test_the_metrics_of_a_run_can_be_scraped(local_ray, tmp_path):
    settings = {"training_starts": 20, "max_steps": 100, "batch_size": 8, "hidden_dims": (4, 4), "steps_per_iteration": 30}
    config = SERLConfig().training(env_name="line_envs:LineEnv", evaluate_every=0, **settings)
    algorithm = config.keep_replay(tmp_path / "my_run" / "replay").build_algo()
    result = algorithm.train()
    assert scraped("env/steps") == {"my_run": 30.0}
    assert scraped("critic/loss")["my_run"] == pytest.approx(result["critic/loss"])
    algorithm.stop()


def test_the_dashboard_draws_metrics_that_there_are():
    dashboard = json.loads((ROOT / "docs" / "grafana.json").read_text())
    drawn = [target["expr"].partition("{")[0] for panel in dashboard["panels"] for target in panel["targets"]]
    assert len(drawn) == len(set(drawn)) and set(drawn) <= {f"ray_{gauge_name(name)}" for name in METRICS}
    groups = {name.split("/")[0] for name in METRICS}
    assert all(any(name.startswith(f"ray_serl_{group}_") for name in drawn) for group in groups)
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
