"""Measures what the README claims. Section `learn`: how fast and how well each set-up learns."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import tyro
from tqdm import tqdm

from serl_ray.types import SETUP_MODES

SCRIPTS = Path(__file__).parent


@dataclass
class Learn:
    """Trains from state on 20 scripted demonstrations, or on none, and evaluates in 50 deterministic episodes."""

    output: Path
    """Folder for demonstrations, runs and results.jsonl."""
    env: str = "tabletop"
    """tabletop or gym-hil."""
    setup_modes: tuple[Literal[SETUP_MODES], ...] = SETUP_MODES
    """Set-ups to train."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """A run each."""
    demos: int = 20
    """Demonstrations of a run; 0 for what the agent reaches without."""
    max_steps: int = 4000
    """Env steps of a run."""

    def runs(self) -> Iterator[dict[str, object]]:
        """The outcome of every run, as it ends."""
        for mode in self.setup_modes:
            for seed in self.seeds:
                yield self._run(mode, seed)

    def _run(self, mode: str, seed: int) -> dict[str, object]:
        save_dir = self.output / f"{self.env}-{mode}-demos{self.demos}-seed{seed}"
        started = time.monotonic()
        flags = ["--preset", "tabletop", "--setup_mode", mode, "--seed", str(seed), "--max_steps", str(self.max_steps)]
        flags += ["--env_name", self.env, "--evaluation_episodes", "50", "--save_dir", str(save_dir)]
        if self.demos:
            flags += ["--demo_paths", str(self._demonstrations(mode, seed))]
        _script("train_hybrid.py", *flags)
        results = [json.loads(line) for line in (save_dir / "logs" / "results.jsonl").read_text().splitlines()]
        return {
            "env": self.env,
            "setup_mode": mode,
            "demos": self.demos,
            "seed": seed,
            "env_steps": self.max_steps,
            "minutes": round((time.monotonic() - started) / 60, 1),
            "success": results[-1]["evaluation/success_rate"],
            "curve": {int(r["evaluation/at_step"]): r["evaluation/success_rate"] for r in results if "evaluation/at_step" in r},
        }

    def _demonstrations(self, mode: str, seed: int) -> Path:
        path = self.output / f"{self.env}-{mode}-demos{self.demos}-seed{seed}.pkl"
        if not path.exists():
            flags = ["--env", self.env, "--setup_mode", mode, "--episodes", str(self.demos), "--seed", str(1000 * seed)]
            _script("record_demos.py", *flags, "--output", str(path), "--image_keys")
        return path


def _script(name: str, *flags: str) -> None:
    subprocess.run([sys.executable, str(SCRIPTS / name), *flags], check=True)


def main(section: Learn) -> None:
    """Runs the section; every run is a line of results.jsonl when it ends, and of the table that is printed last."""
    section.output.mkdir(parents=True, exist_ok=True)
    machine = {"machine": platform.processor() or platform.machine(), "torch": version("torch"), "ray": version("ray")}
    total = len(section.setup_modes) * len(section.seeds)
    outcomes = []
    for outcome in tqdm(section.runs(), total=total, unit="run"):
        outcomes.append(outcome)
        with (section.output / "results.jsonl").open("a") as file:
            file.write(json.dumps(outcome | machine) + "\n")
    for outcome in outcomes:
        print("| {env} | {setup_mode} | {demos} | {seed} | {env_steps} | {minutes} | {success:.2f} |".format(**outcome))


if __name__ == "__main__":
    main(tyro.extras.subcommand_cli_from_dict({"learn": Learn}, use_underscores=True))
