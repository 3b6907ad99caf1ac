"""Env steps per second by number of rollout workers, the rate that a learner keeps up with, and the network's load."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import ray
import torch
from ray.cluster_utils import Cluster

from serl_ray.benchmarks.rollout import INPUTS, bare_loop
from serl_ray.benchmarks.runs import measured, wait_until_idle
from serl_ray.benchmarks.timing import Row, print_report
from serl_ray.options.presets import PRESETS
from serl_ray.options.sets import HybridRun
from serl_ray.rllib import SERL
from serl_ray.rllib.sampling import Fragment
from serl_ray.utils.options import Options

ROBOT = "robot"
IDLE_SECONDS = 10.0
STORED = 50
"""Fragments."""


class Scaling(Options):
    """Steps the tabletop's pick-up task on several nodes of one machine, each with one rollout worker, like robots'
    computers."""

    save_dir: Path = Path("runs/benchmark")
    """Folder for scaling.json."""
    workers: tuple[int, ...] = (1, 2, 4)
    """Numbers of rollout workers to measure."""
    seconds: float = 20.0
    """Seconds of one measurement."""
    control_hz: float = 10.0
    """Rate of a robot."""

    def run(self) -> None:
        """Measures, and reports."""
        with _nodes(max(self.workers)):
            rows = [Row("traffic of the idle nodes", _idle_traffic() / 1024, "KiB/s")]
            for name, cameras in INPUTS.items():
                options = {"image_keys": cameras, "evaluate_every": 0, "max_steps": 10**9, **PRESETS["tabletop"]}
                rows += self._free(name, options) + self._held(name, options)
        print_report("scaling", self.flat(), rows, self.save_dir)

    def _free(self, name: str, options: dict[str, Any]) -> list[Row]:
        """Steps as fast as they go, with a learner that only stores: the ideal is a bare loop on every core that there
        is."""
        rows: list[Row] = []
        for count in self.workers:
            with self._at_work(
                count, options | {"steps_per_iteration": 60 * count, "training_starts": 10**9}
            ) as algorithm:
                if not rows:
                    bare = _bare_rate(algorithm, self.seconds / 2)
                    rows.append(Row(f"{name}: bare loop", bare, "steps/s"))
                steps_per_second = _measure(algorithm, self.seconds)["env"]
            ideal = bare * min(count, os.cpu_count() or 1)
            rows += [
                Row(f"{name}: {count} workers, as fast as they go", steps_per_second, "steps/s"),
                Row(f"{name}: {count} workers / ideal", steps_per_second / ideal, ""),
            ]
        return rows

    def _held(self, name: str, options: dict[str, Any]) -> list[Row]:
        """Steps at a robot's rate, which waits for no learner: the ideal is that rate from each, and `utd_ratio` is
        1."""
        rows = []
        robots = options | {
            "control_hz": self.control_hz,
            "max_lead": None,
            "utd_ratio": 1.0,
            "training_starts": 20,
            "fragment_length": 10,
        }
        for count in self.workers:
            with self._at_work(count, robots | {"steps_per_iteration": 10 * count}) as algorithm:
                measured = _measure(algorithm, self.seconds)
                weights = sum(array.nbytes for array in algorithm.policy.get_weights().values())
                storing = _seconds_to_store(algorithm)
            who = f"{name}: {count} robots at {self.control_hz:g} Hz"
            rows += [
                Row(f"{who}: env steps / ideal", measured["env"] / (count * self.control_hz), ""),
                Row(f"{who}: learner steps an env step", measured["learner"] / measured["env"], "", "1"),
                Row(f"{who}: traffic", measured["bytes"] / measured["env"] / 1024, "KiB a step"),
            ]
        rows.append(Row(f"{name}: acting weights", weights / 1024, "KiB a request"))
        return [*rows, Row(f"{name}: the learner stores a step, on disk too", 1000 * storing, "ms")]

    @contextmanager
    def _at_work(self, workers: int, options: dict[str, Any]) -> Iterator[SERL]:
        """An algorithm whose rollout workers are at work, each on its node."""
        run = HybridRun.of(num_workers=workers, env_runner_resources={ROBOT: 1}, **options)
        with measured(run, self.save_dir) as algorithm:
            while len(algorithm.sampler.started) < workers:
                algorithm.train()
            yield algorithm


@contextmanager
def _nodes(robots: int) -> Iterator[None]:
    """A cluster with a node for the learner and one for each robot."""
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": os.cpu_count(), "include_dashboard": False})
    for _ in range(robots):
        cluster.add_node(num_cpus=1, resources={ROBOT: 1})
    ray.init(cluster.address)
    try:
        yield
    finally:
        ray.shutdown()
        cluster.shutdown()


def _measure(algorithm: SERL, seconds: float) -> dict[str, float]:
    """Env and learner steps a second, and bytes a second between processes that are not on the same node."""
    algorithm.train()
    env, learner, sent, started = algorithm.env_steps, algorithm.learner_steps, _sent(), time.perf_counter()
    while time.perf_counter() < started + seconds:
        algorithm.train()
    passed = time.perf_counter() - started
    made = {"env": algorithm.env_steps - env, "learner": algorithm.learner_steps - learner, "bytes": _sent() - sent}
    return {name: count / passed for name, count in made.items()}


def _seconds_to_store(algorithm: SERL) -> float:
    """Seconds that the learner's process needs to store one step."""
    fragments: list[Fragment] = []
    while not fragments:
        fragments = algorithm.sampler.fetch(algorithm.learner_steps, wait=True)
    segments = [segment for one in fragments for segment in one.segments]
    before, started = algorithm.env_steps, time.perf_counter()
    for _ in range(STORED):
        algorithm._store(segments)
    algorithm.log_writer.write()
    return (time.perf_counter() - started) / (algorithm.env_steps - before)


def _bare_rate(algorithm: SERL, seconds: float) -> float:
    """Env steps a second of one core that has them to itself: with one thread, as a worker has, and while the workers
    rest."""
    threads, steps, act_and_step = torch.get_num_threads(), 0, bare_loop(algorithm)
    wait_until_idle(algorithm)
    torch.set_num_threads(1)
    started = time.perf_counter()
    while time.perf_counter() < started + seconds:
        act_and_step()
        steps += 1
    rate = steps / (time.perf_counter() - started)
    torch.set_num_threads(threads)
    return rate


def _idle_traffic() -> float:
    before = _sent()
    time.sleep(IDLE_SECONDS)
    return (_sent() - before) / IDLE_SECONDS


def _sent() -> int:
    """Bytes that processes of this machine have sent each other so far, by the network's way."""
    return sum(
        counter.bytes_sent for name, counter in psutil.net_io_counters(pernic=True).items() if name.startswith("lo")
    )
