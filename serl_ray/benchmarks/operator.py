"""Delay of the loop from a robot's frame over an operator to the command for the robot, and its cost for the robot."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from operator import truediv
from pathlib import Path
from statistics import median

import gymnasium
import numpy as np
from aiohttp import ClientSession
from psutil import Process
from tqdm import tqdm

from serl_ray.agents.sac import SACHybridAgent
from serl_ray.benchmarks.timing import Row, print_report
from serl_ray.data.observations import Observation
from serl_ray.envs import make_env
from serl_ray.evaluation.rollouts import Act
from serl_ray.teleop.events import Command
from serl_ray.teleop.link import Link
from serl_ray.teleop.server import THIS_MACHINE, HubServer
from serl_ray.teleop.session import Session
from serl_ray.teleop.wire import Message, pack, unpack
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
    """Minutes for which two robots and two viewers share a hub, and memory must stay flat; 0 for none."""

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
        """The memory of this process, in which two robots, their hub and two viewers are."""
        layout, process = ActionLayout.from_setup(SET_UP, 7), Process()
        with ExitStack() as stack:
            server = stack.enter_context(closing(HubServer()))
            envs = [
                stack.enter_context(_operated(Session(layout), self.control_hz, 0.0, server, name))
                for name in ("left", "right")
            ]
            used = []
            for _ in tqdm(range(max(int(60 * self.soak_minutes / SOAK_SECONDS), 2)), unit="look"):
                ends = time.perf_counter() + SOAK_SECONDS
                while time.perf_counter() < ends:
                    for env in envs:
                        _play(env, int(self.control_hz))
                used.append(process.memory_info().rss / 2**20)
        yield Row("memory of two robots and two viewers, at first", used[0], "MiB")
        yield Row(f"memory after {self.soak_minutes:g} minutes / at first", used[-1] / used[0], "", "<= 1.05")

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
        stack.enter_context(closing(Link(env, name, server.robots, env.described(1, control_hz))))
        client = threading.Thread(target=asyncio.run, args=[_answer(server, delay, name)], name="operator", daemon=True)
        client.start()
        while not env.is_attached():
            time.sleep(0.05)
        yield env


async def _answer(server: HubServer, delay: float, robot: str) -> None:
    """Watches a robot, takes control, and answers every frame by a command, until the hub is closed."""
    network = await asyncio.start_server(lambda r, w: _forward(r, w, server.port, delay), THIS_MACHINE, 0)
    port = network.sockets[0].getsockname()[1]
    secret = server.page().rpartition("=")[2]
    async with ClientSession() as http, http.ws_connect(f"http://{THIS_MACHINE}:{port}/ws") as socket:
        await socket.send_bytes(pack(Message("hello", {"secret": secret, "role": "operator"})))
        async for raw in socket:
            for message in _answers(unpack(raw.data), robot):
                await socket.send_bytes(pack(message))


def _answers(message: Message, robot: str) -> Sequence[Message]:
    """The client's answers to a message of the hub."""
    fields = message.fields
    if message.kind == "welcome":
        return [Message("watch", {"robot": robot})] if robot in fields["robots"] else []
    if message.kind != "frame":
        return [Message("alive")] if message.kind == "state" else []
    frame, epoch = fields["frame"], fields["state"]["epoch"]
    request = Message("press", {"epoch": epoch, "frame": frame, "press": "request"})
    device = {"epoch": epoch, "frame": frame, "clutch": False, "source": "benchmark"}
    command = Message("command", device, {"action": np.zeros(7, np.float32)})
    return [Message("displayed", {"frame": frame}), command if fields["state"]["holder"] else request]


async def _forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int, delay: float) -> None:
    """Forwards a connection, each piece of it later by `delay` seconds."""
    upstream_reader, upstream_writer = await asyncio.open_connection(THIS_MACHINE, port)
    await asyncio.gather(_pipe(reader, upstream_writer, delay), _pipe(upstream_reader, writer, delay))


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay: float) -> None:
    loop = asyncio.get_running_loop()
    with suppress(ConnectionError):
        while piece := await reader.read(2**16):
            loop.call_later(delay, writer.write, piece)
    loop.call_later(delay, writer.close)
