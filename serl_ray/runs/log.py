"""The results of a run: JSON lines to compute with, TensorBoard and other trackers to look at."""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event
from tensorboardX.proto.summary_pb2 import Summary

from serl_ray.evaluation.video import gif_of
from serl_ray.files.atomic import write_file
from serl_ray.rllib.metrics import METRICS
from serl_ray.runs.tracking import Trackers

logger = logging.getLogger(__name__)

LOGS = "logs"
"""Name in the folder of a run."""
RESULTS = "results.jsonl"
VIDEOS = "videos"
"""Folder of videos, beside the logs."""


class RunLog:
    """Appends results to the logs of a run; a resumed run goes on in the same ones. Where there is no room, the run
    goes on.

    Args:
        directory: folder of the JSON lines and of TensorBoard's events.
        trackers: trackers that receive the results as well.
    """

    def __init__(self, directory: Path, trackers: Trackers | None = None) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory, self._trackers = directory, trackers
        self._events: EventsWriter | None = None

    def append(self, result: dict[str, Any], steps: int) -> None:
        """Writes every metric that is known (JSON has no NaN) after so many steps of the run."""
        known = {name: result[name] for name in METRICS if not math.isnan(result[name])}
        try:
            self._append_line(json.dumps(known))
            self._append_event([Summary.Value(tag=name, simple_value=value) for name, value in known.items()], steps)
        except OSError as error:
            logger.warning("A result could not be written: %s. Make room; the run goes on.", error)
            self._events = None  # its file may end in half an event: the next one goes to another
        if self._trackers:
            self._trackers.log(known, steps)

    def append_video(self, mp4: bytes, at_step: int, steps: int) -> None:
        """Keeps a video of the policy as it was at a step of the run, which is now so many steps old."""
        path = self._directory.with_name(VIDEOS) / f"{at_step:09d}.mp4"
        try:
            path.parent.mkdir(exist_ok=True)
            write_file(path, mp4)
            gif, height, width = gif_of(path)
            image = Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=gif)
            self._append_event([Summary.Value(tag="evaluation/video", image=image)], at_step)
        except OSError as error:
            logger.warning("A video could not be written: %s. Make room; the run goes on.", error)
            self._events = None
            return
        if self._trackers:
            self._trackers.log_video(path, at_step, steps)

    def close(self, failed: bool = False) -> None:
        """Ends the run at its trackers, too, and waits for them a while."""
        self._events = None
        if self._trackers:
            self._trackers.close(failed)

    def _append_line(self, line: str) -> None:
        """A line of its own, even if the one before is only half there."""
        with (self._directory / RESULTS).open("ab+") as file:
            file.seek(max(file.seek(0, 2) - 1, 0))
            is_whole = file.read(1) in (b"", b"\n")
            file.write(("" if is_whole else "\n").encode() + line.encode() + b"\n")

    def _append_event(self, values: list[Summary.Value], steps: int) -> None:
        if self._events is None:
            self._events = EventsWriter(str(self._directory / "events"))
        self._events.write_event(Event(step=steps, wall_time=time.time(), summary=Summary(value=values)))
        self._events.flush()


def read_results(directory: Path) -> list[dict[str, float]]:
    """Every result of a run so far; a line that was cut off, as when a run is lost, is none."""
    file = directory / RESULTS
    results = []
    for line in file.read_text().splitlines() if file.exists() else ():
        try:
            results.append(json.loads(line))
        except json.JSONDecodeError:
            logger.warning("%s has a line that is cut off; it is left out.", file)
    return results


def scores_by_step(results: Sequence[Mapping[str, float]]) -> dict[int, float]:
    """The success rate of each evaluation, by the step whose policy was evaluated; where success is unknown, the mean
    return."""
    rates = {
        int(r["evaluation/at_step"]): r["evaluation/success_rate"] for r in results if "evaluation/success_rate" in r
    }
    returns = {
        int(r["evaluation/at_step"]): r["evaluation/mean_return"] for r in results if "evaluation/mean_return" in r
    }
    return rates or returns
