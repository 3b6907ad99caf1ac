"""Learning curves of each set-up: whole runs, started by the commands that a user types."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import Field
from tqdm import tqdm

from serl_ray.benchmarks.commands import cameras_of, run_serl, success_curve, trained_options, words
from serl_ray.benchmarks.timing import append_outcome
from serl_ray.evaluation.rollouts import deterministic, evaluate
from serl_ray.runs.plots import plot_success_curves
from serl_ray.runs.policy import load_policy
from serl_ray.types import SETUP_MODES, SetupMode
from serl_ray.utils.options import Options

TABLE_COLUMNS = {
    "env": "env",
    "set-up": "setup_mode",
    "input": "input",
    "demonstrations": "demos",
    "seed": "seed",
    "env steps": "env_steps",
    "minutes": "minutes",
    "success": "success",
}
"""Columns of the table, and their keys in results.jsonl."""


class Learn(Options):
    """Trains on 20 scripted demonstrations, or on none, and evaluates in 50 deterministic episodes."""

    save_dir: Path = Path("runs/learn")
    """Folder for demonstrations, runs and results.jsonl."""
    env_name: str = "tabletop"
    """Env to train in: tabletop or gym-hil."""
    setup_modes: tuple[SetupMode, ...] = SETUP_MODES
    """Set-ups to train."""
    pixels: bool = False
    """Learn from two cameras and proprioception; by default from state, the object's included."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Seeds, with one run each."""
    demos: int = 20
    """Demonstrations of a run; 0 for what the agent reaches without."""
    max_steps: int = 4000
    """Env steps of a run."""
    curve_episodes: int = 50
    """Episodes in each evaluation during training; the reported success is that of other episodes at the end."""
    episodes: int = 50
    """Episodes that are played at the end."""
    num_workers: int = 0
    """Number of rollout workers; above 0 another process evaluates. They help where there are cameras and a spare
    core."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """Options of `serl train`, on top of the preset tabletop, and their values: batch_size 32 augment_crops 0."""

    def run(self) -> None:
        """Every run is a line of results.jsonl when it ends, and at last of a table and of curves.png."""
        self.save_dir.mkdir(parents=True, exist_ok=True)
        total = len(self.setup_modes) * len(self.seeds)
        outcomes = []
        for outcome in tqdm(self._outcomes(), total=total, unit="run"):
            outcomes.append(outcome)
            append_outcome(outcome, self.flat(), self.save_dir)
        plot_success_curves(outcomes, self.save_dir / "curves.png")
        print(f"\n| {' | '.join(TABLE_COLUMNS)} |\n|{'---|' * len(TABLE_COLUMNS)}")
        for outcome in outcomes:
            print(f"| {' | '.join(str(outcome[key]) for key in TABLE_COLUMNS.values())} |")

    def _outcomes(self) -> Iterator[dict[str, object]]:
        for mode in self.setup_modes:
            for seed in self.seeds:
                yield self._outcome(mode, seed)

    def _outcome(self, mode: str, seed: int) -> dict[str, object]:
        cameras = cameras_of(mode) if self.pixels else ()
        name = f"{self.env_name}-{mode}-{'pixels' if self.pixels else 'state'}-demos{self.demos}-seed{seed}"
        flags = ["--preset", "tabletop", "--env_name", self.env_name, "--setup_mode", mode]
        flags += ["--image_keys", *cameras, "--seed", str(seed), "--max_steps", str(self.max_steps)]
        flags += ["--evaluation_episodes", str(self.curve_episodes), "--num_workers", str(self.num_workers)]
        if self.num_workers:
            flags += ["--evaluation_workers", "1"]
        flags += words(self.settings)
        if self.demos:
            flags += ["--demo_paths", str(self._demonstrations(name, mode, cameras, seed))]
        started = time.monotonic()
        run_serl("train", *flags, "--save_dir", str(self.save_dir / name))
        minutes = (time.monotonic() - started) / 60
        agent, env = load_policy(self.save_dir / name)
        return {
            "env": self.env_name,
            "setup_mode": mode,
            "input": "pixels" if self.pixels else "state",
            "demos": self.demos,
            "options": trained_options(self.save_dir / name),
            "seed": seed,
            "label": f"seed {seed}",
            "env_steps": self.max_steps,
            "minutes": round(minutes, 1),
            "success": evaluate(deterministic(agent), env, episodes=self.episodes, seed=20_000).success_rate,
            "curve": success_curve(self.save_dir / name),
        }

    def _demonstrations(self, name: str, mode: str, cameras: tuple[str, ...], seed: int) -> Path:
        path = self.save_dir / f"{name}.pkl"
        if not path.exists():
            flags = [
                "--env_name",
                self.env_name,
                "--setup_mode",
                mode,
                "--episodes",
                str(self.demos),
                "--seed",
                str(1000 * seed),
            ]
            run_serl("record", *flags, "--output", str(path), "--image_keys", *cameras)
        return path
