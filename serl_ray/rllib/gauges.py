"""The metrics of a run as gauges in Ray's own metrics: in its dashboard, and for Prometheus at every node's metrics
port."""

from __future__ import annotations

import math
from collections.abc import Mapping
from urllib.parse import quote

from ray.util.metrics import Gauge

from serl_ray.rllib.metrics import METRICS

PREFIX = "serl"
PRINTABLE = "".join(map(chr, range(32, 127)))


def gauge_name(metric: str) -> str:
    """`env/success_rate` is `serl_env_success_rate`, to which Ray's endpoint adds `ray_` in front."""
    return f"{PREFIX}_{metric.replace('/', '_')}"


class Gauges:
    """One gauge a metric.

    Args:
        run: the tag that tells the runs of a cluster apart. Ray takes ASCII alone, so other letters are
            percent-encoded.
    """

    def __init__(self, run: str) -> None:
        self._gauges = {
            name: Gauge(gauge_name(name), description=f"{name} of a run", tag_keys=("run",)) for name in METRICS
        }
        for gauge in self._gauges.values():
            gauge.set_default_tags({"run": quote(run, safe=PRINTABLE)})

    def set(self, result: Mapping[str, float]) -> None:
        """Shows what a result knows."""
        for name, gauge in self._gauges.items():
            if not math.isnan(result[name]):
                gauge.set(result[name])
