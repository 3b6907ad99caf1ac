"""Rate and latency of robots on each path that a step takes, beside those of an env in this process."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from pathlib import Path

import gymnasium
import numpy as np

from serl_ray.benchmarks.commands import run_serl
from serl_ray.benchmarks.paths import (
    ROBOT_PORT,
    SEEN_CAMERAS,
    franka,
    lerobot,
    tabletop_here,
    tabletop_robot,
    tabletop_there,
)
from serl_ray.benchmarks.timing import Row, print_table, write_report_file
from serl_ray.data.episodes import EnvFault
from serl_ray.envs.recording import MAX_FAULTS
from serl_ray.evaluation.rollouts import deterministic, evaluate
from serl_ray.runs.policy import load_policy
from serl_ray.utils.errors import SetupError
from serl_ray.utils.options import Options, check_names

LATE = 1.5
"""Periods after the last observation from which one is late."""
LATE_EXTRA = 1.2
"""Periods after a result at which an action is sent so that it is executed at once: the tick has passed, and the
watchdog waits for two."""
PATHS = ("here", "remote", "franka", "lerobot")


@dataclass(frozen=True)
class Held:
    """Measurement of one path.

    Attributes:
        path: the path in words.
        rate: share of the asked rate that is held.
        late: number of steps that came too late.
        p50, p95: milliseconds from an action to the observation of its effect.
    """

    path: str
    rate: float
    late: int
    p50: float
    p95: float


class Remote(Options):
    """Steps a robot in this process, over the network by serl_robot, by the server of a Franka arm and by LeRobot's
    adapter, and says which rate each path holds."""

    save_dir: Path = Path("runs/benchmark")
    """Folder for remote.json, and for what is trained."""
    paths: tuple[str, ...] = PATHS
    """Paths to measure: here (the tabletop in this process), remote (the same over the network), franka (a stand-in for
    its server) and lerobot (a stand-in for an arm of its interface)."""
    control_hz: float = 10.0
    """Steps per second to be held."""
    steps: int = 200
    """Steps of one measurement."""
    delays: tuple[int, ...] = (0, 15)
    """Milliseconds that the network adds in each direction, on the path remote."""
    train_steps: int = 0
    """Env steps of a hybrid run over the network, which is evaluated at its end; 0 for none."""
    pixels: bool = False
    """Train from two cameras; by default from state."""
    episodes: int = 50
    """Episodes of the evaluation."""

    def run(self) -> None:
        """Times, trains and reports."""
        check_names(self.paths, PATHS, "path")
        if importlib.util.find_spec("serl_robot") is None:
            raise SetupError("serl_robot is not installed: pip install ./robot in a clone of the repository.")
        measured = [self._held(name, path) for name, path in self._paths()]
        columns = ["path", f"rate / {self.control_hz:g} Hz", "late steps", "action to observation, p50 ms", "p95 ms"]
        print_table(columns, [(each.path, each.rate, each.late, each.p50, each.p95) for each in measured])
        rows = [row for each in measured for row in self._rows(each)]
        if self.train_steps:
            rows.append(Row(f"success after {self.train_steps} env steps", self._trained(), "", ">= 0.9"))
            print_table(["", "measured", "should be"], [(rows[-1].name, rows[-1].value, rows[-1].limit)])
        write_report_file("remote", self.flat(), rows, self.save_dir)

    def _paths(self) -> Iterator[tuple[str, AbstractContextManager[gymnasium.Env]]]:
        """The paths in words, and their envs."""
        for path in self.paths:
            if path == "here":
                yield "in this process", tabletop_here(self.control_hz)
            elif path == "remote":
                for delay in self.delays:
                    name = f"remote, {2 * delay} ms of round trip added" if delay else "remote"
                    yield name, tabletop_there(self.control_hz, delay / 1e3)
            elif path == "franka":
                yield "Franka's server", franka(self.control_hz)
            else:
                yield "LeRobot's adapter, remote", lerobot(self.control_hz)

    def _held(self, name: str, path: AbstractContextManager[gymnasium.Env]) -> Held:
        with path as env:
            seconds, late = self._played(env, pause=0.0)
            loops, _ = self._played(env, pause=LATE_EXTRA / self.control_hz)
        p50, p95 = 1e3 * np.percentile(loops, (50, 95))
        late += sum(each > LATE / self.control_hz for each in seconds)
        return Held(name, len(seconds) / sum(seconds) / self.control_hz, late, p50, p95)

    def _rows(self, held: Held) -> Iterator[Row]:
        yield Row(f"{held.path}: rate / {self.control_hz:g} Hz", held.rate, "", ">= 0.95")
        yield Row(f"{held.path}: steps that came too late", held.late, "", "<= 0")
        yield Row(f"{held.path}: action to observation, p50", held.p50, "ms")
        yield Row(f"{held.path}: action to observation, p95", held.p95, "ms")

    def _played(self, env: gymnasium.Env, pause: float) -> tuple[list[float], int]:
        """Seconds of each step, after a pause or from the end of the one before, and the number of refused ones."""
        assert env.action_space.shape is not None
        rest = np.zeros(env.action_space.shape, np.float32)  # a policy's own time is that of `serl benchmark deploy`
        env.reset(seed=0)
        seconds: list[float] = []
        refused, is_first, began = 0, True, time.perf_counter()
        while len(seconds) < self.steps:
            time.sleep(pause)
            began = time.perf_counter() if pause else began
            try:
                _, _, terminated, truncated, _ = env.step(rest)
            except EnvFault:
                refused, terminated, truncated = refused + 1, False, True
            ended = time.perf_counter()
            if not is_first:  # which waits for no tick
                seconds.append(ended - began)
            is_first, began = terminated or truncated, ended
            if is_first:
                env.reset()
                began = time.perf_counter()
        return seconds, refused

    def _trained(self) -> float:
        """Success of a policy that is trained on 20 demonstrations and then over the network."""
        cameras = SEEN_CAMERAS if self.pixels else ()
        name = f"remote-{'pixels' if self.pixels else 'state'}"
        demos, run = self.save_dir / f"{name}.pkl", self.save_dir / name
        run_serl("record", "--episodes", "20", "--output", str(demos), "--image_keys", *cameras)
        with tabletop_robot(ROBOT_PORT, self.control_hz, bool(cameras)):
            flags = ["--preset", "tabletop", "--env_name", "remote", "--env_kwargs", "port", str(ROBOT_PORT)]
            flags += ["--image_keys", *cameras, "--demo_paths", str(demos), "--max_steps", str(self.train_steps)]
            flags += ["--num_workers", "1", "--evaluate_every", "0", "--fragment_length", "10", "--max_faults", "100"]
            run_serl("train", *flags, "--save_dir", str(run))
            agent, env = load_policy(run, env_name="remote")
            with closing(env):
                act = deterministic(agent)
                return evaluate(act, env, self.episodes, seed=20_000, max_faults=MAX_FAULTS).success_rate
