"""Answer time of a policy: in PyTorch, exported, and served over the network."""

from __future__ import annotations

import asyncio
import importlib.util
import multiprocessing
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from annotated_types import Ge

from serl_ray.agents.agent import Agent
from serl_ray.agents.checkpoint import load_agent, save_agent
from serl_ray.agents.config import SACConfig
from serl_ray.agents.make import make_agent
from serl_ray.benchmarks.timing import Row, print_table, write_report_file
from serl_ray.data.observations import STATE
from serl_ray.envs.remote.token import robot_token
from serl_ray.networks.inputs import ObservationSpec
from serl_ray.runs.export import policy_contract, read_policy, write_policy
from serl_ray.runs.folder import choose_checkpoint
from serl_ray.runs.policy_server import PolicyServer, agent_batcher
from serl_ray.teleop.server import THIS_MACHINE
from serl_ray.types import ActionLayout
from serl_ray.utils.errors import SetupError
from serl_ray.utils.options import Options

IMAGE_SHAPE = (128, 128)
POLICY_STATE_DIM, POLICY_ACTION_DIM = 18, 7
POLICY_SETUP = "single-arm-learned-gripper"
FRESH_CAMERAS = {"state": (), "two cameras": ("image", "wrist")}
"""Cameras of the policies with fresh weights, by their names."""
MAX_BATCH = 16


@dataclass(frozen=True)
class MeasuredPolicy:
    """A policy to measure.

    Attributes:
        name: what it reads, in words.
        agent: agent on the CPU.
        image_shapes: height and width of each camera's images.
        about: facts that the agent does not know, as for `write_policy`.
    """

    name: str
    agent: Agent
    image_shapes: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    about: Mapping[str, Any] = field(default_factory=dict)

    def frame(self) -> dict[str, np.ndarray]:
        """A random observation, without stacked frames."""
        rng = np.random.default_rng(0)
        images = {key: rng.integers(0, 256, (*shape, 3), np.uint8) for key, shape in self.image_shapes.items()}
        size = self.agent.spec.state_dim
        return images | ({STATE: rng.standard_normal(size, np.float32)} if size else {})


class Deploy(Options):
    """Times a policy's answers: by PyTorch, exported to onnxruntime, and from a server on this machine. All compute on
    the CPU."""

    save_dir: Path = Path("runs/benchmark")
    """Folder for deploy.json."""
    checkpoint: str | None = None
    """Run folder, or one checkpoint in it, whose policy is measured; by default two policies with fresh weights, one
    from state and one from two cameras."""
    clients: tuple[int, ...] = (1, 8)
    """Numbers of robots that ask the server at once."""
    control_hz: float = 10.0
    """Actions per second that each robot asks for."""
    wait_ms: float = 2.0
    """Milliseconds that the server waits for the observations of other robots, as of `serl serve`."""
    steps: Annotated[int, Ge(1)] = 200
    """Actions of one measurement, of each robot."""

    def run(self) -> None:
        """Times, and reports."""
        if importlib.util.find_spec("serl_robot") is None:
            raise SetupError("serl_robot is not installed: pip install ./robot in a clone of the repository.")
        lines = []
        for policy in self._policies():
            for path, seconds in self._timed(policy):
                p50, p95 = 1e3 * np.percentile(seconds, (50, 95))
                lines.append((policy.name, path, float(p50), float(p95)))
        print_table(["policy", "path", "p50 ms", "p95 ms"], lines)
        rows = [
            Row(f"{name}, {path}: {share}", value, "ms")
            for name, path, *values in lines
            for share, value in zip(("p50", "p95"), values, strict=True)
        ]
        write_report_file("deploy", self.flat(), rows, self.save_dir)

    def _policies(self) -> Iterator[MeasuredPolicy]:
        if self.checkpoint:
            path, sentence = choose_checkpoint(Path(self.checkpoint), newest=False)
            print(sentence.replace("Playing", "Measuring"))
            agent, shapes, about = read_policy(path, "cpu")
            cameras = ", ".join(shapes) or "state"
            yield MeasuredPolicy(cameras, agent, shapes, {**about, "state_keys": [STATE]})  # as joined as in `frame`
            return
        about = {"setup_mode": POLICY_SETUP, "state_keys": [STATE], "control_hz": self.control_hz, "env_steps": 0}
        about["stages"] = 1
        layout = ActionLayout.from_setup(POLICY_SETUP, POLICY_ACTION_DIM)
        for name, cameras in FRESH_CAMERAS.items():
            spec = ObservationSpec(cameras, state_dim=POLICY_STATE_DIM)
            agent = make_agent(layout, spec, SACConfig(), device="cpu")
            yield MeasuredPolicy(name, agent, dict.fromkeys(cameras, IMAGE_SHAPE), about)

    def _timed(self, policy: MeasuredPolicy) -> Iterator[tuple[str, list[float]]]:
        """The paths of a policy's actions, and seconds of each action."""
        from serl_robot.policy import Policy

        from serl_ray.benchmarks.asking import answer_times

        frame, stack = policy.frame(), policy.agent.spec.frame_stack
        inputs = {key: np.stack([array] * stack)[None] for key, array in frame.items()}
        yield "PyTorch, in this process", self._seconds(lambda: policy.agent.sample_actions(inputs, argmax=True))
        with tempfile.TemporaryDirectory() as folder:
            write_policy(policy.agent, policy.image_shapes, policy.about, Path(folder, "policy"), observations=20)
            exported = Policy(Path(folder, "policy"))
            yield "exported, onnxruntime", self._seconds(lambda: exported.act(frame))
        for clients in self.clients:
            with served_policy(policy, self.wait_ms / 1e3) as url:
                seconds = answer_times(url, clients, self.steps, self.control_hz, frame)
            yield f"served to {clients} robot{'s' * (clients > 1)}", seconds

    def _seconds(self, act: Callable[[], Any]) -> list[float]:
        """Seconds of each action, after one to warm up."""
        act()
        seconds = []
        for _ in range(self.steps):
            began = time.perf_counter()
            act()
            seconds.append(time.perf_counter() - began)
        return seconds


@contextmanager
def served_policy(policy: MeasuredPolicy, wait_seconds: float) -> Iterator[str]:
    """The address of a policy that another process serves, as `serl serve` does."""
    told, telling = multiprocessing.Pipe()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "agent")
        save_agent(policy.agent, path)
        contract = policy_contract(policy.agent, policy.image_shapes, policy.about)
        arguments = [path, contract, wait_seconds, telling]
        server = multiprocessing.get_context("spawn").Process(target=_serve, args=arguments, daemon=True)
        server.start()
        telling.close()
        try:
            yield f"ws://{THIS_MACHINE}:{told.recv()}"
        finally:
            told.close()
            server.join()


def _serve(path: Path, contract: Mapping[str, Any], wait_seconds: float, telling: Connection) -> None:
    """Serves an agent whose port is told, until this end of the pipe is closed."""
    ended = threading.Event()

    def wait() -> None:
        with suppress(EOFError):
            telling.recv()
        ended.set()

    threading.Thread(target=wait, daemon=True).start()
    batcher = agent_batcher(load_agent(path, "cpu"), MAX_BATCH, wait_seconds)
    server = PolicyServer(contract, batcher, robot_token())
    asyncio.run(server.serve(THIS_MACHINE, 0, ended, telling.send))
