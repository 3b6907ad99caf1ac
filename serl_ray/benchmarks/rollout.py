"""Speed of a rollout worker, compared with a bare loop, and with a slow learner."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from operator import truediv
from pathlib import Path
from statistics import median
from typing import Any

import torch

from serl_ray.benchmarks.clients import answering
from serl_ray.benchmarks.runs import measured, wait_until_idle
from serl_ray.benchmarks.timing import Row, print_report
from serl_ray.data.replay.maps import FrameEncoder
from serl_ray.options.presets import PRESETS
from serl_ray.options.sets import HybridRun
from serl_ray.rllib import SERL
from serl_ray.rllib.rollout_env import rollout_env
from serl_ray.runs.train import start_for
from serl_ray.utils.options import Options

INPUTS = {"state": (), "two cameras": ("image", "wrist")}
OPERATED = {"operated": True, "operator_port": 0}


class Rollout(Options):
    """Times env steps of the tabletop's pick-up task."""

    save_dir: Path = Path("runs/benchmark")
    """Folder for rollout.json."""
    steps: int = 240
    """Env steps of one measurement with cameras; ten times as many from state, where they are so much faster."""
    repeats: int = 5
    """Number of measurements; the median of ratios of neighbours counts."""
    control_hz: float = 10.0
    """Rate to be held beside the slow learner."""
    learner_seconds: float = 1.0
    """Seconds that each step of the slow learner takes."""
    seconds: float = 60.0
    """Seconds of the measurement beside the slow learner."""

    def run(self) -> None:
        """Times, and reports."""
        start_for(HybridRun.of(num_workers=1))
        rows = []
        runs: dict[str, dict[str, Any]] = {name: {"image_keys": cameras} for name, cameras in INPUTS.items()}
        last = list(runs)[-1]
        runs[f"{last}, watched by an operator"] = runs[last] | OPERATED
        for name, options in runs.items():
            bare, worker = self._rates(HybridRun.of(num_workers=1, **options, **PRESETS["tabletop"]))
            rows += [
                Row(f"{name}: bare loop", median(bare), "steps/s"),
                Row(f"{name}: one rollout worker", median(worker), "steps/s"),
                Row(f"{name}: one rollout worker / bare loop", median(map(truediv, worker, bare)), "", ">= 0.9"),
            ]
        held = self._held_rate() / self.control_hz
        rows.append(
            Row(f"rate held at {self.control_hz:g} Hz, learner step {self.learner_seconds:g} s", held, "", ">= 0.95")
        )
        print_report("rollout", self.flat(), rows, self.save_dir)

    def _rates(self, options: HybridRun) -> tuple[list[float], list[float]]:
        """Env steps a second of a bare loop, and of an algorithm that does not learn; they take turns."""
        steps = self.steps if options.env.image_keys else 10 * self.steps
        sizes = {"steps_per_iteration": steps, "max_steps": (2 * self.repeats + 1) * steps}
        options = options.replace(training_starts=10**9, evaluate_every=0, **sizes)
        with measured(options, self.save_dir) as algorithm, _watched(algorithm):
            algorithm.train()
            torch.set_num_threads(1)  # as the worker has
            act_and_step = bare_loop(algorithm)
            bare, worker = [], []
            for _ in range(self.repeats):
                wait_until_idle(algorithm)
                started = time.perf_counter()
                for _ in range(steps):
                    act_and_step()
                bare.append(steps / (time.perf_counter() - started))
                algorithm.train()  # begins with what the worker had done before, and ends amid its work, as the next
                worker.append(algorithm.train()["env/steps_per_second"])
        return bare, worker

    def _held_rate(self) -> float:
        """Env steps a second with a learner that does little but sleep."""
        options = HybridRun.of(
            num_workers=1,
            control_hz=self.control_hz,
            max_lead=None,
            training_starts=10,
            steps_per_iteration=max(int(self.control_hz), 1),
            evaluate_every=0,
        )
        with measured(options, self.save_dir) as algorithm:
            learn = algorithm.policy.learn_on_batch

            def learn_slowly(*args: Any, **kwargs: Any) -> dict[str, float]:
                time.sleep(self.learner_seconds / options.learning.cta_ratio)
                return learn(*args, **kwargs)

            algorithm.policy.learn_on_batch = learn_slowly
            algorithm.train()
            env_steps, started = algorithm.env_steps, time.perf_counter()
            while time.perf_counter() < started + self.seconds:
                algorithm.train()
            return (algorithm.env_steps - env_steps) / (time.perf_counter() - started)


def _watched(algorithm: SERL) -> AbstractContextManager[None]:
    """An operator who watches the robot, where the run lets one."""
    return answering(algorithm.hub.page, "worker-1-0") if algorithm.hub else nullcontext()


def bare_loop(algorithm: SERL) -> Callable[[], None]:
    """One step of the algorithm's env with its agent, in this process: encode, act, step."""
    config = algorithm.config.copy(copy_frozen=False)
    config.env_config = config.env_config | {"operators": None}
    env, encoding = rollout_env(config, worker_index=2), algorithm.options.encoding()
    encode = FrameEncoder(**encoding) if encoding else dict
    observation, _ = env.reset(seed=0)

    def act_and_step() -> None:
        nonlocal observation
        [action] = algorithm.agent.sample_actions(encode({key: value[None] for key, value in observation.items()}))
        observation, _, terminated, truncated, _ = env.step(action)
        if terminated or truncated:
            observation, _ = env.reset()

    return act_and_step
