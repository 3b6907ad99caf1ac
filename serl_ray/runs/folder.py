"""The folder of a run: its checkpoints, of which the newest and the best are kept."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from serl_ray.files.atomic import locked, new_folder
from serl_ray.rllib.base import TrainingAlgorithm
from serl_ray.rllib.checkpoint import CHECKPOINTS, REPLAY_DIR, checkpoints_of, read_run, step_of
from serl_ray.runs.log import LOGS, read_results, scores_by_step
from serl_ray.runs.mirror import Mirror

logger = logging.getLogger(__name__)

LOCK = ".lock"
"""Lock file in the folder of a run, held by the process that writes there."""


@dataclass
class RunFolder:
    """The folder of a run, with its checkpoints and its lock.

    Attributes:
        path: the folder.
        keep: the newest checkpoints that are kept, beside the best.
        mirror: copy of the folder at a URI; None for no copy.
    """

    path: Path
    keep: int
    mirror: Mirror | None = None

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keeps the folder for this process: another would delete what this one has not finished.

        Raises:
            FileExistsError: another process has it.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            try:
                stack.enter_context(locked(self.path / LOCK))
            except BlockingIOError as error:
                raise FileExistsError(
                    f"Another process runs in {self.path}. Wait until it has ended, or choose another --save_dir."
                ) from error
            yield

    def check(self, resume: bool) -> None:
        """Neither overwrites a run nor resumes one that is not there, or went on elsewhere; one that is only at the
        mirror is fetched."""
        self._put_back()
        exists = bool(checkpoints_of(self.path))
        experience = next(self.path.glob(f"{REPLAY_DIR}/online/*.parquet"), None)
        if exists and not resume:
            raise FileExistsError(
                f"{self.path} holds a run already. Choose another --save_dir, or go on with it by --resume."
            )
        if experience and not exists and not resume:
            raise FileExistsError(
                f"{self.path} has no checkpoint, but experience of another run ({experience.name}), which this one "
                "would take for its own. Choose another --save_dir, or move its replay folder away."
            )
        if self.mirror and not resume and self.mirror.checkpoints():
            raise FileExistsError(
                f"{self.mirror} holds a run already. Choose another --mirror, or go on with it by --resume."
            )
        if self.mirror and exists:
            self.mirror.check(self.path)
        elif self.mirror and resume and self.mirror.newest():
            self.mirror.fetch(self.path)
        elif resume and not exists:
            raise FileNotFoundError(
                f"There is no checkpoint in {self.path} to resume. Check --save_dir, or leave --resume out."
            )
        self._remove_parts()

    def _put_back(self) -> None:
        """A checkpoint that was about to be replaced when its process was killed."""
        for old in self.path.glob(f"{CHECKPOINTS}/.step-*.old"):
            checkpoint = old.with_name(old.name[1:].removesuffix(".old"))
            if not checkpoint.exists():
                old.rename(checkpoint)

    def _remove_parts(self) -> None:
        """Removes the unfinished parts left by a process that was killed while it wrote or deleted."""
        parts = [*self.path.glob(f"{CHECKPOINTS}/.step-*"), *self.path.glob(f"{REPLAY_DIR}/*/.*.parquet")]
        for part in parts:
            shutil.rmtree(part) if part.is_dir() else part.unlink()

    def save(self, algorithm: TrainingAlgorithm) -> Path:
        """Writes a checkpoint, which appears when it is whole, and deletes those that are not kept."""
        checkpoint = self.path / CHECKPOINTS / f"step-{algorithm.steps:09d}"
        with new_folder(checkpoint) as new:
            algorithm.save_checkpoint(str(new))
        evaluated = algorithm.evaluator.at_step  # it may turn out to be the best
        best, _ = best_checkpoint(self.path) or (None, 0.0)
        for old in checkpoints_of(self.path)[: -self.keep]:
            if old != best and step_of(old.name) != evaluated:
                shutil.rmtree(old.rename(old.with_name(f".{old.name}.gone")))
        self._copy_to_mirror()
        return checkpoint

    def _copy_to_mirror(self) -> None:
        if self.mirror is None:
            return
        try:
            self.mirror.push(self.path)
        except OSError as error:
            logger.warning(
                "%s could not be reached: %s. The run goes on, and tries again with its next checkpoint.",
                self.mirror,
                error,
            )

    def try_to_save(self, algorithm: TrainingAlgorithm) -> None:
        """Saves a checkpoint; where there is no room the run goes on with the checkpoints that it has."""
        try:
            self.save(algorithm)
        except OSError as error:
            logger.warning(
                "No checkpoint could be written: %s. Those that there are stay; make room, the run goes on.", error
            )


def best_checkpoint(run: Path) -> tuple[Path, float] | None:
    """The checkpoint with the best evaluation and its score, the newest of equals; None where none was evaluated."""
    scores = scores_by_step(read_results(run / LOGS))
    judged = [
        (scores[step_of(path.name)], step_of(path.name), path)
        for path in checkpoints_of(run)
        if step_of(path.name) in scores
    ]
    if not judged:
        return None
    rate, _, path = max(judged)
    return path, rate


def choose_checkpoint(run: Path, newest: bool = False) -> tuple[Path, str]:
    """The checkpoint of a run folder to play or to start from, and a sentence that names it.

    Args:
        run: the run folder, or a checkpoint, which is then the choice.
        newest: choose the newest; by default the one with the best evaluation, where there was one.

    Raises:
        FileNotFoundError: there is no checkpoint.
    """
    if not (checkpoints := checkpoints_of(run)):
        read_run(run)
        return run, f"Playing the checkpoint {run}."
    if not newest and (best := best_checkpoint(run)):
        path, rate = best
        return (
            path,
            f"Playing the checkpoint of step {step_of(path.name):,}, which had the best evaluation: {rate:.2f}.",
        )
    why = "the newest" if newest else "the newest, as none was evaluated"
    return checkpoints[-1], f"Playing the checkpoint of step {step_of(checkpoints[-1].name):,}, {why}."
