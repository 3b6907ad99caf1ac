"""Tasks that methods are compared on, with their env steps per second and what their scripted experts reach."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import gymnasium
import numpy as np
from annotated_types import Ge
from tqdm import tqdm

from serl_ray.benchmarks.commands import cameras_of
from serl_ray.benchmarks.timing import Row, print_report
from serl_ray.envs.expert import ScriptedExpert
from serl_ray.envs.make import make_env
from serl_ray.types import ActionLayout, SetupMode
from serl_ray.utils.options import Options, check_names


@dataclass(frozen=True)
class Task:
    """A task of an env that comes along.

    Attributes:
        env_name: name of the env.
        setup_mode: the task's set-up.
        control_hz: env steps a second of a robot that did it.
        cameras: cameras that pixels are learned from.
        env_kwargs: further arguments of the env.
    """

    env_name: str
    setup_mode: SetupMode
    control_hz: float
    cameras: tuple[str, ...]
    env_kwargs: dict[str, Any] = field(default_factory=dict)

    def make(self, pixels: bool) -> gymnasium.Env:
        """The env with this task, seen from its cameras or from its state."""
        cameras = self.cameras if pixels else ()
        return make_env(self.env_name, setup_mode=self.setup_mode, image_keys=cameras, env_kwargs=self.env_kwargs)


def _metaworld(task: str) -> Task:
    return Task("metaworld", "single-arm-fixed-gripper", 40.0, ("corner2",), {"task": task})


def _robosuite(task: str, setup_mode: SetupMode) -> Task:
    return Task("robosuite", setup_mode, 20.0, ("agentview", "robot0_eye_in_hand"), {"task": task})


def _tabletop(setup_mode: SetupMode) -> Task:
    return Task("tabletop", setup_mode, 10.0, cameras_of(setup_mode))


STANDARD_TASKS = {
    "peg": _tabletop("single-arm-fixed-gripper"),
    "pick-up": _tabletop("single-arm-learned-gripper"),
    "pegs": _tabletop("dual-arm-fixed-gripper"),
    "tray": _tabletop("dual-arm-learned-gripper"),
    "pick-cube": Task("gym-hil", "single-arm-learned-gripper", 10.0, ("front", "wrist")),
    "lift": _robosuite("lift", "single-arm-learned-gripper"),
    "two-arm-peg": _robosuite("two-arm-peg", "dual-arm-fixed-gripper"),
    **{f"metaworld-{task}": _metaworld(task) for task in ("assembly", "box-close", "coffee-push", "stick-pull")},
}
"""Tasks by name; those of MetaWorld in IBRL's set-up (arXiv 2311.02198), the gripper's force a continuous number."""


class Tasks(Options):
    """Lists every task with what its scripted expert reaches and its env steps per second."""

    save_dir: Path = Path("runs/benchmark")
    """Folder for tasks.json."""
    tasks: tuple[str, ...] = tuple(STANDARD_TASKS)
    """Tasks to play."""
    episodes: Annotated[int, Ge(1)] = 20
    """Episodes of each task's expert, from state."""
    image_steps: Annotated[int, Ge(1)] = 50
    """Env steps from pixels that are timed."""

    def run(self) -> None:
        """Plays every task, and reports."""
        check_names(self.tasks, STANDARD_TASKS, "task")
        rows = [row for name in tqdm(self.tasks, unit="task") for row in self._rows(name, STANDARD_TASKS[name])]
        print_report("tasks", self.flat(), rows, self.save_dir)

    def _rows(self, name: str, task: Task) -> list[Row]:
        successes, lengths, rate = self._played(task)
        return [
            Row(f"{name}, expert's success", float(np.mean(successes)), f"of {self.episodes} episodes"),
            Row(f"{name}, expert's steps to it", float(np.mean(lengths)) if lengths else float("nan"), "env steps"),
            Row(f"{name}, from state", rate, "env steps/s"),
            Row(f"{name}, from {len(task.cameras)} camera(s)", self._image_rate(task), "env steps/s"),
        ]

    def _played(self, task: Task) -> tuple[list[bool], list[int], float]:
        """Success of the expert in each episode, the lengths of those with success, and env steps per second."""
        env = task.make(pixels=False)
        expert = _expert_of(env, task)
        successes, lengths, steps, seconds = [], [], 0, 0.0
        for seed in range(self.episodes):
            env.reset(seed=seed)
            started, length, terminated, truncated = time.perf_counter(), 0, False, False
            while not (terminated or truncated):
                _, reward, terminated, truncated, _ = env.step(expert.act())
                length += 1
            seconds += time.perf_counter() - started
            steps += length
            successes.append(float(reward) > 0.0)
            if successes[-1]:
                lengths.append(length)
        env.close()
        return successes, lengths, steps / seconds

    def _image_rate(self, task: Task) -> float:
        env = task.make(pixels=True)
        expert = _expert_of(env, task)
        env.reset(seed=0)
        env.step(expert.act())  # opens OpenGL
        started = time.perf_counter()
        for _ in range(self.image_steps):
            _, _, terminated, truncated, _ = env.step(expert.act())
            if terminated or truncated:
                env.reset()
        rate = self.image_steps / (time.perf_counter() - started)
        env.close()
        return rate


def _expert_of(env: gymnasium.Env, task: Task) -> ScriptedExpert:
    shape: Any = env.action_space.shape
    return ScriptedExpert(env, ActionLayout.from_setup(task.setup_mode, shape[0]))
