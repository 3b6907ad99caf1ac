"""A sweep's trials at Weights & Biases and MLflow, by Ray's logger callbacks."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune.logger import LoggerCallback
from ray.tune.result import TRAINING_ITERATION

from serl_ray.classifier.scores import CLASSIFIER_METRICS
from serl_ray.cluster.ray_private import wandb_logger
from serl_ray.rllib.metrics import METRICS
from serl_ray.runs.tracking import FINISH_SECONDS, RETRIES, Lane
from serl_ray.sweeps.config import STEPS, Sweep


@dataclass(frozen=True)
class TrackedTrial:
    """The part of a trial that logger callbacks read; its name is that of its folder."""

    trial_id: str
    config: dict[str, Any] = field(compare=False)
    local_path: str = field(compare=False)

    def __str__(self) -> str:
        return self.trial_id


class Tracked(tune.Callback):
    """Hands on to a logger callback, in a lane of its own, the trials' options and what is known of their results.

    Args:
        track: wandb:PROJECT or mlflow:URI.
        sweep: whose trials they are.
        output: folder of the sweep, whose name it has there.
    """

    def __init__(self, track: str, sweep: Sweep, output: Path) -> None:
        self._track, self._output = track, output.absolute()
        self._options, self._steps = sweep.options, STEPS.get(sweep.trains, TRAINING_ITERATION)
        self._metrics = CLASSIFIER_METRICS if sweep.trains == "classifier" else METRICS
        self._trials: dict[str, TrackedTrial] = {}

    def setup(self, **info: Any) -> None:
        kind, _, target = self._track.partition(":")
        self._lane = Lane(self._track, lambda: {"wandb": _wandb, "mlflow": _mlflow}[kind](target, self._output))

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        options = {name: value for name, value in trial.config.items() if name in self._options}
        new = TrackedTrial(trial.trial_id, options, trial.local_path)
        # PBT starts a trial again with other options, which MLflow would refuse.
        shown = self._trials.setdefault(trial.trial_id, new)
        self._lane.ask(lambda logger: logger.log_trial_start(shown))

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        shown = self._trials[trial.trial_id]
        known = {name: result[name] for name in self._metrics if not math.isnan(result.get(name, math.nan))}
        known[TRAINING_ITERATION] = int(result[self._steps])  # where the callbacks look for the place on the axis
        self._lane.ask(lambda logger: logger.log_trial_result(iteration, shown, known))

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._end(trial, failed=False)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._end(trial, failed=True)

    def on_experiment_end(self, trials: list[Any], **info: Any) -> None:
        self._lane.ask(lambda logger: logger.on_experiment_end(trials))
        self._lane.close(2 * FINISH_SECONDS)

    def _end(self, trial: Any, failed: bool) -> None:
        if shown := self._trials.get(trial.trial_id):
            self._lane.ask(lambda logger: logger.log_trial_end(shown, failed))


def _wandb(target: str, output: Path) -> LoggerCallback:
    entity, _, project = target.rpartition("/")
    logger: LoggerCallback = wandb_logger()(
        project,
        output.name,
        upload_timeout=FINISH_SECONDS,
        entity=entity or None,
        mode=os.environ.get("WANDB_MODE"),  # the processes that log may be older
        resume="allow",
        dir=str(output),
    )
    logger.setup()
    return logger


def _mlflow(target: str, output: Path) -> LoggerCallback:
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", RETRIES)
    import mlflow
    from ray.air.integrations.mlflow import MLflowLoggerCallback

    class Logger(MLflowLoggerCallback):
        """Finds the runs of a sweep that goes on, and sends a result as one."""

        def log_trial_start(self, trial: TrackedTrial) -> None:
            query = {
                "experiment_ids": [self.mlflow_util.experiment_id],
                "filter_string": f"tags.trial_name = '{trial}'",
            }
            found = mlflow.search_runs(**query, output_format="list")
            if found:
                self._trial_runs[trial] = found[0].info.run_id
            else:
                super().log_trial_start(trial)

        def log_trial_result(self, iteration: int, trial: TrackedTrial, result: dict[str, Any]) -> None:
            step = result.pop(TRAINING_ITERATION)
            mlflow.log_metrics(result, step=step, run_id=self._trial_runs[trial])

    logger = Logger(target, experiment_name=os.environ.get("MLFLOW_EXPERIMENT_NAME", output.name))
    logger.setup()
    return logger
