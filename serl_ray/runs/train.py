"""One training run, from settings to a checkpoint, a learning curve and a video."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import gymnasium
import torch

from serl_ray.agents.checkpoint import load_any_agent
from serl_ray.agents.sac import SACAgent
from serl_ray.cluster import start
from serl_ray.envs.make import make_env
from serl_ray.evaluation.held_out import judge
from serl_ray.option_types import check_least, check_types
from serl_ray.rllib import SERL, OfflineConfig, OfflineSERL, SERLConfig
from serl_ray.rllib.checkpoint import AGENT_DIR, REPLAY_DIR, checked_env, checkpoint_of, read_run
from serl_ray.rllib.failures import WorkerError
from serl_ray.runs.folder import RunFolder
from serl_ray.runs.log import LOGS, RunLog, read_results
from serl_ray.runs.mirror import Mirror, local_run
from serl_ray.runs.plots import plot_learning_curve, plot_value_curves
from serl_ray.runs.progress import Progress, say
from serl_ray.runs.tracking import TrackedRun, Trackers, check_tracks
from serl_ray.settings import HybridSettings, OfflineSettings, TrainingSettings, names_of

T = TypeVar("T")
CURVE = "learning_curve.png"
VALUES = "values.png"
FAULTY_SHARE = 0.05
"""Share of values above what can be earned at which somebody is told."""


@dataclass
class RunOptions:
    """What concerns the run and not what it learns."""

    at_least: ClassVar[dict[str, float]] = {"seed": 0, "evaluation_workers": 0, "checkpoint_every": 1, "keep": 1}

    save_dir: Path = Path("run")
    """Folder for checkpoint, logs, pictures and video."""
    seed: int = 0
    """Of the initial weights, the exploration, the envs and the batches."""
    evaluation_workers: int = 0
    """Processes that share the episodes of an evaluation, which then does not stop training."""
    checkpoint_every: int = 1000
    """Steps between checkpoints; there is always one at the start and one at the end."""
    keep: int = 2
    """The newest checkpoints that are kept; beside them the one stays whose evaluation had most success."""
    mirror: str | None = None
    """URI where checkpoints and experience are copied to as well, such as s3://bucket/run; `resume` fetches them from there where
    save_dir has none."""
    resume: bool = False
    """Go on from the newest checkpoint in save_dir, and with all the experience that was stored after it."""
    record_video: bool = True
    """Whether the first episode of every evaluation is kept, as SAVE_DIR/videos/STEP.mp4, and shown where results are."""
    track: tuple[str, ...] = ()
    """Where results go beside TensorBoard's folder: wandb:PROJECT, wandb:TEAM/PROJECT, mlflow:URI of a server or data base."""

    def check(self) -> None:
        """Raises ValueError with the option, the value, the limit and the mend."""
        check_types(self)
        check_least(self, self.at_least)
        check_tracks(self.track)


@dataclass
class HybridRunOptions(RunOptions):
    """With an env to step."""

    at_least = RunOptions.at_least | {"num_workers": 0, "envs_per_worker": 1}

    save_dir: Path = Path("hybrid_ckpt")
    num_workers: int = 0
    """Remote rollout workers; 0 steps the env in this process, and runs of one seed are then equal."""
    env_runner_resources: dict[str, float] = field(default_factory=dict)
    """What a node must have for a rollout worker: `robot 1`, where it has joined by `ray start --resources '{"robot": 1}'`."""
    envs_per_worker: int = 1
    """Envs that a rollout worker steps one after the other; their frames and actions are one batch of the networks."""


def train(settings: TrainingSettings, run: RunOptions) -> dict[str, Any] | None:
    """Trains until `max_steps` and returns the last result, an evaluation among it; None where it was interrupted, and saved.

    Raises:
        WorkerError: rollout workers cannot go on; the run is saved.
        LearnerError: the learner's numbers are no numbers any more; the checkpoints are from before.
        RuntimeError: a tracker cannot be set up; nothing has been trained.
    """
    settings.check()
    run.check()
    folder = RunFolder(run.save_dir, run.keep, Mirror(run.mirror) if run.mirror else None)
    with folder.held():
        return _train_in(folder, settings, run)


def _train_in(folder: RunFolder, settings: TrainingSettings, run: RunOptions) -> dict[str, Any] | None:
    folder.check(run.resume)
    if isinstance(settings, HybridSettings) and settings.init_from:
        settings = replace(settings, init_from=str(local_run(settings.init_from)))
    _say_what_disturbs(settings, run)
    start_ray(settings, run)
    with _log_of(settings, run) as log:
        algorithm = build(settings, run)
        try:
            if result := _run_to_the_end(algorithm, log, folder, run):
                _append(log, algorithm, result)
                _draw(algorithm, run.save_dir)
        finally:
            algorithm.stop()
    return result


def _say_what_disturbs(settings: TrainingSettings, run: RunOptions) -> None:
    """An env that is held to a rate is not held up by anything but what its own process has to do."""
    if not isinstance(run, HybridRunOptions) or settings.control_hz is None:
        return
    rate = f"{settings.control_hz:g} steps a second cannot be held"
    if not run.num_workers:
        say(f"{rate} where the learner's steps come between the env's: give the env a process of its own by --num_workers 1.")
    elif settings.evaluate_every and not run.evaluation_workers:
        say(f"{rate} while the learner's process evaluates: give it --evaluation_workers 1, or --evaluate_every 0.")


@contextmanager
def _log_of(settings: TrainingSettings, run: RunOptions) -> Iterator[RunLog]:
    """The log of a run, which in the end is finished or has failed, as its trackers are told."""
    options = {name: value for name, value in {**vars(run), **vars(settings)}.items() if name != "track"}
    trackers = Trackers(run.track, TrackedRun(run.save_dir, options, run.resume)) if run.track else None
    log = RunLog(run.save_dir / LOGS, trackers)
    try:
        yield log
    except BaseException:
        log.close(failed=True)
        raise
    log.close()


def _run_to_the_end(algorithm: SERL, log: RunLog, folder: RunFolder, run: RunOptions) -> dict[str, Any] | None:
    """An evaluation of the policy that has been trained, and saved; None where the run was interrupted."""
    with _stop_on_interrupt(algorithm):
        _begin(algorithm, log, folder, run)
        try:
            _loop(algorithm, log, folder, run)
            if algorithm.should_stop:  # there may be no time for what is under way
                folder.save(algorithm)
            if isinstance(algorithm.settings, HybridSettings):
                algorithm.wait_for_requests()
        except WorkerError:
            folder.save(algorithm)
            raise
        folder.save(algorithm)
        result = algorithm.evaluate_now() if not algorithm.should_stop else {}
        return None if algorithm.should_stop else result


def _begin(algorithm: SERL, log: RunLog, folder: RunFolder, run: RunOptions) -> None:
    """Goes on from the newest checkpoint and what was stored after it, or makes the first, to which a lost run can go back."""
    if run.resume:
        algorithm.load_checkpoint(str(checkpoint_of(run.save_dir)))
        if recovered := algorithm.recover():
            say(f"{recovered} env steps that were made after the last checkpoint are not lost: the learner makes up for them.")
        return
    folder.save(algorithm)
    if getattr(algorithm.settings, "init_from", None) and algorithm.settings.evaluate_every:
        _append(log, algorithm, algorithm.evaluate_now())


def _append(log: RunLog, algorithm: SERL, result: dict[str, Any]) -> None:
    log.append(result, algorithm.steps)
    if video := algorithm.evaluator.take_video():
        at_step, mp4 = video
        log.append_video(mp4, at_step, algorithm.steps)


def start_ray(settings: TrainingSettings, run: RunOptions) -> None:
    """Ray with room for every worker; where it starts here, the learner leaves a core to each that acts."""
    num_workers = run.num_workers if isinstance(run, HybridRunOptions) else 0
    memory_gb = settings.memory_gb if isinstance(settings, OfflineSettings) else None
    if start.start_ray(num_workers + run.evaluation_workers, memory_gb):
        cores = os.cpu_count() or 1
        torch.set_num_threads(max(min(torch.get_num_threads(), cores - num_workers), 1))


def build(settings: TrainingSettings, run: RunOptions) -> SERL:
    """The algorithm, not yet restored."""
    config = OfflineConfig() if isinstance(settings, OfflineSettings) else SERLConfig()
    if isinstance(run, HybridRunOptions):
        config.env_runners(
            num_env_runners=run.num_workers,
            num_envs_per_env_runner=run.envs_per_worker,
            custom_resources_per_env_runner=run.env_runner_resources,
        )
    config.training(**vars(settings)).evaluation(evaluation_num_env_runners=run.evaluation_workers)
    return config.debugging(seed=run.seed).keep_replay(run.save_dir / REPLAY_DIR).film(run.record_video).build_algo()


def load_policy(save_dir: Path, **overrides: Any) -> tuple[SACAgent, gymnasium.Env]:
    """The agent of a run's checkpoint, on the CPU, and an env like the one it was trained in.

    Args:
        save_dir: of the run, or the checkpoint in it.
        overrides: settings in which the env differs. A checkpoint may be anybody's: an env of somebody's own, whose code would
            run, must be named here.

    Raises:
        ValueError: no env is named that may be made.
    """
    path = checkpoint_of(save_dir)
    saved = read_run(path)["settings"]
    overrides = overrides | {"env_name": checked_env(path, saved, overrides.get("env_name"))}
    settings = TrainingSettings(**{name: saved[name] for name in names_of(TrainingSettings) if name in saved} | overrides)
    settings.check()
    if settings.env_name is None:
        raise ValueError(f"{save_dir} was trained without an env. Name one to play its policy in: --env_name tabletop.")
    return load_any_agent(path / AGENT_DIR, "cpu"), make_env(**settings.env_config())


def options_of(args: Any, options: type[T]) -> T:
    """The options of one class among those of an object that has more."""
    return options(**{field.name: getattr(args, field.name) for field in fields(options)})


def _loop(algorithm: SERL, log: RunLog, folder: RunFolder, run: RunOptions) -> None:
    settings = algorithm.settings
    is_told = settings.max_return is None
    with Progress(settings.max_steps, algorithm.steps) as progress:
        while algorithm.steps < settings.max_steps and not algorithm.should_stop:
            before = algorithm.steps
            result = algorithm.train()
            _append(log, algorithm, result)
            progress.show(algorithm.steps, result)
            if not is_told and (is_told := result["critic/q_over_bound"] > FAULTY_SHARE):
                say(f"{result['critic/q_over_bound']:.0%} of the values are above {settings.max_return}, which none can be.")
            if algorithm.steps // run.checkpoint_every > before // run.checkpoint_every:
                folder.try_to_save(algorithm)


def _draw(algorithm: SERL, save_dir: Path) -> None:
    offline = isinstance(algorithm, OfflineSERL)
    plot_learning_curve(read_results(save_dir / LOGS), save_dir / CURVE, "learner/steps" if offline else "env/steps")
    if offline and algorithm.data.held_out:
        judgement = judge(algorithm.agent, algorithm.data.held_out, algorithm.settings.discount)
        plot_value_curves(judgement.curves, save_dir / VALUES)


@contextmanager
def _stop_on_interrupt(algorithm: SERL) -> Iterator[None]:
    """Ctrl-C and SIGTERM end the run after the env step that is under way; a second one ends it at once."""

    def stop(signum: int, frame: Any) -> None:
        if algorithm.should_stop:
            raise KeyboardInterrupt
        algorithm.should_stop = True
        say("Stopping: saving the run. Once more to leave at once.")

    previous = {signum: signal.signal(signum, stop) for signum in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for signum, handler in previous.items():
            signal.signal(signum, handler)
