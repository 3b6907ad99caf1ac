"""Success of each objective on demonstrations alone, and after more training on online experience."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from itertools import product
from pathlib import Path
from statistics import mean
from typing import Any

from pydantic import Field
from tqdm import tqdm

from serl_ray.agents.config import OBJECTIVES, Objective
from serl_ray.benchmarks.commands import cameras_of, run_serl, success_curve, trained_options, words
from serl_ray.benchmarks.timing import append_outcome
from serl_ray.evaluation.rollouts import deterministic, evaluate
from serl_ray.runs.plots import plot_success_curves
from serl_ray.runs.policy import load_policy
from serl_ray.types import SETUP_MODES, SetupMode
from serl_ray.utils.options import Options

Run = tuple[str, str, int]
"""Set-up, objective, seed."""


class Objectives(Options):
    """Trains on scripted demonstrations with noise, offline, and evaluates in deterministic episodes."""

    save_dir: Path = Path("runs/objectives")
    """Folder for demonstrations, runs, results.jsonl and online.png."""
    setup_modes: tuple[SetupMode, ...] = SETUP_MODES
    """Set-ups to train."""
    objectives: tuple[Objective, ...] = OBJECTIVES
    """Objectives to compare."""
    pixels: bool = False
    """Learn from two cameras and proprioception; by default from state, the object's included."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Seeds, with one run each on the same demonstrations."""
    demos: int = 50
    """Number of demonstrations."""
    max_steps: int = 2000
    """Learner steps of a run."""
    online_steps: int = 0
    """Env steps by which the runs go on learning from experience, once they are trained."""
    episodes: int = 50
    """Episodes in each evaluation."""
    jobs: int = 2
    """Runs at a time, a thread each."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """Options of the trainings, on top of the preset tabletop, and their values; with online_steps those that offline
    and hybrid training share."""

    def run(self) -> None:
        """Every run is a line of results.jsonl when it ends, and the means over seeds are a table at last."""
        self.save_dir.mkdir(parents=True, exist_ok=True)
        for mode in self.setup_modes:
            self._record(mode)
        runs = list(product(self.setup_modes, self.objectives, self.seeds))
        outcomes = {run: outcome for run, outcome in self._side_by_side(self._offline, runs)}
        print(f"\n| set-up | {' | '.join(self.objectives)} |\n|---|{'---|' * len(self.objectives)}")
        for mode in self.setup_modes:
            successes = (
                [outcomes[mode, objective, seed]["success"] for seed in self.seeds] for objective in self.objectives
            )
            print(f"| {mode} | {' | '.join(f'{mean(s):.2f} ({min(s):.2f} to {max(s):.2f})' for s in successes)} |")
        if self.online_steps:
            self._learn_on(runs)

    def _learn_on(self, runs: list[Run]) -> None:
        outcomes = [outcome for _, outcome in self._side_by_side(self._online, runs)]
        plot_success_curves(outcomes, self.save_dir / "online.png")
        for outcome in outcomes:
            print(f"{outcome['setup_mode']}, seed {outcome['seed']}: success by env steps {outcome['curve']}")

    def _side_by_side(self, train: object, runs: list[Run]) -> Iterator[tuple[Run, dict[str, object]]]:
        """Runs and their outcomes as they end."""
        with ThreadPoolExecutor(self.jobs) as pool:
            futures = {pool.submit(train, *run): run for run in runs}
            for future in tqdm(as_completed(futures), total=len(runs), unit="run"):
                outcome = future.result()
                append_outcome(outcome, self.flat(), self.save_dir)
                yield futures[future], outcome

    def _offline(self, mode: str, objective: str, seed: int) -> dict[str, object]:
        folder, started = self._folder(mode, objective, seed), time.monotonic()
        if not folder.exists():
            options = {"objective": objective, "max_steps": self.max_steps, "evaluate_every": self.max_steps}
            run_serl("train-offline", *self._flags(mode, seed, options), "--save_dir", str(folder), threads=1)
        minutes = (time.monotonic() - started) / 60
        agent, env = load_policy(folder)
        success = evaluate(deterministic(agent), env, episodes=self.episodes, seed=20_000).success_rate
        return self._outcome(mode, seed, folder) | {
            "objective": objective,
            "minutes": round(minutes, 1),
            "success": success,
        }

    def _online(self, mode: str, objective: str, seed: int) -> dict[str, object]:
        folder = self._folder(mode, objective, seed)
        online = folder.with_name(f"{folder.name}-online")
        options = {
            "init_from": folder,
            "max_steps": self.online_steps,
            "evaluate_every": 250,
            "evaluation_episodes": self.episodes,
        }
        if not online.exists():
            run_serl("train", *self._flags(mode, seed, options), "--save_dir", str(online), threads=1)
        curve = success_curve(online)
        about = {"objective": f"{objective}, then online", "curve": curve, "success": curve[max(curve)]}
        return self._outcome(mode, seed, online) | about

    def _flags(self, mode: str, seed: int, options: dict[str, Any]) -> list[str]:
        about = {
            "preset": "tabletop",
            "env_name": "tabletop",
            "setup_mode": mode,
            "demo_paths": self._demos(mode),
            "image_keys": list(cameras_of(mode)) if self.pixels else [],
            "seed": seed,
        }
        return words(about | options | self.settings)

    def _outcome(self, mode: str, seed: int, folder: Path) -> dict[str, object]:
        described = {"env": "tabletop", "input": "pixels" if self.pixels else "state", "demos": self.demos}
        return described | {
            "setup_mode": mode,
            "seed": seed,
            "label": f"seed {seed}",
            "learner_steps": self.max_steps,
            "options": trained_options(folder),
        }

    def _folder(self, mode: str, objective: str, seed: int) -> Path:
        return self.save_dir / f"{mode}-{'pixels' if self.pixels else 'state'}-{objective}-seed{seed}"

    def _demos(self, mode: str) -> Path:
        return self.save_dir / f"{mode}.pkl"

    def _record(self, mode: str) -> None:
        if not self._demos(mode).exists():
            flags = ["--setup_mode", mode, "--episodes", str(self.demos), "--image_keys", *cameras_of(mode)]
            run_serl("record", *flags, "--output", str(self._demos(mode)))
