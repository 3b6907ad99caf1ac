"""A long run that must stay as it was after its first minutes, and account for every step and every intervention."""

from __future__ import annotations

import json
import os
import time
import uuid
from pathlib import Path
from statistics import median
from typing import Any

import gymnasium
import numpy as np
import psutil
from matplotlib.figure import Figure
from tqdm import tqdm

from serl_ray.benchmarks.timing import Row, print_report
from serl_ray.cluster.ray_private import object_store_bytes
from serl_ray.envs.tabletop import TabletopEnv
from serl_ray.envs.wrappers import ExpertIntervention
from serl_ray.files.tables import open_parquet, read_group
from serl_ray.options.presets import PRESETS
from serl_ray.options.sets import HybridRun
from serl_ray.rllib.checkpoint import REPLAY_DIR
from serl_ray.rllib.worker import SERLWorker
from serl_ray.runs.folder import RunFolder
from serl_ray.runs.log import LOGS, RunLog
from serl_ray.runs.train import build, start_for
from serl_ray.types import ActionLayout
from serl_ray.utils.options import Options

MODE = "single-arm-learned-gripper"
SAMPLES = "soak.jsonl"
MEMORY = ("learner_mb", "workers_mb", "ray_mb")
OPEN_FILES = ("learner_files", "workers_files")
STORE = ("object_store_mb",)
RATES = ("env_steps_per_second", "learner_steps_per_second")
SOAK_PANELS = {"memory, MB": MEMORY, "open files": OPEN_FILES, "object store, MB": STORE, "steps a second": RATES}


class WatchedEnv(gymnasium.Wrapper):
    """The pick-up task with an expert in the operator's place, and a fault now and then. It keeps its own account: a
    byte a step in a file of `folder`, `i` for an intervention and `.` for any other."""

    def __init__(self, folder: str, break_every: int) -> None:
        seed = uuid.uuid4().int % 2**32
        layout = ActionLayout.from_setup(MODE, 7)
        env = TabletopEnv(setup_mode=MODE, cameras=("wrist",))
        super().__init__(ExpertIntervention(env, layout, noise=0.2, probability=0.02, seed=seed))
        self._rng, self._break_every = np.random.default_rng(seed), break_every
        self._account = (Path(folder) / f"{os.getpid()}-{seed}.steps").open("a", buffering=1)

    def step(self, action: np.ndarray) -> tuple[Any, ...]:
        """Executes the action (A + G,), or the expert's."""
        is_broken = self._rng.random() * self._break_every < 1.0
        result = self.env.step(action)
        is_intervention = "intervene_action" in result[-1] and not is_broken
        self._account.write("i" if is_intervention else ".")
        self._account.flush()
        if is_broken:
            raise RuntimeError("the camera has lost its connection, for once")
        return result


class Soak(Options):
    """Hybrid training from a camera with two rollout workers that keep their rate, interventions and faults."""

    save_dir: Path = Path("runs/soak")
    """Folder for the run, soak.jsonl, soak.png and soak.json."""
    minutes: float = 120.0
    """Duration of the run in minutes."""
    control_hz: float = 5.0
    """Env steps a second of each worker."""
    num_workers: int = 2
    """Number of rollout workers."""
    break_every: int = 2000
    """Env steps between faults, on average."""
    sample_every: int = 100
    """Env steps between samples, each of which is saved; at least four are taken."""

    def run(self) -> None:
        """Trains, with a sample of everything after each iteration in which the learner is at work, and reports."""
        (self.save_dir / "accounts").mkdir(parents=True)
        options = self._options()
        run = options.run
        start_for(options)
        algorithm, log, folder = build(options), RunLog(run.save_dir / LOGS), RunFolder(run.save_dir, run.keep)
        started, samples, total = time.monotonic(), [], 60 * self.minutes
        with tqdm(total=round(total), unit="s") as bar:
            while (elapsed := time.monotonic() - started) < total or len(samples) < 4:
                bar.update(min(round(elapsed), bar.total) - bar.n)
                result = algorithm.train()
                log.append(result, algorithm.steps)
                folder.save(algorithm)
                if not algorithm.learner_steps:
                    continue
                samples.append(self._sample(result, time.monotonic() - started))
                with (self.save_dir / SAMPLES).open("a") as file:
                    file.write(json.dumps(samples[-1]) + "\n")
        algorithm.wait_for_requests()
        folder.save(algorithm)
        algorithm.stop()
        rows = _flatness(samples) + self._accounts(algorithm.faults.counts)
        _plot(samples, self.save_dir / "soak.png")
        print_report("soak", self.flat(), rows, self.save_dir)

    def _options(self) -> HybridRun:
        preset = PRESETS["tabletop"] | {"batch_size": 64, "augment_crops": 1, "fragment_length": 10}
        return HybridRun.of(
            save_dir=self.save_dir / "run",
            num_workers=self.num_workers,
            env_name="serl_ray.benchmarks.soak:WatchedEnv",
            setup_mode=MODE,
            image_keys=("wrist",),
            env_kwargs={"folder": str((self.save_dir / "accounts").absolute()), "break_every": self.break_every},
            control_hz=self.control_hz,
            max_lead=None,
            utd_ratio=0.25,
            capacity=10_000,
            demo_capacity=2_000,
            max_steps=10**9,
            evaluate_every=0,
            steps_per_iteration=self.sample_every,
            **preset,
        )

    def _sample(self, result: dict[str, Any], seconds: float) -> dict[str, float]:
        learner = psutil.Process()
        others = learner.children(recursive=True)
        workers = [process for process in others if f"ray::{SERLWorker.__name__}" in " ".join(process.cmdline())]
        return {
            "minutes": seconds / 60,
            "learner_mb": _megabytes([learner]),
            "workers_mb": _megabytes(workers),
            "ray_mb": _megabytes([process for process in others if process not in workers]),
            "learner_files": learner.num_fds(),
            "workers_files": sum(process.num_fds() for process in workers),
            "object_store_mb": object_store_bytes() / 1e6,
            "env_steps_per_second": result["env/steps_per_second"],
            "learner_steps_per_second": result["learner/steps_per_second"],
        }

    def _accounts(self, dropped: dict[str, int]) -> list[Row]:
        """Comparison of the steps that the envs counted with those that can be read from the disk."""
        made = "".join(file.read_text() for file in (self.save_dir / "accounts").iterdir())
        shards = self.save_dir / "run" / REPLAY_DIR
        stored, interventions = rows_of(shards / "online")
        learned_from, _ = rows_of(shards / "demos")
        unaccounted = len(made) - stored - dropped["faults/steps_dropped"]
        unstored = made.count("i") - interventions - dropped["faults/interventions_dropped"]
        return [
            Row("env steps made", len(made), ""),
            Row("env steps stored", stored, ""),
            Row("env steps dropped by name", dropped["faults/steps_dropped"], ""),
            Row("env steps unaccounted for", unaccounted, "", "0"),
            Row("interventions made", made.count("i"), ""),
            Row("interventions stored", interventions, ""),
            Row("interventions dropped by name", dropped["faults/interventions_dropped"], ""),
            Row("interventions unaccounted for", unstored, "", "0"),
            Row("interventions stored that are not among the demonstrations", interventions - learned_from, "", "0"),
        ]


def rows_of(shards: Path) -> tuple[int, int]:
    """Transitions in the shards of a folder, and interventions among them."""
    flags = [flag for shard in shards.glob("*.parquet") for flag in _intervened(shard)]
    return len(flags), sum(flags)


def _intervened(shard: Path) -> list[bool]:
    with open_parquet(str(shard)) as file:
        tables = [read_group(file, group, ["intervened"], str(shard)) for group in range(file.num_row_groups)]
    return [flag for table in tables for flag in table["intervened"].to_pylist()]


def _megabytes(processes: list[psutil.Process]) -> float:
    return sum(process.memory_info().rss for process in processes) / 1e6


def _flatness(samples: list[dict[str, float]]) -> list[Row]:
    """The last quarter beside the second: in the first, the ring of the replay becomes real memory."""
    quarter = len(samples) // 4
    before, after = (
        {name: median(sample[name] for sample in some) for name in samples[0]}
        for some in (samples[quarter : 2 * quarter], samples[-quarter:])
    )
    growth = "growth from the second quarter to the last"
    return [
        *(Row(f"{name}: {growth}", 100 * (after[name] / before[name] - 1), "%", "<= 3 %") for name in MEMORY),
        *(Row(f"{name}: {growth}", after[name] - before[name], "", "<= 0") for name in OPEN_FILES + STORE),
        *(Row(f"{name}, second quarter", before[name], "/s") for name in RATES),
        *(Row(f"{name}: last quarter / second", after[name] / before[name], "", ">= 0.95") for name in RATES),
    ]


def _plot(samples: list[dict[str, float]], path: Path) -> None:
    figure = Figure(figsize=(11, 7), layout="constrained")
    for axes, (title, names) in zip(figure.subplots(2, 2).flat, SOAK_PANELS.items(), strict=True):
        for name in names:
            axes.plot([sample["minutes"] for sample in samples], [sample[name] for sample in samples], label=name)
        axes.set(title=title, xlabel="minutes", ylim=(0, None))
        axes.grid(alpha=0.3)
        axes.legend()
    figure.savefig(path, dpi=110)
