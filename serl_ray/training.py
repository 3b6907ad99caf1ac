"""One training run, from settings to a checkpoint, a learning curve and a video."""

from __future__ import annotations

import math
import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

import gymnasium
import torch
from tqdm import tqdm

from serl_ray import cluster
from serl_ray.agents.checkpoint import load_any_agent
from serl_ray.agents.sac import SACAgent
from serl_ray.envs.make import make_env
from serl_ray.held_out import judge
from serl_ray.plots import plot_learning_curve, plot_value_curves
from serl_ray.rllib import SERL, OfflineConfig, OfflineSERL, SERLConfig
from serl_ray.rllib.checkpoint import AGENT_DIR, CHECKPOINT, checkpoint_of, read_run
from serl_ray.run_log import RunLog, read_results
from serl_ray.settings import HybridSettings, OfflineSettings, TrainingSettings, names_of

T = TypeVar("T")
LOGS = "logs"
CURVE = "learning_curve.png"
VALUES = "values.png"
FAULTY_SHARE = 0.05
"""Share of values above what can be earned at which somebody is told."""


@dataclass
class RunOptions:
    """What concerns the run and not what it learns."""

    save_dir: Path = Path("run")
    """Folder for checkpoint, logs, pictures and video."""
    seed: int = 0
    """Of the initial weights, the exploration, the envs and the batches."""
    evaluation_worker: bool = False
    """Whether evaluation has a process of its own, and so does not stop training."""
    checkpoint_every: int = 5000
    """Steps between checkpoints; there is always one at the end."""
    resume: bool = False
    """Go on from the checkpoint in save_dir."""


@dataclass
class HybridRunOptions(RunOptions):
    """With an env to step."""

    save_dir: Path = Path("hybrid_ckpt")
    num_workers: int = 0
    """Remote rollout workers; 0 steps the env in this process, and runs of one seed are then equal."""
    envs_per_worker: int = 1
    """Envs that a rollout worker steps one after the other; their frames and actions are one batch of the networks."""


def train(settings: TrainingSettings, run: RunOptions) -> dict[str, Any] | None:
    """Trains until `max_steps` and returns the last result, an evaluation among it; None where it was interrupted, and saved."""
    settings.check()
    check_save_dir(run)
    start_ray(settings, run)
    algorithm, log = build(settings, run), RunLog(run.save_dir / LOGS)
    try:
        if run.resume:
            algorithm.load_checkpoint(str(run.save_dir / CHECKPOINT))
        elif isinstance(settings, HybridSettings) and settings.init_from and settings.evaluate_every:
            log.append(algorithm.evaluate_now(), algorithm.steps)
        with _stop_on_interrupt(algorithm):
            _loop(algorithm, log, settings, run)
        save(algorithm, run.save_dir)
        if algorithm.should_stop:
            return None
        result = algorithm.evaluate_now()
        log.append(result, algorithm.steps)
        _draw(algorithm, run.save_dir)
    finally:
        algorithm.stop()
        log.close()
    return result


def check_save_dir(run: RunOptions) -> None:
    """Neither overwrites a run nor resumes one that is not there."""
    exists = (run.save_dir / CHECKPOINT).exists()
    if run.resume and not exists:
        raise FileNotFoundError(f"There is no checkpoint in {run.save_dir} to resume. Check --save_dir, or leave --resume out.")
    if exists and not run.resume:
        raise FileExistsError(f"{run.save_dir} holds a run already. Choose another --save_dir, or go on with it by --resume.")


def start_ray(settings: TrainingSettings, run: RunOptions) -> None:
    """Ray with room for every worker; where it starts here, the learner leaves a core to each that acts."""
    num_workers = run.num_workers if isinstance(run, HybridRunOptions) else 0
    memory_gb = settings.memory_gb if isinstance(settings, OfflineSettings) else None
    if cluster.start_ray(num_workers + run.evaluation_worker, memory_gb):
        cores = os.cpu_count() or 1
        torch.set_num_threads(max(min(torch.get_num_threads(), cores - num_workers), 1))


def build(settings: TrainingSettings, run: RunOptions) -> SERL:
    """The algorithm, not yet restored."""
    config = OfflineConfig() if isinstance(settings, OfflineSettings) else SERLConfig()
    if isinstance(run, HybridRunOptions):
        config.env_runners(num_env_runners=run.num_workers, num_envs_per_env_runner=run.envs_per_worker)
    config.training(**vars(settings)).evaluation(evaluation_num_env_runners=int(run.evaluation_worker))
    return config.debugging(seed=run.seed).build_algo()


def load_policy(save_dir: Path, **overrides: Any) -> tuple[SACAgent, gymnasium.Env]:
    """The agent of a run's checkpoint, on the CPU, and an env like the one it was trained in.

    Args:
        save_dir: of the run, or the checkpoint in it.
        overrides: settings in which the env differs.
    """
    path = checkpoint_of(save_dir)
    saved = read_run(path)["settings"]
    settings = TrainingSettings(**{name: saved[name] for name in names_of(TrainingSettings) if name in saved} | overrides)
    if settings.env_name is None:
        raise ValueError(f"{save_dir} was trained without an env. Name one to play its policy in: --env_name tabletop.")
    return load_any_agent(path / AGENT_DIR, "cpu"), make_env(**settings.env_config())


def options_of(args: Any, options: type[T]) -> T:
    """The options of one class among those of an object that has more."""
    return options(**{field.name: getattr(args, field.name) for field in fields(options)})


def save(algorithm: SERL, save_dir: Path) -> None:
    """Writes a checkpoint beside the old one, and then puts it in its place."""
    new, current = save_dir / f"{CHECKPOINT}.new", save_dir / CHECKPOINT
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    algorithm.save_checkpoint(str(new))
    shutil.rmtree(current, ignore_errors=True)
    new.rename(current)


def _loop(algorithm: SERL, log: RunLog, settings: TrainingSettings, run: RunOptions) -> None:
    is_told = settings.max_return is None
    with tqdm(total=settings.max_steps, initial=algorithm.steps, unit="step", dynamic_ncols=True) as bar:
        while algorithm.steps < settings.max_steps and not algorithm.should_stop:
            before = algorithm.steps
            result = algorithm.train()
            log.append(result, algorithm.steps)
            bar.update(algorithm.steps - before)
            bar.set_postfix_str(_summary(result))
            if not is_told and (is_told := result["critic/q_over_bound"] > FAULTY_SHARE):
                tqdm.write(
                    f"{result['critic/q_over_bound']:.0%} of the values are above {settings.max_return}, which none can be."
                )
            if algorithm.steps // run.checkpoint_every > before // run.checkpoint_every:
                save(algorithm, run.save_dir)


def _draw(algorithm: SERL, save_dir: Path) -> None:
    offline = isinstance(algorithm, OfflineSERL)
    plot_learning_curve(read_results(save_dir / LOGS), save_dir / CURVE, "learner/steps" if offline else "env/steps")
    if offline and algorithm.data.held_out:
        judgement = judge(algorithm.agent, algorithm.data.held_out, algorithm.settings.discount)
        plot_value_curves(judgement.curves, save_dir / VALUES)


def _summary(result: dict[str, Any]) -> str:
    shown = {
        "success": result["env/success_rate"],
        "eval": result["evaluation/success_rate"],
        "q": result["critic/q_mean"],
        "entropy": result["actor/entropy"],
        "interventions": result["env/intervention_rate"],
        "action error": result["held_out/action_error"],
    }
    return " ".join(f"{name} {value:.2f}" for name, value in shown.items() if not math.isnan(value))


@contextmanager
def _stop_on_interrupt(algorithm: SERL) -> Iterator[None]:
    """Ctrl-C and SIGTERM end the run after the env step that is under way; a second one ends it at once."""

    def stop(signum: int, frame: Any) -> None:
        if algorithm.should_stop:
            raise KeyboardInterrupt
        algorithm.should_stop = True
        tqdm.write("Stopping: saving the run. Once more to leave at once.")

    previous = {signum: signal.signal(signum, stop) for signum in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for signum, handler in previous.items():
            signal.signal(signum, handler)
