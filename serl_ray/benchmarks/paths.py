"""Paths on which a step reaches a robot: this process, the network, the server of a Franka, LeRobot's adapter."""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import gymnasium

from serl_ray.benchmarks.franka_arm import arm_settings, serve_arm
from serl_ray.benchmarks.network import SlowNetwork
from serl_ray.envs import make_env
from serl_ray.envs.remote.token import TOKEN_VARIABLE, robot_token

GRASPING = "single-arm-learned-gripper"
ROBOT_PORT = 9765
ROBOT_SECONDS = 60.0
"""Seconds within which the process of a robot must be there."""
SEEN_CAMERAS = ("image", "wrist")
OBSERVES_AFTER = 0.8
"""Share of a period after which a Franka is observed: the rest is the policy's."""


@contextmanager
def tabletop_here(control_hz: float) -> Iterator[gymnasium.Env]:
    """The tabletop's pick-up task in this process, with two cameras."""
    with closing(make_env("tabletop", setup_mode=GRASPING, image_keys=SEEN_CAMERAS, control_hz=control_hz)) as env:
        yield env


@contextmanager
def tabletop_there(control_hz: float, delay: float) -> Iterator[gymnasium.Env]:
    """The same in another process, behind a network that adds `delay` seconds in each direction."""
    with ExitStack() as stack:
        network = stack.enter_context(SlowNetwork(ROBOT_PORT, delay))
        stack.enter_context(tabletop_robot(network.port, control_hz, cameras=True))
        yield stack.enter_context(_remote(SEEN_CAMERAS))


@contextmanager
def franka(control_hz: float) -> Iterator[gymnasium.Env]:
    """A Franka, without cameras, whose server is a stand-in in another process."""
    told, telling = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=serve_arm, args=[telling], daemon=True)
    server.start()
    telling.close()
    try:
        with tempfile.TemporaryDirectory() as folder:
            settings = {"arms": [arm_settings(told.recv())], "hz": control_hz / OBSERVES_AFTER}
            path = Path(folder, "franka.yaml")
            path.write_text(json.dumps(settings | {"max_episode_length": 10_000}))  # JSON is YAML
            kwargs: dict[str, Any] = {"setup_mode": GRASPING, "env_kwargs": {"settings": str(path)}}
            with closing(make_env("franka", control_hz=control_hz, **kwargs)) as env:
                yield env
    finally:
        told.close()
        server.join()


@contextmanager
def lerobot(control_hz: float) -> Iterator[gymnasium.Env]:
    """An arm of LeRobot's interface with two cameras of 480x640, which `serl-robot` serves in another process."""
    words = ["serl_ray.benchmarks.lerobot_arm:obedient_env", "--env_kwargs", "hz", f"{control_hz:g}"]
    with _robot(ROBOT_PORT, control_hz, words), _remote(("front", "wrist")) as env:
        yield env


@contextmanager
def tabletop_robot(port: int, control_hz: float, cameras: bool) -> Iterator[None]:
    """A process in which serl_robot serves the tabletop."""
    words = ["serl_ray.envs.tabletop:TabletopEnv", "--env_kwargs", "setup_mode", GRASPING]
    with _robot(port, control_hz, [*words, "cameras", json.dumps(SEEN_CAMERAS)] if cameras else words):
        yield


@contextmanager
def _remote(image_keys: Sequence[str]) -> Iterator[gymnasium.Env]:
    there = {"port": ROBOT_PORT, "connect_seconds": ROBOT_SECONDS}
    kwargs: dict[str, Any] = {"setup_mode": GRASPING, "env_kwargs": there}
    with closing(make_env("remote", image_keys=image_keys, **kwargs)) as env:
        yield env


@contextmanager
def _robot(port: int, control_hz: float, words: Sequence[str]) -> Iterator[None]:
    """A process in which serl_robot serves an env, by its name and the words that follow."""
    command = [sys.executable, "-m", "serl_robot.cli", f"ws://127.0.0.1:{port}", *words]
    command += ["--hz", f"{control_hz:g}", "--setup_mode", GRASPING]
    environment = os.environ | {TOKEN_VARIABLE: robot_token()}
    process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait()
