"""Delay of the loop from a robot's frame over an operator to the command for the robot, and its cost for the robot."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from operator import truediv
from pathlib import Path
from statistics import median

import gymnasium
import numpy as np
from psutil import Process
from tqdm import tqdm

from serl_ray.agents.sac import SACHybridAgent
from serl_ray.benchmarks.clients import answering
from serl_ray.benchmarks.timing import Row, print_report
from serl_ray.data.observations import Observation
from serl_ray.envs import make_env
from serl_ray.evaluation.rollouts import Act
from serl_ray.teleop.events import Command
from serl_ray.teleop.link import Link
from serl_ray.teleop.server import HubServer
from serl_ray.teleop.session import Session
from serl_ray.teleop.wrapper import OperatedEnv
from serl_ray.types import ActionLayout
from serl_ray.utils.options import Options

SET_UP = "single-arm-learned-gripper"
SEEN = ("image", "wrist")
SOAK_SECONDS = 20.0
"""Seconds between two looks at the memory."""


class Operator(Options):
    """Drives the tabletop's pick-up task over a real socket, by a client that answers every frame at once."""

    save_dir: Path = Path("runs/benchmark")
    """Folder for operator.json."""
    steps: int = 200
    """Env steps of one measurement."""
    repeats: int = 5
    """Number of measurements of the rate; the median of ratios of neighbours counts."""
    delays: tuple[int, ...] = (0, 20, 50)
    """Milliseconds that the network adds in each direction."""
    control_hz: float = 10.0
    """Steps per second to be held while the robot is driven."""
    soak_minutes: float = 0.0
    """Minutes for which two robots and two operators share a hub, while memory, sockets and threads must stay flat; 0
    for none."""

    def run(self) -> None:
        """Times, and reports."""
        rows = [row for delay in self.delays for row in self._loop(delay / 1e3)]
        bare, watched = self._rates()
        rows += [
            Row("a policy that sees two cameras, alone", median(bare), "steps/s"),
            Row("the same, watched by an operator", median(watched), "steps/s"),
            Row("watched / alone", median(map(truediv, watched, bare)), "", ">= 0.9"),
        ]
        rows += self._soak() if self.soak_minutes else []
        print_report("operator", self.flat(), rows, self.save_dir)

    def _soak(self) -> Iterator[Row]:
        """The memory, sockets and threads of two robots and their hub, while a client of its own drives each."""
        layout = ActionLayout.from_setup(SET_UP, 7)
        with ExitStack() as stack:
            server = stack.enter_context(closing(HubServer()))
            envs = [
                stack.enter_context(_operated(Session(layout), self.control_hz, 0.0, server, name))
                for name in ("left", "right")
            ]
            looks = []
            for _ in tqdm(range(max(int(60 * self.soak_minutes / SOAK_SECONDS), 2)), unit="look"):
                ends = time.perf_counter() + SOAK_SECONDS
                while time.perf_counter() < ends:
                    for env in envs:
                        _play(env, int(self.control_hz))
                looks.append(_held_by_this_process())
        first, last = looks[0], looks[-1]
        yield Row("memory of two robots and their hub, at first", first["MiB"], "MiB")
        yield Row(f"memory after {self.soak_minutes:g} minutes / at first", last["MiB"] / first["MiB"], "", "<= 1.05")
        for name in ("sockets and files", "threads"):
            text = f"{name} after {self.soak_minutes:g} minutes, beyond the {first[name]:g} at first"
            yield Row(text, last[name] - first[name], "", "<= 0")

    def _loop(self, delay: float) -> Iterator[Row]:
        """Ages of frames when the command that answers them is there, and the rate that is held meanwhile."""
        session = _TimedSession(ActionLayout.from_setup(SET_UP, 7))
        with closing(HubServer()) as server, _operated(session, self.control_hz, delay, server) as env:
            seconds = _play(env, self.steps)
        p50, p95 = np.percentile(session.ages, (50, 95))
        added = f"{1e3 * delay:g} ms added each way"
        yield Row(f"frame to command, {added}: p50", 1e3 * p50, "ms")
        yield Row(f"frame to command, {added}: p95", 1e3 * p95, "ms", f"<= {100 + 2e3 * delay:g}")
        yield Row(
            f"rate held at {self.control_hz:g} Hz, {added}", self.steps / seconds / self.control_hz, "", ">= 0.95"
        )

    def _rates(self) -> tuple[list[float], list[float]]:
        """Env steps a second alone and watched, which take turns."""
        bare_env, agent = _env(None), SACHybridAgent(SEEN, 6, device="cpu")
        bare, watched = [], []
        session = Session(ActionLayout.from_setup(SET_UP, 7))
        with closing(HubServer()) as server, _operated(session, None, 0.0, server) as env:
            for _ in range(self.repeats):
                bare.append(self.steps / _play(bare_env, self.steps, agent.sample_actions))
                watched.append(self.steps / _play(env, self.steps, agent.sample_actions))
        bare_env.close()
        return bare, watched


def _held_by_this_process() -> dict[str, float]:
    process = Process()
    return {
        "MiB": process.memory_info().rss / 2**20,
        "sockets and files": process.num_fds(),
        "threads": process.num_threads(),
    }


class _TimedSession(Session):
    """A session that notes the age of the displayed frame whenever a command comes.

    Attributes:
        ages: the ages in seconds.
    """

    def __init__(self, layout: ActionLayout) -> None:
        super().__init__(layout)
        self.ages: list[float] = []

    def command(self, command: Command, now: float) -> None:
        self.ages.append(now - self.episodes.taken(command.frame))
        super().command(command, now)


def _env(control_hz: float | None) -> gymnasium.Env:
    return make_env("tabletop", setup_mode=SET_UP, image_keys=SEEN, control_hz=control_hz)


def _rest(observation: Observation) -> np.ndarray:
    """The action that moves nothing."""
    return np.zeros(7, np.float32)


def _play(env: gymnasium.Env, steps: int, act: Act = _rest) -> float:
    """Seconds of so many steps."""
    observation, _ = env.reset(seed=0)
    started = time.perf_counter()
    for _ in range(steps):
        observation, _, terminated, truncated, _ = env.step(act(observation))
        if terminated or truncated:
            observation, _ = env.reset()
    return time.perf_counter() - started


@contextmanager
def _operated(
    session: Session, control_hz: float | None, delay: float, server: HubServer, name: str = "robot"
) -> Iterator[OperatedEnv]:
    """An env with an operator behind a network that adds `delay` seconds in each direction."""
    with ExitStack() as stack:
        env = stack.enter_context(closing(OperatedEnv(_env(control_hz), session)))
        stack.enter_context(closing(Link(env, name, server.robots, env.described(control_hz))))
        stack.enter_context(answering(server.page(), name, delay))
        while not env.is_attached():
            time.sleep(0.05)
        yield env
