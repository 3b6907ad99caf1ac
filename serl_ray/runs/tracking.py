"""A run's results and videos at Weights & Biases and MLflow, through Ray's integrations of them."""

from __future__ import annotations

import importlib.util
import logging
import os
import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from types import ModuleType
from typing import Any, Generic, TypeVar

from serl_ray.files.atomic import read_json, write_json
from serl_ray.utils.errors import SetupError

T = TypeVar("T")
logger = logging.getLogger(__name__)

EXAMPLES = {
    "wandb": "wandb:PROJECT or wandb:TEAM/PROJECT",
    "mlflow": "mlflow:http://HOST:5000 or mlflow:sqlite:///mlflow.db",
}
TARGETS = {"wandb": r"([^/\\#?%:]+/)?[^/\\#?%:]{1,128}", "mlflow": r"[\w+]+://.+|databricks"}
TRACKS = "tracks.json"
"""File in the folder of a run with its name at each tracker, for when it is resumed."""
EXPERIMENT = "serl_ray"
"""MLflow's experiment, unless `MLFLOW_EXPERIMENT_NAME` names another."""
FINISH_SECONDS = 60.0
"""Seconds to wait at exit for unsent data."""
RETRIES = "3"
"""Retries of a request before MLflow's server counts as gone; by default it tries for minutes."""


def check_tracks(tracks: Sequence[str]) -> None:
    """Raises ValueError for what is not such as wandb:PROJECT or mlflow:URI, or not installed."""
    kinds = [track.partition(":")[0] for track in tracks]
    for track, kind in zip(tracks, kinds, strict=True):
        if kind not in EXAMPLES:
            raise ValueError(f"track is {track!r}; it must be {' or '.join(EXAMPLES.values())}.")
        if not re.fullmatch(TARGETS[kind], track.partition(":")[2]):
            raise ValueError(f"track is {track!r}; it must be {EXAMPLES[kind]}.")
        if kinds.count(kind) > 1:
            raise ValueError(
                f"track names {kind} {kinds.count(kind)} times; it must name it once: leave the others out."
            )
        if importlib.util.find_spec(kind) is None:
            raise ValueError(f"track is {track!r}, and {kind} is not installed: pip install -e .[{kind}]")


class Lane(Generic[T]):
    """A tracker in a thread of its own, where it is asked one thing after the other: no server holds up what goes on
    here.

    What fails there is said when it begins, and when it is over.

    Args:
        name: the tracker's name.
        begin: makes it; what it raises is raised here.
    """

    def __init__(self, name: str, begin: Callable[[], T]) -> None:
        self._name, self._fails = name, False
        self._tasks: SimpleQueue[Callable[[T], None] | None] = SimpleQueue()
        begun: Future[T] = Future()
        self._thread = Thread(target=self._work, args=(begin, begun), daemon=True, name=name)
        self._thread.start()
        try:
            begun.result()
        except Exception as error:
            raise SetupError(f"track is {name!r}, which cannot be set up: {error}") from error

    def ask(self, task: Callable[[T], None]) -> None:
        """Has something done with the tracker, later."""
        self._tasks.put(task)

    def close(self, seconds: float = FINISH_SECONDS) -> None:
        """Waits until all is done, but not longer than so."""
        self._tasks.put(None)
        self._thread.join(seconds)
        if self._thread.is_alive():
            logger.warning(
                "%s has not taken everything within %.0f s; the results are in the run's folder.", self._name, seconds
            )

    def _work(self, begin: Callable[[], T], begun: Future[T]) -> None:
        try:
            tracker = begin()
        except BaseException as error:
            begun.set_exception(error)
            return
        begun.set_result(tracker)
        while task := self._tasks.get():
            try:
                task(tracker)
            except Exception as error:
                if not self._fails:
                    text = (
                        "%s fails: %s. The run goes on, with its results in its folder, and tries again with the next."
                    )
                    logger.warning(text, self._name, error)
                self._fails = True
            else:
                if self._fails:
                    logger.warning("%s works again.", self._name)
                self._fails = False


@dataclass
class TrackedRun:
    """Description of a run for trackers.

    Attributes:
        folder: folder of the run, which gives the run its name.
        options: all options of the run.
        resume: whether to continue under the names in the folder.
    """

    folder: Path
    options: Mapping[str, Any]
    resume: bool

    @property
    def name(self) -> str:
        return self.folder.resolve().name

    def known_as(self, kind: str) -> str | None:
        """The tracker's name of the run that goes on; None for a new one."""
        return self._names().get(kind) if self.resume else None

    def note(self, kind: str, name: str) -> None:
        """Keeps the tracker's name of the run."""
        write_json(self.folder / TRACKS, self._names() | {kind: name})

    def _names(self) -> dict[str, str]:
        file = self.folder / TRACKS
        return read_json(file, "run") if file.exists() else {}


class Wandb:
    """A run at Weights & Biases; its local files are in the run's folder."""

    def __init__(self, target: str, run: TrackedRun) -> None:
        from ray.air.integrations.wandb import setup_wandb

        entity, _, project = target.rpartition("/")
        self._run = setup_wandb(
            dict(run.options),
            project=project,
            entity=entity or None,
            trial_id=run.known_as("wandb"),
            trial_name=run.name,
            resume="allow",
            dir=str(run.folder),
        )
        run.note("wandb", self._run.id)

    def log(self, metrics: Mapping[str, float], steps: int) -> None:
        """Those steps that it has already, as after a crash, it leaves out."""
        self._run.log(dict(metrics), step=steps)

    def log_video(self, path: Path, at_step: int, steps: int) -> None:
        import wandb

        video = wandb.Video(str(path), caption=f"after {at_step} steps", format="mp4")
        self._run.log({"evaluation/video": video}, step=steps)

    def finish(self, failed: bool) -> None:
        self._run.finish(exit_code=int(failed))


class Mlflow:
    """A run at an MLflow server, or in its data base; the active one of the thread."""

    def __init__(self, target: str, run: TrackedRun) -> None:
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", RETRIES)
        import mlflow
        from ray.air.integrations.mlflow import setup_mlflow

        mlflow.set_tracking_uri(target)
        goes_on = self._go_on(mlflow, run.known_as("mlflow"))
        self._mlflow = setup_mlflow(
            None if goes_on else dict(run.options),  # what is there cannot be changed
            tracking_uri=target,
            experiment_name=os.environ.get("MLFLOW_EXPERIMENT_NAME", EXPERIMENT),
            run_name=run.name,
            create_experiment_if_not_exists=True,
        )
        active: Any = mlflow.active_run()
        run.note("mlflow", active.info.run_id)

    def log(self, metrics: Mapping[str, float], steps: int) -> None:
        self._mlflow.log_metrics(dict(metrics), step=steps)

    def log_video(self, path: Path, at_step: int, steps: int) -> None:
        self._mlflow.log_artifact(str(path), path.parent.name)

    def finish(self, failed: bool) -> None:
        self._mlflow.end_run("FAILED" if failed else "FINISHED")

    @staticmethod
    def _go_on(mlflow: ModuleType, name: str | None) -> bool:
        """Makes a run active, with which Ray goes on then; False where it is not there, as with another server."""
        if name is None:
            return False
        try:
            mlflow.start_run(run_id=name)
        except mlflow.MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return False
        return True


KINDS = {"wandb": Wandb, "mlflow": Mlflow}


class Trackers:
    """Those of a run, each in its lane.

    Args:
        tracks: wandb:PROJECT, mlflow:URI.
        run: what they are told of it.

    Raises:
        SetupError: one cannot be set up.
    """

    def __init__(self, tracks: Sequence[str], run: TrackedRun) -> None:
        run.folder.mkdir(parents=True, exist_ok=True)
        self._lanes: list[Lane[Any]] = []
        for track in tracks:
            kind, _, target = track.partition(":")
            try:
                self._lanes.append(Lane(track, partial(KINDS[kind], target, run)))
            except SetupError:
                self.close(failed=True)
                raise

    def log(self, metrics: Mapping[str, float], steps: int) -> None:
        """Metrics after so many steps of the run."""
        self._ask(lambda tracker: tracker.log(metrics, steps))

    def log_video(self, path: Path, at_step: int, steps: int) -> None:
        """An mp4 of the policy as it was at a step, when the run is at another."""
        self._ask(lambda tracker: tracker.log_video(path, at_step, steps))

    def close(self, failed: bool) -> None:
        """Ends the run there, as finished or failed."""
        self._ask(lambda tracker: tracker.finish(failed))
        for lane in self._lanes:
            lane.close()

    def _ask(self, task: Callable[[Any], None]) -> None:
        for lane in self._lanes:
            lane.ask(task)
