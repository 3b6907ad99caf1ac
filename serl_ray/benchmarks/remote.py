"""Rate and latency of a robot on another computer, beside those of an env in this process."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from serl_ray.benchmarks.commands import run_serl
from serl_ray.benchmarks.network import SlowNetwork
from serl_ray.benchmarks.timing import Row, print_report
from serl_ray.data.episodes import EnvFault
from serl_ray.envs import make_env
from serl_ray.envs.remote.token import TOKEN_VARIABLE, robot_token
from serl_ray.evaluation.rollouts import deterministic, evaluate
from serl_ray.runs.policy import load_policy
from serl_ray.utils.errors import SetupError
from serl_ray.utils.options import Options

GRASPING = "single-arm-learned-gripper"
PORT = 9765
LATE_EXTRA = 1.2
"""Periods after a result at which an action is sent so that it is executed at once: the tick has passed, and the
watchdog waits for two."""


class Remote(Options):
    """Steps the tabletop's pick-up task in this process, and over the network by serl_robot, with two cameras."""

    save_dir: Path = Path("runs/benchmark")
    """Folder for remote.json, and for what is trained."""
    control_hz: float = 10.0
    """Steps per second to be held."""
    steps: int = 200
    """Steps of one measurement."""
    delays: tuple[int, ...] = (0, 15)
    """Milliseconds that the network adds in each direction."""
    train_steps: int = 0
    """Env steps of a hybrid run over the network, which is evaluated at its end; 0 for none."""
    pixels: bool = False
    """Train from two cameras; by default from state."""
    episodes: int = 50
    """Episodes of the evaluation."""

    def run(self) -> None:
        """Times, trains and reports."""
        if importlib.util.find_spec("serl_robot") is None:
            raise SetupError("serl_robot is not installed: pip install ./robot in a clone of the repository.")
        rows = []
        with closing(_tabletop(self.control_hz)) as here:
            rows += self._rows("in this process", here)
        for delay in self.delays:
            with _remote(self.control_hz, delay / 1e3, cameras=True) as env:
                rows += self._rows(f"remote, {2 * delay} ms of round trip added", env)
        if self.train_steps:
            rows.append(Row(f"success after {self.train_steps} env steps", self._trained(), "", ">= 0.9"))
        print_report("remote", self.flat(), rows, self.save_dir)

    def _rows(self, name: str, env: gymnasium.Env) -> Iterator[Row]:
        seconds, late = self._played(env, pause=0.0)
        rate = (len(seconds)) / sum(seconds) / self.control_hz
        yield Row(f"{name}: rate / {self.control_hz:g} Hz", rate, "", ">= 0.95")
        yield Row(f"{name}: steps that came too late", late, "", "<= 0")
        loops, _ = self._played(env, pause=LATE_EXTRA / self.control_hz)
        p50, p95 = np.percentile(loops, (50, 95))
        yield Row(f"{name}: action sent to observation received, p50", 1e3 * p50, "ms")
        yield Row(f"{name}: action sent to observation received, p95", 1e3 * p95, "ms")

    def _played(self, env: gymnasium.Env, pause: float) -> tuple[list[float], int]:
        """Seconds of each step, after a pause or from the end of the one before, and the number of late ones."""
        rest = np.zeros(7, np.float32)  # a policy's own time is that of `serl benchmark acting`
        env.reset(seed=0)
        seconds: list[float] = []
        late, is_first, began = 0, True, time.perf_counter()
        while len(seconds) < self.steps:
            time.sleep(pause)
            began = time.perf_counter() if pause else began
            try:
                _, _, terminated, truncated, _ = env.step(rest)
            except EnvFault:
                late, terminated, truncated = late + 1, False, True
            ended = time.perf_counter()
            if not is_first:  # which waits for no tick
                seconds.append(ended - began)
            is_first, began = terminated or truncated, ended
            if is_first:
                env.reset()
                began = time.perf_counter()
        return seconds, late

    def _trained(self) -> float:
        """Success of a policy that is trained on 20 demonstrations and then over the network."""
        cameras = ("image", "wrist") if self.pixels else ()
        name = f"remote-{'pixels' if self.pixels else 'state'}"
        demos, run = self.save_dir / f"{name}.pkl", self.save_dir / name
        run_serl("record", "--episodes", "20", "--output", str(demos), "--image_keys", *cameras)
        with _robot(f"ws://127.0.0.1:{PORT}", self.control_hz, bool(cameras)):
            flags = ["--preset", "tabletop", "--env_name", "remote", "--env_kwargs", "port", str(PORT)]
            flags += ["--image_keys", *cameras, "--demo_paths", str(demos), "--max_steps", str(self.train_steps)]
            flags += ["--num_workers", "1", "--evaluate_every", "0", "--fragment_length", "10", "--max_faults", "100"]
            run_serl("train", *flags, "--save_dir", str(run))
            agent, env = load_policy(run, env_name="remote")
            with closing(env):
                return evaluate(deterministic(agent), env, episodes=self.episodes, seed=20_000).success_rate


def _tabletop(control_hz: float) -> gymnasium.Env:
    return make_env("tabletop", setup_mode=GRASPING, image_keys=("image", "wrist"), control_hz=control_hz)


@contextmanager
def _remote(control_hz: float, delay: float, cameras: bool) -> Iterator[gymnasium.Env]:
    """The tabletop in another process, behind a network that adds `delay` seconds in each direction."""
    with ExitStack() as stack:
        network = stack.enter_context(SlowNetwork(PORT, delay))
        stack.enter_context(_robot(f"ws://127.0.0.1:{network.port}", control_hz, cameras))
        kwargs: dict[str, Any] = {"setup_mode": GRASPING, "image_keys": ("image", "wrist")}
        yield stack.enter_context(closing(make_env("remote", env_kwargs={"port": PORT}, **kwargs)))


@contextmanager
def _robot(url: str, control_hz: float, cameras: bool) -> Iterator[None]:
    """A process in which serl_robot serves the tabletop."""
    words = [sys.executable, "-m", "serl_robot.cli", url, "serl_ray.envs.tabletop:TabletopEnv"]
    words += ["--hz", f"{control_hz:g}", "--setup_mode", GRASPING, "--env_kwargs", "setup_mode", GRASPING]
    words += ["cameras", '["image", "wrist"]'] if cameras else []
    process = subprocess.Popen(words, env=os.environ | {TOKEN_VARIABLE: robot_token()})
    try:
        yield
    finally:
        process.terminate()
        process.wait()
