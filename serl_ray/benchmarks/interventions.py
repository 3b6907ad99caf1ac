"""The help of a person: env steps and interventions until a policy succeeds alone, against random help and none."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from matplotlib.figure import Figure
from pydantic import Field
from tqdm import tqdm

from serl_ray.benchmarks.commands import run_serl
from serl_ray.benchmarks.lockstep import LockstepSession, person_at
from serl_ray.benchmarks.person import STEP_SECONDS, AtRandom, OneArm, Person, Rule, Straying, never
from serl_ray.benchmarks.runs import measured
from serl_ray.benchmarks.timing import append_outcome
from serl_ray.options.presets import PRESETS
from serl_ray.options.sets import HybridRun
from serl_ray.rllib.algorithm import SERL
from serl_ray.runs.log import RESULTS
from serl_ray.runs.train import start_for
from serl_ray.teleop.held import operated
from serl_ray.utils.options import Options

Condition = Literal["person", "random", "none"]
CONDITIONS: tuple[Condition, ...] = get_args(Condition)
"""Conditions, in the order of the runs of a seed: the random one takes its share from the person's."""
TASKS = {"single-arm-learned-gripper": "pick-up", "single-arm-fixed-gripper": "peg"}
"""Tasks by set-up."""
CAMERA = "wrist"
"""Camera that the policy sees, beside proprioception."""
HORIZON = 40
"""Steps after which an episode is a failure; the expert needs 6 (peg) to 12 (pick-up)."""
GOAL = 0.9
"""Success without a person that ends a run when it is reached in two evaluations in a row."""
IN_A_ROW = 2

RunOutcome = dict[str, Any]


class Interventions(Options):
    """Trains from a camera and a few demonstrations, while the scripted expert helps as a person at the page's socket,
    interrupts at random, or only watches."""

    save_dir: Path = Path("runs/interventions")
    """Folder for demonstrations, results.jsonl and interventions.png. Runs that are in results.jsonl are not made
    anew."""
    setup_modes: tuple[OneArm, ...] = get_args(OneArm)
    """Set-ups to train, pick-up and peg."""
    conditions: tuple[Condition, ...] = CONDITIONS
    """Parts that the person takes; random needs person, whose share of the steps it takes over."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Seeds, with one run each of every set-up and condition."""
    demos: int = 5
    """Number of demonstrations."""
    noise: float = 0.15
    """Standard deviation of the noise on the person's motion, as a share of full scale."""
    max_steps: int = 2000
    """Env steps after which a run ends without success."""
    evaluate_every: int = 150
    """Env steps between evaluations."""
    episodes: int = 20
    """Deterministic episodes in each evaluation, in which nobody intervenes."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """Options of `serl train`, on top of the preset tabletop, and their values as YAML, such as objective sac."""

    def run(self) -> None:
        """Every run is a line of results.jsonl when it ends; at last all are a table and a plot."""
        self.save_dir.mkdir(parents=True, exist_ok=True)
        outcomes = read_outcomes(self.save_dir)
        runs = [*product(self.seeds, self.setup_modes, self.conditions)]
        for seed, mode, condition in tqdm(runs, unit="run"):
            if find_outcome(outcomes, mode, condition, seed) is None:
                outcome = self._outcome(mode, condition, seed, outcomes)
                append_outcome(outcome, self.flat(), self.save_dir)
                outcomes.append(outcome)
        print(intervention_table(outcomes))
        plot_conditions(outcomes, self.save_dir / "interventions.png")

    def _outcome(self, mode: OneArm, condition: Condition, seed: int, before: Sequence[RunOutcome]) -> RunOutcome:
        rule, options = self._rule(mode, condition, seed, before), self._options(mode, seed)
        start_for(options)
        started = time.monotonic()
        with measured(options, self.save_dir) as algorithm:
            assert isinstance(algorithm, SERL) and algorithm.hub is not None
            session = _put_in_lockstep(algorithm, mode)
            person = Person(rule, session.layout, self.noise, np.random.default_rng([seed, 1]))
            with person_at(algorithm.hub.page, "worker-0-0", session, person):
                points = _train_to_goal(algorithm, self.max_steps)
        about = {
            "holds": session.counts["holds"],
            "env": "tabletop",
            "setup_mode": mode,
            "condition": condition,
            "seed": seed,
            "demos": self.demos,
        }
        minutes = round((time.monotonic() - started) / 60, 1)
        return about | {"minutes": minutes, "points": points, "options": options.flat()}

    def _options(self, mode: OneArm, seed: int) -> HybridRun:
        values = {
            "setup_mode": mode,
            "image_keys": (CAMERA,),
            "demo_paths": (str(self._demonstrations(mode, seed)),),
            "objective": "awac",
            "batch_size": 64,
            "seed": seed,
            "max_steps": self.max_steps,
            "steps_per_iteration": self.evaluate_every,
            "evaluate_every": self.evaluate_every,
            "evaluation_episodes": self.episodes,
            "env_kwargs": {"max_steps": HORIZON},
            "record_video": False,
            "operated": True,
            "operator_port": 0,
        }
        return HybridRun.of(**(PRESETS["tabletop"] | values | self.settings))

    def _rule(self, mode: OneArm, condition: Condition, seed: int, before: Sequence[RunOutcome]) -> Rule:
        if condition == "person":
            return Straying()
        if condition == "none":
            return never
        person = find_outcome(before, mode, "person", seed)
        if person is None:
            raise ValueError(f"Seed {seed} of {mode} has no run with a person yet: add person to --conditions.")
        last = person["points"][-1]
        if not last["interventions"]:
            return never
        share, length = last["intervened"] / last["stored"], last["intervened"] / last["interventions"]
        return AtRandom(share, length, np.random.default_rng([seed, 2]))

    def _demonstrations(self, mode: OneArm, seed: int) -> Path:
        path = self.save_dir / f"{mode}-demos{self.demos}-seed{seed}.pkl"
        if not path.exists():
            flags = ["--setup_mode", mode, "--episodes", str(self.demos), "--seed", str(1000 * seed)]
            run_serl("record", *flags, "--output", str(path), "--image_keys", CAMERA)
        return path


def read_outcomes(folder: Path) -> list[RunOutcome]:
    """The runs that have ended, from a folder's results.jsonl."""
    file = folder / RESULTS
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def find_outcome(outcomes: Sequence[RunOutcome], setup_mode: str, condition: Condition, seed: int) -> RunOutcome | None:
    """The outcome of a run; None if it is not among them."""
    wanted = (setup_mode, condition, seed)
    return next((o for o in outcomes if (o["setup_mode"], o["condition"], o["seed"]) == wanted), None)


def _put_in_lockstep(algorithm: SERL, mode: OneArm) -> LockstepSession:
    """Gives the robot of a run, which nobody operates yet, a session in lock-step."""
    [robot] = algorithm.env_runner_group.local_env_runner.async_env.get_sub_environments()
    env = operated(robot)
    assert env is not None
    session = LockstepSession(env, mode)
    with env.changed:
        env.session, env.clock = session, session.clock
    return session


def _train_to_goal(algorithm: SERL, max_steps: int) -> list[dict[str, float]]:
    """Trains until the goal is reached or the steps are made, and returns a point of the curve for each evaluation."""
    points: list[dict[str, float]] = []
    while algorithm.steps < max_steps and first_at_goal(points) is None:
        result = algorithm.train()
        points.append(
            {
                "steps": algorithm.steps,
                "success": result["evaluation/success_rate"],
                "interventions": result["operator/interventions"],
                "intervened": result["buffer/interventions"],
                "stored": result["env/steps"],
                "training_success": result["env/success_rate"],
            }
        )
        tqdm.write(", ".join(f"{name} {value:g}" for name, value in points[-1].items()))
    return points


def first_at_goal(points: Sequence[Mapping[str, float]]) -> Mapping[str, float] | None:
    """The first of `IN_A_ROW` points that reach the goal; None where there are no such."""
    for index in range(len(points) - IN_A_ROW + 1):
        if all(point["success"] >= GOAL for point in points[index : index + IN_A_ROW]):
            return points[index]
    return None


def intervention_table(outcomes: Sequence[RunOutcome]) -> str:
    """A row for each task and condition, with medians, and from least to greatest, over the seeds that have ended."""
    head = ("task", "person", "seeds", "env steps to 0.9 alone", "interventions until then", "seconds until then")
    lines = [f"\n| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for mode, condition in product(TASKS, CONDITIONS):
        some = [o for o in outcomes if (o["setup_mode"], o["condition"]) == (mode, condition)]
        if some:
            cells = (
                TASKS[mode],
                condition,
                str(len(some)),
                *(_spread(some, key) for key in ("steps", "interventions")),
            )
            lines.append(f"| {' | '.join((*cells, _spread(some, 'intervened', STEP_SECONDS)))} |")
    return "\n".join(lines)


def _spread(outcomes: Sequence[RunOutcome], key: str, unit: float = 1.0) -> str:
    """The median, and from least to greatest; a run that has not reached the goal counts as more than its last."""
    values = []
    for outcome in outcomes:
        point = first_at_goal(outcome["points"])
        number = (point or outcome["points"][-1])[key] * unit
        values.append((point is None and number > 0, number))
    values.sort()
    lower, upper = values[(len(values) - 1) // 2], values[len(values) // 2]
    middle = _counted(upper[0], (lower[1] + upper[1]) / 2)
    return middle if values[0] == values[-1] else f"{middle} ({_counted(*values[0])} to {_counted(*values[-1])})"


def _counted(is_more: bool, number: float) -> str:
    return f"{'> ' if is_more else ''}{number:,.0f}"


def plot_conditions(outcomes: Sequence[RunOutcome], path: Path) -> None:
    """Success without a person over env steps, a panel for each task, a line for each run, a colour for each condition,
    as a PNG."""
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    panels = figure.subplots(1, len(TASKS), sharey=True)
    for axes, (mode, task) in zip(panels, TASKS.items(), strict=True):
        for colour, condition in enumerate(CONDITIONS):
            some = [o for o in outcomes if (o["setup_mode"], o["condition"]) == (mode, condition)]
            for index, outcome in enumerate(some):
                steps, rates = zip(*((p["steps"], p["success"]) for p in outcome["points"]), strict=True)
                axes.plot(steps, rates, f"C{colour}", marker="o", alpha=0.7, label=None if index else condition)
        axes.axhline(GOAL, color="grey", linestyle=":")
        axes.set(title=task, xlabel="env steps", xlim=(0, None), ylim=(-0.03, 1.03))
        axes.grid(alpha=0.3)
        if axes.lines[1:]:
            axes.legend()
    panels[0].set_ylabel("success without a person")
    figure.savefig(path, dpi=110)
