"""From folders of labelled frames to a reward classifier that says how far it can be trusted."""

from __future__ import annotations

import logging
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import ray
import ray.data
import ray.train
import torch
from ray.data.expressions import col
from ray.train.torch import TorchTrainer
from safetensors.torch import load_file

from serl_ray.classifier.frames import NOTES, FrameError, Source, encode_frames, read_frames
from serl_ray.classifier.loop import BEST_FILE, EVALUATION_BATCH, LabelledFrames, LoopConfig, train_loop
from serl_ray.classifier.report import MOST_WRONG_FILE, REPORT_FILE, most_wrong, plot_most_wrong, plot_report
from serl_ray.classifier.scores import Threshold, choose_threshold, held_out_episodes, held_out_metrics
from serl_ray.data.reading import plain_errors
from serl_ray.networks.classifier import RewardClassifier, success_probability
from serl_ray.networks.encoder import EncoderConfig
from serl_ray.networks.pretrained import trunk_without_weights
from serl_ray.option_types import check_types

logger = logging.getLogger(__name__)

FRAME_OPTIONS = (
    "success_dir", "failure_dir", "image_keys", "hard_negatives", "num_classes", "held_out", "trunk", "frozen", "augment_crops",
    "seed",
)  # fmt: skip
"""What decides which frames there are, how they are split, and how the network sees them."""


@dataclass
class ClassifierSettings:
    """Options of the classifier's training."""

    success_dir: str
    """Folder of success frames: .pkl, .parquet, .png, .jpg."""
    failure_dir: str
    """Folder of failure frames."""
    image_keys: tuple[str, ...] = ("image",)
    """Cameras the classifier looks at."""
    output_dir: Path = Path("classifier_ckpt")
    """Folder for the classifier and its report; new, or empty."""
    hard_negatives: tuple[str, ...] = ()
    """Folders of failures that a classifier took for successes, reviewed; they are trained on and never held out."""
    num_classes: int = 2
    """2 for failure and success. With more, files hold the labels and the last class is success."""
    batch_size: int = 64
    """Frames a step, equally many of each class."""
    num_epochs: int = 150
    """Epochs, at most."""
    patience: int = 20
    """Epochs without a better held-out loss after which training stops."""
    lr: float = 1e-4
    """Adam's step size."""
    held_out: float = 0.3
    """Share of the frames, by whole episodes, that is held out: the fewer, the less can be promised."""
    max_false_positive_rate: float = 0.01
    """Share of failure frames that may be called a success: the threshold is chosen for it."""
    trunk: str = "random"
    """Image trunk: random, imagenet, or a weights file."""
    frozen: bool = True
    """Whether the trunk keeps its weights, and sees a frame once; otherwise it is trained, which takes a GPU's time."""
    augment_crops: int = 2
    """Crops of a frame that a frozen trunk sees."""
    num_workers: int = 1
    """Processes that train, each on its share of the frames."""
    use_gpu: bool = False
    """Whether each has a GPU."""
    seed: int = 0
    """Of the split, the initial weights and the batches."""

    def check_options(self) -> None:
        """Raises ValueError with the option, the value, the limit and the mend."""
        check_types(self)
        at_least = {"batch_size": self.num_classes * self.num_workers, "num_classes": 2, "num_epochs": 1, "patience": 1}
        for name, least in (at_least | {"augment_crops": 1, "num_workers": 1, "lr": 0.0}).items():
            if getattr(self, name) < least:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least {least}.")
        for name, most in (("held_out", 0.5), ("max_false_positive_rate", 1.0)):
            if not 0.0 < getattr(self, name) <= most:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be above 0 and at most {most}.")
        if not self.image_keys:
            raise ValueError("image_keys is empty: name the cameras that the classifier looks at.")

    def check(self) -> None:
        """Likewise, and looks whether there is room for the classifier."""
        self.check_options()
        if self.output_dir.exists() and (not self.output_dir.is_dir() or any(self.output_dir.iterdir())):
            raise FileExistsError(f"{self.output_dir} is there and not empty. Choose another --output_dir.")


@dataclass
class Outcome:
    """What training has come to: the classifier, its threshold, and the held-out metrics."""

    classifier: RewardClassifier
    threshold: Threshold
    metrics: dict[str, float]


@dataclass
class Frames:
    """Labelled frames, read and split.

    Attributes:
        held_out: as they are, for the report.
        inputs: `train` and `held_out` as the network sees them: stored maps where its trunk is frozen.
        num_train: frames to train on.
    """

    held_out: ray.data.Dataset
    inputs: dict[str, ray.data.Dataset]
    num_train: int


def train_classifier(settings: ClassifierSettings, frames: Frames | None = None) -> Outcome:
    """Trains, chooses the threshold, and writes `output_dir`: the classifier and the report's pictures.

    Args:
        settings: of the training.
        frames: that `read_and_split` has returned for the same `FRAME_OPTIONS`; by default it is asked for them.

    Raises:
        FrameError, FileNotFoundError, ValueError: the frames do not fit, or are too few; nothing is written.
    """
    settings.check()
    frames = frames or read_and_split(settings)
    encoder = EncoderConfig(settings.image_keys, trunk=settings.trunk, frozen=settings.frozen)
    state, history = _fit(settings, encoder, frames.inputs, frames.num_train)
    classifier = _restore(settings, encoder, state)
    probabilities, labels = _score(classifier, frames.inputs["held_out"])
    return _finish(settings, classifier, frames.held_out, probabilities, labels == settings.num_classes - 1, history)


def read_and_split(settings: ClassifierSettings) -> Frames:
    """Reads and splits the frames, and encodes them where the trunk is frozen.

    Raises:
        FrameError, FileNotFoundError: the frames do not fit, or are too few.
    """
    frames = _read(settings)
    notes = frames.select_columns(list(NOTES)).take_all()
    _check_sizes(notes)
    held_out = _held_out(notes, settings)
    _say_what_there_is(notes, held_out)
    is_held_out = ~col("_is_hard") & col("_episode").is_in(sorted(held_out))
    sides = {"train": frames.filter(expr=~is_held_out), "held_out": frames.filter(expr=is_held_out).materialize()}
    inputs = sides
    if settings.frozen:
        encoding = {"image_keys": settings.image_keys, "trunk": settings.trunk}
        crops = {"train": settings.augment_crops, "held_out": 1}
        inputs = {name: encode_frames(side, {**encoding, "crops": crops[name]}).materialize() for name, side in sides.items()}
    num_train = sum(note["_is_hard"] or note["_episode"] not in held_out for note in notes)
    return Frames(sides["held_out"], inputs, num_train)


def _read(settings: ClassifierSettings) -> ray.data.Dataset:
    sources = [Source(settings.success_dir, settings.num_classes - 1), Source(settings.failure_dir, 0)]
    sources += [Source(folder, 0, is_hard=True) for folder in settings.hard_negatives]
    with plain_errors(FrameError):
        return read_frames(sources, settings.image_keys, settings.num_classes).materialize()


def _check_sizes(notes: Sequence[Mapping[str, Any]]) -> None:
    """All frames of a camera must be of one size."""
    first = notes[0]
    for note in notes:
        if note["_sizes"] != first["_sizes"]:
            raise FrameError(f"{note['_source']}: frames are {note['_sizes']}, but in {first['_source']} {first['_sizes']}.")


def _held_out(notes: Sequence[Mapping[str, Any]], settings: ClassifierSettings) -> frozenset[str]:
    own = [note for note in notes if not note["_is_hard"]]
    counts = Counter(note["_label"] for note in own)
    if missing := [label for label in range(settings.num_classes) if not counts[label]]:
        raise FrameError(f"There are no frames of class {missing[0]}; there are, by class, {dict(sorted(counts.items()))}.")
    labels = np.array([note["_label"] for note in own])
    return held_out_episodes(labels, [note["_episode"] for note in own], settings.held_out, settings.seed)


def _say_what_there_is(notes: Sequence[Mapping[str, Any]], held_out: frozenset[str]) -> None:
    for name, is_side in (("training", False), ("held out", True)):
        side = [note for note in notes if (note["_episode"] in held_out and not note["_is_hard"]) == is_side]
        by_class = ", ".join(f"{n} of class {label}" for label, n in sorted(Counter(note["_label"] for note in side).items()))
        logger.info("%s: %d frames of %d episodes, %s", name, len(side), len({note["_episode"] for note in side}), by_class)


def _fit(
    settings: ClassifierSettings, encoder: EncoderConfig, inputs: dict[str, ray.data.Dataset], num_train: int
) -> tuple[dict[str, torch.Tensor], list[dict[str, float]]]:
    """The best epoch's parameters, and the losses of every epoch."""
    loop = LoopConfig(
        encoder,
        settings.num_classes,
        num_train,
        settings.batch_size,
        settings.num_epochs,
        settings.lr,
        settings.patience,
        settings.seed,
    )
    storage = settings.output_dir.absolute().parent
    name = f".{settings.output_dir.name}.training"
    shutil.rmtree(storage / name, ignore_errors=True)
    trainer = TorchTrainer(
        train_loop,
        train_loop_config=loop,
        datasets={"train": inputs["train"].random_shuffle(seed=settings.seed), "held_out": inputs["held_out"]},
        dataset_config=ray.train.DataConfig(datasets_to_split=["train"]),
        scaling_config=ray.train.ScalingConfig(num_workers=settings.num_workers, use_gpu=settings.use_gpu),
        run_config=ray.train.RunConfig(name=name, storage_path=str(storage)),
    )
    try:
        result = trainer.fit()
        with result.checkpoint.as_directory() as folder:
            return load_file(Path(folder) / BEST_FILE), result.metrics["history"]
    finally:
        shutil.rmtree(storage / name, ignore_errors=True)


def _restore(settings: ClassifierSettings, encoder: EncoderConfig, state: dict[str, torch.Tensor]) -> RewardClassifier:
    trunk = trunk_without_weights(encoder.trunk, encoder.trunk_width)
    classifier = RewardClassifier(settings.image_keys, num_classes=settings.num_classes, encoder=encoder, trunk=trunk)
    classifier.network.load_state_dict(state)
    return classifier


def _score(classifier: RewardClassifier, held_out: ray.data.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Probability of success and class of every held-out frame."""
    frames = LabelledFrames(held_out)
    starts = range(0, len(frames.labels), EVALUATION_BATCH)
    logits = torch.cat([classifier.logits(frames.whole(start)).cpu() for start in starts])
    return success_probability(logits).numpy(), frames.labels.numpy()


def _finish(
    settings: ClassifierSettings,
    classifier: RewardClassifier,
    held_out: ray.data.Dataset,
    probabilities: np.ndarray,
    is_success: np.ndarray,
    history: list[dict[str, float]],
) -> Outcome:
    """Chooses the threshold and writes the folder beside, to rename it when it is complete."""
    threshold = choose_threshold(probabilities, is_success, settings.max_false_positive_rate)
    classifier.threshold = threshold.value
    metrics = held_out_metrics(probabilities, is_success, threshold)
    new = settings.output_dir.with_name(settings.output_dir.name + ".new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    plot_report(new / REPORT_FILE, probabilities, is_success, threshold.value, history)
    worst = most_wrong(probabilities, is_success)
    rows = held_out.take_all()
    plot_most_wrong(new / MOST_WRONG_FILE, [rows[i] for i in worst], probabilities[worst].tolist(), settings.image_keys)
    described = {name: str(value) if isinstance(value, Path) else value for name, value in asdict(settings).items()}
    episodes = sorted({row["_episode"] for row in rows})
    classifier.save(new, {"promise": asdict(threshold), "metrics": metrics, "held_out_episodes": episodes, "settings": described})
    if settings.output_dir.exists():
        settings.output_dir.rmdir()
    new.rename(settings.output_dir)
    return Outcome(classifier, threshold, metrics)
