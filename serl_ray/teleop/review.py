"""Review of what a reward classifier called a success."""

from __future__ import annotations

import hashlib
import math
import os
import pickle
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from serl_ray.data.positives import Candidate, OperatorLabel, read_positives
from serl_ray.files.atomic import write_file
from serl_ray.files.images import decode
from serl_ray.teleop.sorting import Sorter, SortingError, SortItem, SortLabel, UnknownItemError

Judge = Callable[[Mapping[str, np.ndarray]], float]
"""Function from images (H, W, 3) uint8 by camera to the probability of success."""
PROPOSED: dict[OperatorLabel | None, SortLabel] = {
    "veto": SortLabel.FAILURE,
    "failure": SortLabel.FAILURE,
    "success": SortLabel.SUCCESS,
}
REMARKS: dict[OperatorLabel | None, str] = {
    "veto": "vetoed",
    "failure": "pressed failure",
    "success": "pressed success",
}
MOST_UNSORTED = 2000
"""Images that are offered at a time; others follow as these are sorted."""
LONG_READING, RESTS = 0.1, 20
"""Duration of a reading of the folders from which the next one comes that many times as long after it: the robots'
messages go through the same process."""
LABEL_NUMBERS = {SortLabel.SUCCESS: 1, SortLabel.FAILURE: 0}


def default_output(positives_dir: Path) -> Path:
    """The folder of sorted images, beside those that are sorted."""
    return positives_dir.with_name(f"{positives_dir.name}_reviewed")


class ReviewSorter(Sorter):
    """Sorter of the images in a folder that `data.positives` describes, which it only reads.

    A sorted step is one file, `output/LABEL/EPISODE/STEP.pkl`, in the format of `serl record --classifier_data`. So it
    is there as a whole or not at all, and whoever begins anew goes on with what is not there.

    Args:
        positives_dir: folder of the images.
        output: folder of the sorted images, in its folders success, failure and left_out.
        judge: gives the probabilities; None for those of the run.
        place: sentence on where the images are, which is shown to the operator as well.
    """

    def __init__(self, positives_dir: Path, output: Path, judge: Judge | None = None, place: str = "") -> None:
        self._folder, self._output, self._judge, self._place = positives_dir, output, judge, place
        self._known: dict[str, Candidate] = {}
        self._ordered: list[str] = []
        self._rests_until, self._num_left = -math.inf, 0
        self._episodes: dict[str, int] = {}
        self._judged: dict[str, float] = {}
        self._sorted: dict[str, SortLabel] = {}
        self._done: list[tuple[str, SortLabel | None]] = []

    def explanation(self) -> str:
        left = f"{self._num_left} more follow when these are sorted." if self._num_left else ""
        texts = f"Called a success: {self._folder}. Sorted into {self._output}.", self._place, left
        return " ".join(filter(None, texts))

    def items(self) -> Sequence[SortItem]:
        """Images that nobody has sorted before, and those that were sorted here: vetoed ones first, then what operators
        labelled, then by probability, the doubtful first. At most `MOST_UNSORTED` are offered beside those sorted here.
        """
        if time.monotonic() >= self._rests_until:
            self._read()
        shown, num_unsorted = [], 0
        for id in self._ordered:
            if id in self._sorted or num_unsorted < MOST_UNSORTED:
                num_unsorted += id not in self._sorted
                shown.append(self._item(id, self._known[id]))
        self._num_left = len(self._ordered) - len(shown)
        return shown

    def _read(self) -> None:
        """Reads the folders."""
        began = time.monotonic()
        stored = {label: self._stored(label) for label in SortLabel}
        before = set().union(*stored.values())
        known = {_id(positive): positive for positive in read_positives(self._folder)}
        for positive in known.values():
            self._episodes.setdefault(positive.episode, len(self._episodes) + 1)
        self._known = {
            id: positive for id, positive in known.items() if id in self._sorted or _name(positive) not in before
        }
        self._ordered = sorted(self._known, key=self._order)
        ended = time.monotonic()
        self._rests_until = ended + (RESTS * (ended - began) if ended - began > LONG_READING else 0.0)

    def counts(self) -> dict[SortLabel, int]:
        """The number of steps that are stored with each label, by anybody."""
        return {label: len(self._stored(label)) for label in SortLabel}

    def image(self, item: str, camera: str) -> bytes:
        positive = self._positive(item)
        if camera not in positive.cameras:
            raise UnknownItemError(f"There is no image by {camera!r:.60}.")
        return positive.path(self._folder, camera).read_bytes()

    def sort(self, item: str, label: SortLabel) -> None:
        before = self._sorted.get(item)
        self._store(item, label)
        self._done.append((item, before))

    def undo(self) -> str | None:
        if not self._done:
            return None
        item, before = self._done[-1]
        self._store(item, before)
        self._done.pop()
        return item

    def _item(self, id: str, positive: Candidate) -> SortItem:
        label = self._sorted.get(id)
        return SortItem(
            id,
            f"episode {self._episodes[positive.episode]}, step {positive.step.lstrip('0') or 0}",
            positive.cameras,
            label or PROPOSED.get(positive.pressed),
            label is not None,
            self._probability(id, positive),
            REMARKS.get(positive.pressed, ""),
        )

    def _order(self, id: str) -> tuple[bool, bool, float, str, str]:
        positive = self._known[id]
        probability = self._probability(id, positive)
        is_labelled = positive.pressed is not None
        doubt = 2.0 if probability is None else probability
        return positive.pressed != "veto", not is_labelled, doubt, positive.episode, positive.step

    def _probability(self, id: str, positive: Candidate) -> float | None:
        if self._judge is None:
            return positive.probability
        if id not in self._judged:
            try:
                self._judged[id] = float(self._judge(self._images(positive)))
            except (SortingError, OSError):  # of which the operator is told on trying to sort it
                return None
        return self._judged[id] if math.isfinite(self._judged[id]) else None

    def _positive(self, item: str) -> Candidate:
        if item not in self._known:
            raise UnknownItemError(f"There is no item {item!r:.60}.")
        return self._known[item]

    def _images(self, positive: Candidate) -> dict[str, np.ndarray]:
        images = {}
        for camera in positive.cameras:
            path = positive.path(self._folder, camera)
            try:
                image = decode(path.read_bytes())
            except ValueError as error:
                raise SortingError(f"{path}: {error}") from error
            if image.ndim != 3 or image.shape[2] != 3:
                raise SortingError(f"{path} is an image {image.shape}; expected one in colours, (H, W, 3).")
            images[camera] = image
        return images

    def _stored(self, label: SortLabel) -> set[str]:
        """The names of the steps that are stored with a label."""
        folder = self._output / label
        return {
            Path(os.path.relpath(os.path.join(path, name), folder)).as_posix()
            for path, _, names in os.walk(folder)
            for name in names
        }

    def _store(self, item: str, label: SortLabel | None) -> None:
        """Stores a step with a label, and with no other; with none if it is None."""
        positive = self._positive(item)
        images = self._images(positive)
        self._sorted.pop(item, None)
        for other in SortLabel:
            (self._output / other / _name(positive)).unlink(missing_ok=True)
        if label is None:
            return
        frame: dict[str, Any] = {"observations": images, "episode": positive.episode}
        if label in LABEL_NUMBERS:
            frame["labels"] = LABEL_NUMBERS[label]
        path = self._output / label / _name(positive)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file(path, pickle.dumps([frame], protocol=5))
        self._sorted[item] = label


def _name(positive: Candidate) -> str:
    """The name of the sorted file in the folder of its label."""
    return f"{positive.episode}/{positive.step}.pkl"


def _id(positive: Candidate) -> str:
    return hashlib.sha256(_name(positive).encode(errors="surrogateescape")).hexdigest()[:16]
