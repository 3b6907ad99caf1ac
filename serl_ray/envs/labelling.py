"""Recording of images for a reward classifier by an operator, who drives, marks successes, and looks through them."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from serl_ray.data.episodes import EnvFault
from serl_ray.data.observations import Observation
from serl_ray.envs.image_recording import write_images
from serl_ray.envs.recording import CUT_OFF, DROPPED, MAX_FAULTS, SPOILED
from serl_ray.files.images import encode
from serl_ray.teleop.events import Ending
from serl_ray.teleop.marks import MarkedEpisodes, TimedFrame
from serl_ray.teleop.sorting import Sorter, SortingError, SortItem, SortLabel, UnknownItemError
from serl_ray.teleop.wrapper import VERDICT, Interrupted, OperatedEnv
from serl_ray.utils.errors import SetupError

logger = logging.getLogger(__name__)

MOST_IMAGES = 100
"""Images of each label that an episode yields at most, evenly spread: neighbouring ones are nearly the same."""


UNSEEN = "not looked through"
"""Reason for which an episode is dropped where the recording ends before its operator has stored it."""


@dataclass(frozen=True)
class LabelledFrame:
    """A frame of an episode.

    Attributes:
        step: number of the episode's steps before it.
        images: images (H, W, 3) uint8 by camera.
        label: label that is proposed.
    """

    step: int
    images: dict[str, np.ndarray]
    label: SortLabel


class EpisodeSorter(Sorter):
    """Sorter of the frames of one episode, which has ended, with the labels that were marked while it was driven.

    Args:
        folder: folder in which the images are stored.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.RLock()
        self._stored: dict[str, int] | None = None
        self._name, self._presented = "", 0
        self._frames: dict[str, LabelledFrame] = {}
        self._given: list[tuple[str, SortLabel]] = []

    def present(self, name: str, frames: Sequence[LabelledFrame]) -> None:
        """Asks for the labels of an episode."""
        with self._lock:
            self._name, self._given, self._stored = name, [], None
            self._presented += 1  # an episode that is played again has other items
            self._frames = {f"{self._presented}-step-{frame.step}": frame for frame in frames}

    @property
    def is_stored(self) -> bool:
        """True if the operator has stored the episode."""
        return self._stored is not None

    def close(self) -> dict[str, int] | None:
        """Asks no more, and returns the number of stored images by class; None if the episode was not stored."""
        with self._lock:
            self._frames, self._given = {}, []
            return self._stored

    def explanation(self) -> str:
        """Sentences on the episode, or on the absence of one."""
        if not self._frames:
            return "Drive an episode; its frames are shown here when it has ended."
        return (
            f"The frames of {self._name}. Success: those that you saw while you held the key. Left out: half a second "
            "before and after. Failure: all others. Correct them, and store the episode or discard it."
        )

    def items(self) -> Sequence[SortItem]:
        """The episode's frames in their order."""
        with self._lock:
            given = dict(self._given)
            return [
                SortItem(
                    item,
                    f"step {frame.step}",
                    tuple(frame.images),
                    label=given.get(item, frame.label),
                    is_sorted=item in given,
                )
                for item, frame in self._frames.items()
            ]

    def image(self, item: str, camera: str) -> bytes:
        """The image of a frame, as PNG."""
        with self._lock:
            image = self._frame(item).images.get(camera)
        if image is None:
            raise UnknownItemError(f"There is no camera {camera!r:.40}.")
        return encode(image)

    def sort(self, item: str, label: SortLabel) -> None:
        """Corrects the label of a frame."""
        with self._lock:
            self._frame(item)
            self._given.append((item, label))

    def undo(self) -> str | None:
        """Takes the last correction back."""
        with self._lock:
            return self._given.pop()[0] if self._given else None

    @property
    def finish_label(self) -> str:
        """The words on the button that stores the episode."""
        return "Store the episode" if self._frames else ""

    def finish(self) -> None:
        """Stores the episode."""
        with self._lock:
            labels = {item.id: item.label for item in self.items()}
            labelled = [
                (frame.images, labels[item] is SortLabel.SUCCESS)
                for item, frame in self._frames.items()
                if labels[item] is not SortLabel.LEFT_OUT
            ]
            if not labelled:
                raise SortingError("There are no labelled frames to store. Discard the episode.")
            self._stored = write_images(self._folder, self._name, labelled)
            self._frames, self._given = {}, []

    def _frame(self, item: str) -> LabelledFrame:
        if item not in self._frames:
            raise UnknownItemError(f"There is no frame {item!r:.60} any more.")
        return self._frames[item]


@dataclass
class Labeller:
    """Recorder of images whose labels an operator gives.

    Attributes:
        env: env that the operator drives.
        episodes: episodes of its session.
        sorter: sorter on the operator's page.
        cameras: cameras to store.
        counts: number of stored images by class.
        dropped: number of dropped episodes by reason.
    """

    env: OperatedEnv
    episodes: MarkedEpisodes
    sorter: EpisodeSorter
    cameras: Sequence[str]
    counts: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    _faults_in_a_row: int = 0

    def record(self, name: str, seed: int) -> bool:
        """Plays an episode, and waits until its operator has stored or discarded it.

        Args:
            name: name of the episode.
            seed: seed of the reset.

        Returns:
            True if it was stored.

        Raises:
            Interrupted: the recording ends meanwhile; what was not stored is dropped.
            SetupError: the env has spoiled too many consecutive episodes.
        """
        try:
            frames = self._played(seed)
        except EnvFault as fault:
            self._spoiled(fault)
            return False
        self._faults_in_a_row = 0
        return len(frames) > 1 and self._is_stored(name, frames)

    def _played(self, seed: int) -> list[tuple[TimedFrame, dict[str, np.ndarray]]]:
        """The frames of an episode."""
        observation, _ = self.env.reset(seed=seed)
        frames = [self._frame(observation, 0.0)]
        try:
            while not self._is_last_step(frames):
                pass
        except Interrupted:
            if len(frames) > 1:
                self.dropped[CUT_OFF] += 1
            raise
        return frames

    def _is_last_step(self, frames: list[tuple[TimedFrame, dict[str, np.ndarray]]]) -> bool:
        """Makes a step, adds its frame, and returns whether the episode has ended."""
        if self.env.interrupted.is_set():
            raise Interrupted("The recording ends.")
        nothing = np.zeros(self.env.session.layout.action_dim, np.float32)
        observation, _, terminated, truncated, info = self.env.step(nothing)
        if VERDICT not in info:
            frames.append(self._frame(observation, frames[-1][0].at))
        return VERDICT in info or bool(terminated or truncated)

    def _frame(self, observation: Observation, before: float) -> tuple[TimedFrame, dict[str, np.ndarray]]:
        view = self.env.view
        assert view is not None
        images = {key: np.array(observation[key]) for key in self.cameras}
        return TimedFrame(view.frame, before + (view.seconds or 0.0)), images

    def _is_stored(self, name: str, frames: list[tuple[TimedFrame, dict[str, np.ndarray]]]) -> bool:
        number = self.env.episode
        labels = self.episodes.labels([frame for frame, _ in frames])
        pairs = enumerate(zip(frames, labels, strict=True))
        self.sorter.present(name, evenly([LabelledFrame(step, images, label) for step, ((_, images), label) in pairs]))
        self.env.tell(labelling=name)
        try:
            self.env.wait_until(lambda: self.sorter.is_stored or self.episodes.is_settled(number, self.env.clock()))
        finally:
            stored = self.sorter.close()
            verdict = self.env.settle(number)
            self.counts.update(stored or {})
            if stored is None:
                is_discarded = verdict is not None and verdict.ending is Ending.DISCARD
                self.dropped[DROPPED[Ending.DISCARD] if is_discarded else UNSEEN] += 1
            self.env.tell(labelling=None, images=dict(self.counts), dropped=dict(self.dropped))
        return stored is not None

    def _spoiled(self, fault: EnvFault) -> None:
        self.dropped[SPOILED] += 1
        self.env.tell(dropped=dict(self.dropped))
        self._faults_in_a_row += 1
        logger.warning("An episode is dropped. %s", fault)
        if self._faults_in_a_row == MAX_FAULTS:
            message = f"The env has spoiled {MAX_FAULTS} consecutive episodes, the last one by this fault: {fault}"
            raise SetupError(message) from fault


def evenly(frames: Sequence[LabelledFrame], most: int = MOST_IMAGES) -> list[LabelledFrame]:
    """The frames in their order, of each label at most so many, evenly spread."""
    kept = []
    for label in SortLabel:
        same = [frame for frame in frames if frame.label is label]
        stride = max(len(same) / most, 1.0)
        kept += [same[int(stride * i)] for i in range(min(len(same), most))]
    return sorted(kept, key=lambda frame: frame.step)
