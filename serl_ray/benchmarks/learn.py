"""Learning curves of methods on tasks: whole runs, started by the commands that a user types."""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Ge
from pydantic import Field
from tqdm import tqdm

from serl_ray.benchmarks.commands import run_serl, success_curve, trained_options, words
from serl_ray.benchmarks.report import write_report
from serl_ray.benchmarks.tasks import STANDARD_TASKS
from serl_ray.benchmarks.timing import machine
from serl_ray.evaluation.rollouts import deterministic, evaluate
from serl_ray.files.atomic import read_json, write_json
from serl_ray.rllib.checkpoint import checkpoints_of
from serl_ray.runs.log import LOGS, read_results
from serl_ray.runs.policy import load_policy
from serl_ray.utils.options import OptionError, Options, check_names

DEPARTURES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "bound": ({"max_return": 1.0}, {"max_return": None}),
    "critics": ({"critic_ensemble_size": 4}, {"critic_ensemble_size": 2}),
    "tau": ({"tau": 0.01}, {"tau": 0.005}),
    "batch": ({"batch_size": 128}, {"batch_size": 256}),
    "discount": ({"discount": None}, {"discount": 0.97}),
    "3-step": ({"n_step": 3}, {"n_step": 1}),
    "gain": ({"action_gain": None}, {"action_gain": 1.0}),
    "utd": ({"utd_ratio": 2}, {"utd_ratio": 1}),
}
"""Values by which the defaults differ from the original, each with the original's; None is for the discount that
follows from the demonstrations, and for the gain that follows from the sizes of latents and actions."""
METHODS: dict[str, dict[str, Any]] = {
    "default": {},
    "hil-serl": {"preset": "hil-serl"},
    **{f"hil-serl+{name}": {"preset": "hil-serl", **ours} for name, (ours, _) in DEPARTURES.items()},
    **{f"default-{name}": theirs for name, (_, theirs) in DEPARTURES.items()},
    "interventions": {"expert_interventions": 0.05},
    "5-step": {"n_step": 5},
    "cta1": {"cta_ratio": 1},
    "utd4": {"utd_ratio": 4},
    "redq": {"critic_ensemble_size": 10, "critic_subsample_size": 2},
    "redq-utd4": {"critic_ensemble_size": 10, "critic_subsample_size": 2, "cta_ratio": 4},
    "redq-utd8": {"critic_ensemble_size": 10, "critic_subsample_size": 2, "cta_ratio": 8},
    "success-demos": {"success_demos": True},
    "awac": {"objective": "awac"},
}
"""Methods by name: options of `serl train`. `hil-serl+tau` is the original with one of our departures from it,
`default-tau` the defaults without it."""
STEPS_PER_RESULT = 250
"""Greatest number of env steps between two results of a run."""
FINAL_SEED = 20_000
"""Seed of the episodes that are played at the end, which are others than those of the curve."""


@dataclass(frozen=True)
class LearningRun:
    """One training.

    Attributes:
        task: name among `STANDARD_TASKS`.
        method: name among `METHODS`.
        seed: seed of everything.
    """

    task: str
    method: str
    seed: int


class Learn(Options):
    """Trains every method on every task, and evaluates deterministic episodes without interventions."""

    save_dir: Path = Path("runs/learn")
    """Folder for demonstrations, runs, and a JSON file for each run, which grows with it. The same command goes on
    where it was interrupted."""
    tasks: tuple[str, ...] = ("peg", "pick-up", "pegs", "tray")
    """Tasks to train, of those that `serl benchmark tasks` lists."""
    methods: tuple[str, ...] = ("default",)
    """Methods to compare: default, hil-serl (the original's hyper-parameters), hil-serl+X and default-X (with and
    without a departure X: bound, critics, tau, batch, discount, 3-step, gain or utd), interventions (of the scripted
    expert), 5-step (returns), cta1 (every update is one of the actor, too), utd4 (learner steps per env step), redq (10
    critics, subsets of 2), redq-utd4 and redq-utd8 (as many critic updates for each of the actor's), success-demos,
    awac."""
    pixels: bool = False
    """Learn from cameras and proprioception; by default from state, the objects' included."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Seeds, with one run each."""
    demos: Annotated[int, Ge(0)] = 20
    """Scripted demonstrations of a run; 0 for what the agent reaches without."""
    max_steps: Annotated[int, Ge(1)] = 4000
    """Env steps of a run."""
    evaluate_every: Annotated[int, Ge(1)] = 500
    """Env steps between evaluations."""
    episodes: Annotated[int, Ge(1)] = 50
    """Episodes in each evaluation, and of others at the end."""
    num_workers: Annotated[int, Ge(0)] = 0
    """Number of rollout workers; above 0 another process evaluates. They help where there are cameras and a spare
    core."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """Options of `serl train`, on top of every method's, and their values: batch_size 32 augment_crops 0. They become a
    part of the methods' names."""

    def run(self) -> None:
        """Prints a table over seeds at last, and leaves it with the curves in `save_dir`."""
        write_report(self.outcomes(), self.save_dir)

    def outcomes(self) -> list[dict[str, Any]]:
        """The outcomes of all runs, of which those are made that are not in `save_dir`."""
        check_names(self.tasks, STANDARD_TASKS, "task")
        check_names(self.methods, METHODS, "method")
        self.save_dir.mkdir(parents=True, exist_ok=True)
        runs = [LearningRun(*parts) for parts in product(self.tasks, self.methods, self.seeds)]
        return [self._outcome(run) for run in tqdm(runs, unit="run")]

    def _outcome(self, run: LearningRun) -> dict[str, Any]:
        path, asked = self.save_dir / f"{self._name(run)}.json", self._asked(run)
        begun = read_json(path, "run") if path.exists() else None
        if begun is not None and begun["asked"] != asked:
            raise OptionError(
                f"{path} is the result of other options ({begun['asked']}, not {asked}): choose another save_dir."
            )
        if begun is None or begun["success"] is None:
            self._train(run, asked, path)
        return read_json(path, "run")

    def _asked(self, run: LearningRun) -> dict[str, Any]:
        """Options that a run's result depends on, as JSON has them."""
        options = {name: str(value) for name, value in (METHODS[run.method] | self.settings).items()}
        return {
            **{name: getattr(self, name) for name in ("pixels", "demos", "max_steps", "evaluate_every", "episodes")},
            **{"num_workers": self.num_workers, "options": options},
        }

    def _train(self, run: LearningRun, asked: dict[str, Any], path: Path) -> None:
        """Trains a run, from its checkpoint if there is one, and writes its outcome as it grows."""
        folder = self.save_dir / self._name(run)
        resume = ["--resume"] if folder.exists() else []
        about = {
            **vars(run),
            "method": self._label(run),
            "input": self._input,
            "demos": self.demos,
            "control_hz": STANDARD_TASKS[run.task].control_hz,
            "asked": asked,
            "machine": machine(),
        }

        def write(success: float | None = None, minutes: float | None = None) -> None:
            if checkpoints_of(folder):
                reached = {"success": success, "curve": success_curve(folder), "minutes": minutes}
                last = [{}, *read_results(folder / LOGS)][-1]  # the first checkpoint is there before any result
                reached["intervened_steps"] = last.get("buffer/interventions", 0)
                write_json(path, about | reached | {"options": trained_options(folder)})

        started = time.monotonic()
        run_serl("train", *self._flags(run), *resume, "--save_dir", str(folder), meanwhile=write)
        minutes = round((time.monotonic() - started) / 60, 1)
        agent, env = load_policy(folder)
        final = evaluate(deterministic(agent), env, episodes=self.episodes, seed=FINAL_SEED)
        write(final.success_rate, None if resume else minutes)  # those of a whole run

    def _flags(self, run: LearningRun) -> list[str]:
        options: dict[str, Any] = {
            "image_keys": list(STANDARD_TASKS[run.task].cameras) if self.pixels else [],
            "seed": run.seed,
            "max_steps": self.max_steps,
            "steps_per_iteration": min(self.evaluate_every, STEPS_PER_RESULT),
            "evaluate_every": self.evaluate_every,
            "evaluation_episodes": self.episodes,
            "evaluation_workers": min(self.num_workers, 1),
            "num_workers": self.num_workers,
            "demo_paths": [str(self._demonstrations(run))] if self.demos else [],
        }
        return [*_env_flags(run.task), *words(options | METHODS[run.method] | self.settings)]

    def _demonstrations(self, run: LearningRun) -> Path:
        """The demonstrations of a seed, which all methods share."""
        path = self.save_dir / f"{run.task}-{self._input}-demos{self.demos}-seed{run.seed}.pkl"
        if not path.exists():
            cameras = STANDARD_TASKS[run.task].cameras if self.pixels else ()
            flags = [*_env_flags(run.task), "--episodes", str(self.demos), "--seed", str(1000 * run.seed)]
            run_serl("record", *flags, "--output", str(path), "--image_keys", *cameras)
        return path

    def _name(self, run: LearningRun) -> str:
        return f"{run.task}-{self._input}-{self._label(run)}-demos{self.demos}-seed{run.seed}"

    def _label(self, run: LearningRun) -> str:
        """The method and the settings, such as default,trunk=efficientnet; of files the names alone."""
        values = {name: str(value).rpartition("/")[2] for name, value in self.settings.items()}
        return ",".join([run.method, *(f"{name}={value}" for name, value in values.items())])

    @property
    def _input(self) -> str:
        return "pixels" if self.pixels else "state"


def _env_flags(name: str) -> list[str]:
    task = STANDARD_TASKS[name]
    kwargs = [str(word) for pair in task.env_kwargs.items() for word in pair]
    return ["--env_name", task.env_name, "--setup_mode", task.setup_mode, "--env_kwargs", *kwargs]
