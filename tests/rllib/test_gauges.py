"""What a run shows in Ray's metrics, and the dashboard that draws it."""

import json
import math
import re
import time
import urllib.request
from pathlib import Path

import pytest
import ray
from small_runs import SMALL

from serl_ray.rllib import SERLConfig
from serl_ray.rllib.gauges import Gauges, gauge_name
from serl_ray.rllib.metrics import METRICS

ROOT = Path(__file__).parents[2]


def scraped(metric, run, seconds=60):
    """The value of a run's metric at this node's endpoint, once it is there."""
    url = f"http://127.0.0.1:{ray.nodes()[0]['MetricsExportPort']}/metrics"
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        with urllib.request.urlopen(url) as response:
            text = response.read().decode()
        if found := re.search(rf'^ray_{gauge_name(metric)}{{.*run="{run}".*}} (\S+)$', text, re.MULTILINE):
            return float(found[1])
        time.sleep(0.5)
    raise AssertionError(f"{metric} of {run} is not at {url}")


@pytest.mark.slow
def test_the_metrics_of_a_run_can_be_scraped(shared_ray, tmp_path):
    options = SMALL | {"steps_per_iteration": 30, "evaluate_every": 0}
    config = SERLConfig().training(env_name="line_envs:LineEnv", **options)
    algorithm = config.keep_replay(tmp_path / "my_run" / "replay").build_algo()
    result = algorithm.train()
    assert scraped("env/steps", "my_run") == 30.0
    assert scraped("critic/loss", "my_run") == pytest.approx(result["critic/loss"])
    algorithm.stop()


@pytest.mark.slow
@pytest.mark.usefixtures("shared_ray")
def test_a_run_may_have_any_name():
    Gauges("dü #1 %").set({**dict.fromkeys(METRICS, math.nan), "env/steps": 3.0})
    assert scraped("env/steps", "d%C3%BC #1 %") == 3.0


def test_the_dashboard_draws_metrics_that_there_are():
    dashboard = json.loads((ROOT / "docs" / "grafana.json").read_text())
    drawn = [target["expr"].partition("{")[0] for panel in dashboard["panels"] for target in panel["targets"]]
    assert len(drawn) == len(set(drawn)) and set(drawn) <= {f"ray_{gauge_name(name)}" for name in METRICS}
    groups = {name.split("/")[0] for name in METRICS}
    assert all(any(name.startswith(f"ray_serl_{group}_") for name in drawn) for group in groups)
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
