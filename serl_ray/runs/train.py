"""One training run, from options to checkpoints, a learning curve and a result."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Any

from serl_ray.agents.arithmetic import described_arithmetic
from serl_ray.cluster.start import start_ray
from serl_ray.data.rewards import RewardError
from serl_ray.networks.pretrained import warn_if_random
from serl_ray.options.sets import HybridRun, OfflineRun
from serl_ray.rllib import SERL, OfflineConfig, SERLConfig
from serl_ray.rllib.base import TrainingAlgorithm
from serl_ray.rllib.checkpoint import REPLAY_DIR, checkpoint_of, read_run
from serl_ray.rllib.discount import find_discount, saved_discount
from serl_ray.rllib.failures import WorkerError
from serl_ray.runs.folder import RunFolder, choose_checkpoint
from serl_ray.runs.log import LOGS, RunLog, read_results
from serl_ray.runs.mirror import Mirror, local_run
from serl_ray.runs.progress import Progress, say
from serl_ray.runs.start_check import check_start
from serl_ray.runs.tracking import TrackedRun, Trackers, check_tracks
from serl_ray.runs.warnings import RunWarnings, doubts
from serl_ray.utils.device import device_named
from serl_ray.utils.options import names_of

CURVE = "learning_curve.png"
VALUES = "values.png"


def train(options: HybridRun | OfflineRun, interrupted: Event | None = None) -> dict[str, Any] | None:
    """Trains until `max_steps`.

    Args:
        options: the training, its folder and its processes.
        interrupted: ends the run early, and saves it, once it is set; signal handlers are the caller's.

    Returns:
        The last result, with an evaluation in it; None where the run was interrupted, and saved.

    Raises:
        WorkerError: rollout workers cannot go on; the run is saved.
        RewardError: a reward contradicts `max_return`; the run is saved.
        LearnerError: the learner's numbers became NaN or infinite; the checkpoints are from before.
        SetupError: a tracker cannot be set up; nothing has been trained.
    """
    check_tracks(options.run.track)
    device_named(options.run.device)
    mirror = Mirror(options.run.mirror) if options.run.mirror else None
    folder = RunFolder(options.run.save_dir, options.run.keep, mirror)
    with folder.held():
        folder.check(options.run.resume)
        options = _with_start(options)
        check_start(options)
        options = _with_discount(options)
        for sentence in doubts(options):
            say(sentence)
        if options.env.image_keys:
            warn_if_random(options.agent.networks.encoder.trunk)
        start_for(options)
        return _train_in(folder, options, interrupted or Event())


def start_for(options: HybridRun | OfflineRun) -> bool:
    """Starts or joins Ray with room for every worker; see `start_ray`."""
    memory_gb = options.demos.memory_gb if isinstance(options, OfflineRun) else None
    return start_ray(_num_workers(options) + options.evaluating.evaluation_workers, memory_gb)


def build(options: HybridRun | OfflineRun) -> TrainingAlgorithm:
    """The algorithm of a run, not yet restored."""
    config = OfflineConfig() if isinstance(options, OfflineRun) else SERLConfig()
    if isinstance(options, HybridRun):
        config.env_runners(
            num_env_runners=options.processes.num_workers,
            num_envs_per_env_runner=options.processes.envs_per_worker,
            custom_resources_per_env_runner=options.processes.env_runner_resources,
        )
    names = names_of(config.options_class)
    config.training(**{name: value for name, value in options.flat().items() if name in names})
    config.evaluation(evaluation_num_env_runners=options.evaluating.evaluation_workers)
    config.debugging(seed=options.run.seed).learn_on(options.run.device).keep_replay(options.run.save_dir / REPLAY_DIR)
    algorithm: Any = config.record_video(options.evaluating.record_video).build_algo()
    return algorithm


def _train_in(folder: RunFolder, options: HybridRun | OfflineRun, interrupted: Event) -> dict[str, Any] | None:
    with _log_of(options) as log:
        algorithm = build(options)
        algorithm.stop_at(interrupted)
        if isinstance(algorithm, SERL) and algorithm.hub:
            from serl_ray.teleop.server import how_to_reach  # aiohttp, which takes long to import

            say(how_to_reach(algorithm.hub.page, algorithm.hub.port, for_devices=algorithm.hub.for_devices))
        try:
            result = _run_to_the_end(algorithm, log, folder, options)
            if result:
                _append(log, algorithm, result)
            _draw(algorithm, options.run.save_dir)
        finally:
            algorithm.stop()
    return result


def _with_start(options: HybridRun | OfflineRun) -> HybridRun | OfflineRun:
    """The same options with `init_from` as a checkpoint on this machine.

    A resumed run has taken over the policy that it began with: it starts from its own, and the other may be gone.
    """
    if not isinstance(options, HybridRun):
        return options
    if options.run.resume:
        return _resumed(options, checkpoint_of(options.run.save_dir))
    if not options.schedule.init_from:
        return options
    path, _ = choose_checkpoint(local_run(options.schedule.init_from))
    say(f"Starting from the policy in {path}.")
    return options.replace(init_from=str(path))


def _resumed(options: HybridRun, newest: Path) -> HybridRun:
    began_with = read_run(newest)["options"].get("init_from")
    if options.schedule.init_from and not began_with:
        raise ValueError(
            f"init_from is {options.schedule.init_from!r}, and the run in {options.run.save_dir} did not begin with "
            "another run's policy. Leave it out to go on, or choose another --save_dir."
        )
    return options.replace(init_from=str(newest)) if began_with else options


def _with_discount(options: HybridRun | OfflineRun) -> HybridRun | OfflineRun:
    """The same options with a discount, after a sentence that says why it is this one.

    A resumed run goes on with its own, whatever has become of the demonstrations.
    """
    if options.agent.discount is not None:
        say(f"The discount is {options.agent.discount:g}, as given.")
        return options
    if options.run.resume and (begun := saved_discount(options.run.save_dir)) is not None:
        say(f"The discount is {begun:g}, with which the run began.")
        return options.replace(discount=begun)
    found = find_discount(options)
    say(found.reason)
    return options.replace(discount=found.value)


def _num_workers(options: HybridRun | OfflineRun) -> int:
    return options.processes.num_workers if isinstance(options, HybridRun) else 0


@contextmanager
def _log_of(options: HybridRun | OfflineRun) -> Iterator[RunLog]:
    """The log of a run; trackers are told in the end whether the run failed."""
    run = options.run
    described = {name: value for name, value in options.flat().items() if name != "track"}
    trackers = Trackers(run.track, TrackedRun(run.save_dir, described, run.resume)) if run.track else None
    log = RunLog(run.save_dir / LOGS, trackers)
    try:
        yield log
    except BaseException:
        log.close(failed=True)
        raise
    log.close()


def _run_to_the_end(
    algorithm: TrainingAlgorithm, log: RunLog, folder: RunFolder, options: HybridRun | OfflineRun
) -> dict[str, Any] | None:
    """Trains, saves, and evaluates the trained policy; returns None where the run was interrupted."""
    _begin(algorithm, log, folder, options)
    say(described_arithmetic(algorithm.agent.config))
    try:
        _loop(algorithm, log, folder, options)
        if algorithm.should_stop:  # there may be no time to wait for what workers still bring
            folder.save(algorithm)
        algorithm.wait_for_requests()
    except (WorkerError, RewardError):
        folder.save(algorithm)
        raise
    folder.save(algorithm)
    result = algorithm.evaluate_now() if not algorithm.should_stop else {}
    return None if algorithm.should_stop else result


def _begin(algorithm: TrainingAlgorithm, log: RunLog, folder: RunFolder, options: HybridRun | OfflineRun) -> None:
    """Goes on from the newest checkpoint and what was stored after it, or writes the first checkpoint."""
    if options.run.resume:
        algorithm.load_checkpoint(str(checkpoint_of(options.run.save_dir)))
        if recovered := algorithm.recover():
            say(f"{recovered} env steps after the last checkpoint were recovered: the learner makes up for them.")
        return
    folder.save(algorithm)
    if isinstance(options, HybridRun) and options.schedule.init_from and options.evaluation.evaluate_every:
        _append(log, algorithm, algorithm.evaluate_now())


def _loop(algorithm: TrainingAlgorithm, log: RunLog, folder: RunFolder, options: HybridRun | OfflineRun) -> None:
    max_steps, every, warnings = options.schedule.max_steps, options.run.checkpoint_every, RunWarnings(options)
    with Progress(max_steps, algorithm.steps) as progress:
        while algorithm.steps < max_steps and not algorithm.should_stop:
            before = algorithm.steps
            result = algorithm.train()
            _append(log, algorithm, result)
            progress.show(algorithm.steps, result)
            for warning in warnings.of(result):
                say(warning)
            if algorithm.steps // every > before // every:
                folder.try_to_save(algorithm)


def _append(log: RunLog, algorithm: TrainingAlgorithm, result: dict[str, Any]) -> None:
    log.append(result, algorithm.steps)
    if video := algorithm.evaluator.take_video():
        at_step, mp4 = video
        log.append_video(mp4, at_step, algorithm.steps)


def _draw(algorithm: TrainingAlgorithm, save_dir: Path) -> None:
    """The learning curve and, of a run that came to its end, the values on held-out episodes."""
    from serl_ray.runs.plots import plot_learning_curve, plot_value_curves  # whose library is not needed until now

    bound = algorithm.options.agent.max_return
    plot_learning_curve(read_results(save_dir / LOGS), save_dir / CURVE, algorithm.steps_metric, bound)
    if not algorithm.should_stop and (curves := algorithm.value_curves()):
        plot_value_curves(curves, save_dir / VALUES)
