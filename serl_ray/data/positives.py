"""Images of a run that await review: what its reward classifier called a success, and what operators labelled.

They lie in a folder as EPISODE/CAMERA/STEP.png, beside EPISODE/notes.jsonl, which has a line for each of them:
`{"step": 41, "probability": 0.97}` for an image that was called a success, and `{"step": 41, "pressed": "failure"}` for
an operator's word. A veto concerns all images of its episode.
"""

from __future__ import annotations

import json
import logging
import math
import os
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from serl_ray.data.observations import Observation
from serl_ray.files.images import encode

logger = logging.getLogger(__name__)

NOTES_FILE, IMAGE_SUFFIX = "notes.jsonl", ".png"
LABELLABLE_STEPS = 64
"""Steps of an episode whose images are kept in memory for an operator's label, which is of a frame shown lately."""
LABELLABLE_EPISODES = 4
"""Episodes that are kept so: a label is final only when the episode after it has ended, and another may have begun."""
OperatorLabel = Literal["success", "failure", "veto"]


@dataclass(frozen=True)
class Candidate:
    """The images of one step.

    Attributes:
        episode: folder of the episode, relative to the folder of all.
        step: number of the step, as text.
        cameras: cameras that have an image of it.
        probability: probability of success by the run's classifier; None where it is not known.
        pressed: word of the operator on this step, or `veto` on its episode; None without one.
    """

    episode: str
    step: str
    cameras: tuple[str, ...]
    probability: float | None = None
    pressed: OperatorLabel | None = None

    def path(self, folder: Path, camera: str) -> Path:
        """The file of a camera's image."""
        return folder / self.episode / camera / f"{self.step}{IMAGE_SUFFIX}"


def read_positives(folder: Path) -> list[Candidate]:
    """All images in a folder, by episode and step; none where there is no such folder yet."""
    found = []
    for episode, cameras in sorted(_cameras_of_episodes(folder).items()):
        notes = _Notes(folder / episode / NOTES_FILE)
        for step in sorted(set().union(*cameras.values())):
            names = tuple(sorted(camera for camera, steps in cameras.items() if step in steps))
            found.append(Candidate(episode, step, names, notes.probabilities.get(step), notes.pressed(step)))
    return found


def _cameras_of_episodes(folder: Path) -> dict[str, dict[str, set[str]]]:
    """The steps that have an image, by episode and camera."""
    found: dict[str, dict[str, set[str]]] = {}
    for path, _, files in os.walk(folder):
        steps = {name.removesuffix(IMAGE_SUFFIX) for name in files if name.endswith(IMAGE_SUFFIX)}
        episode, camera = os.path.split(os.path.relpath(path, folder))
        if steps and episode:
            found.setdefault(Path(episode).as_posix(), {})[camera] = steps
    return found


class _Notes:
    """The notes of an episode; lines that are cut off say nothing."""

    def __init__(self, path: Path) -> None:
        self.probabilities: dict[str, float] = {}
        self._pressed: dict[str, OperatorLabel] = {}
        for line in _lines(path):
            step = _name(line["step"])
            if "probability" in line:
                self.probabilities[step] = line["probability"]
            if "pressed" in line:
                self._pressed[step] = line["pressed"]

    def pressed(self, step: str) -> OperatorLabel | None:
        """The operator's word on a step, or `veto` on all steps."""
        return "veto" if "veto" in self._pressed.values() else self._pressed.get(step)


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return
    for line in text.splitlines():
        try:
            value = json.loads(line)
        except ValueError:
            continue
        if _is_note(value):
            yield value


def _is_note(value: Any) -> bool:
    if not isinstance(value, dict) or type(value.get("step")) is not int:
        return False
    probability = value.get("probability", 0.0)
    has_probability = isinstance(probability, float) and math.isfinite(probability)
    return has_probability and value.get("pressed", "veto") in get_args(OperatorLabel)


def _name(step: int) -> str:
    return f"{step:04d}"


@dataclass(eq=False)
class _Episode:
    """An episode of the writer, with the images of its newest steps."""

    name: str
    kept: set[int] = field(default_factory=set)
    recent: deque[tuple[int, Observation, float]] = field(default_factory=lambda: deque(maxlen=LABELLABLE_STEPS))


class PositivesWriter:
    """Writer of such a folder. A file that cannot be written is a warning, and the run continues.

    Args:
        folder: folder of all images.
        cameras: cameras of the classifier.
    """

    def __init__(self, folder: Path, cameras: Sequence[str]) -> None:
        self._folder, self._cameras = folder, tuple(cameras)
        self._episode = _Episode("")
        self._numbered: dict[int, _Episode] = {}

    def begin(self) -> None:
        """An episode begins."""
        self._episode = _Episode(f"{time.time_ns()}")

    def number(self, episode: int) -> None:
        """Operators will label the running episode by this number."""
        oldest = episode - LABELLABLE_EPISODES
        self._numbered = {number: kept for number, kept in self._numbered.items() if number > oldest}
        self._numbered[episode] = self._episode

    def add(self, step: int, observation: Observation, probability: float, is_positive: bool) -> None:
        """Writes the images (H, W, 3) uint8 of a step that is called a success.

        Args:
            step: number of the step in its episode, from 1.
            observation: observation after the step.
            probability: probability of success.
            is_positive: whether it is called a success.
        """
        images = {key: observation[key] for key in self._cameras}
        if self._episode in self._numbered.values():
            self._episode.recent.append((step, images, probability))
        if is_positive:
            self._write(self._episode, step, images, {"probability": probability})

    def label(self, episode: int, step: int, pressed: OperatorLabel) -> None:
        """Writes an operator's word on a step of an episode, and its images where they are not there yet.

        Args:
            episode: number of the episode.
            step: number of the step that led to the frame which was displayed at the press.
            pressed: word of the operator; a veto concerns the images that the episode has already.
        """
        if (labelled := self._numbered.pop(episode, None)) is None:
            return
        if pressed == "veto":
            if labelled.kept:
                self._write(labelled, step, {}, {"pressed": pressed})
            return
        for number, images, probability in labelled.recent:
            if number == step:
                self._write(labelled, step, images, {"probability": probability, "pressed": pressed})

    def _write(self, episode: _Episode, step: int, images: Observation, note: dict[str, Any]) -> None:
        folder = self._folder / episode.name
        try:
            for key, image in images.items() if step not in episode.kept else ():
                _write_whole(folder / key / f"{_name(step)}{IMAGE_SUFFIX}", encode(image))
            with (folder / NOTES_FILE).open("a", encoding="utf-8") as file:
                file.write(f"{json.dumps({'step': step, **note})}\n")
            episode.kept.add(step)
        except OSError as error:
            logger.warning("%s was not written whole: %s. Free some space; the run continues.", folder, error)


def _write_whole(path: Path, data: bytes) -> None:
    """Writes a file that readers see as a whole; the robot's step does not wait until it is on the disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.new")
    new.write_bytes(data)
    new.replace(path)
