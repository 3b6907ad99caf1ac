"""Training of a reward classifier from folders of labelled images, with a promised false-positive rate."""

from __future__ import annotations

import json
import logging
import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow.compute as pc
import ray
import ray.data
import ray.train
import torch
from ray.train.torch import TorchTrainer
from safetensors.torch import load_file

from serl_ray.classifier.config import ClassifierOptions
from serl_ray.classifier.frames import NOTES, FrameError, Source, encode_frames, read_frames
from serl_ray.classifier.loop import BEST_FILE, EVALUATION_BATCH, HISTORY_FILE, LabelledFrames, LoopConfig, train_loop
from serl_ray.classifier.report import MOST_WRONG_FILE, REPORT_FILE, most_wrong, plot_most_wrong, plot_report
from serl_ray.classifier.scores import MIN_SUCCESSES, Threshold, choose_threshold, held_out_episodes, held_out_metrics
from serl_ray.data.observations import squeezed_cameras
from serl_ray.data.reading import plain_errors, rows_where
from serl_ray.files.paths import absolute
from serl_ray.networks.classifier import RewardClassifier, success_probability
from serl_ray.networks.config import TRUNKS, EncoderConfig
from serl_ray.networks.pretrained import build_trunk, trunk_without_weights, warn_if_random
from serl_ray.utils.device import AUTO, device_named, pick_device

logger = logging.getLogger(__name__)


@dataclass
class TrainedClassifier:
    """Result of training: the classifier, its threshold, and held-out metrics."""

    classifier: RewardClassifier
    threshold: Threshold
    metrics: dict[str, float]


@dataclass
class Frames:
    """Labelled images, read and split.

    Attributes:
        held_out: held-out images for the report.
        inputs: inputs `train` and `held_out` of the network: images, or stored maps of a frozen trunk.
        num_train: number of training images of each camera.
    """

    held_out: ray.data.Dataset
    inputs: dict[str, ray.data.Dataset]
    num_train: int


def train_classifier(options: ClassifierOptions, frames: Frames | None = None) -> TrainedClassifier:
    """Trains, chooses the threshold, and writes the classifier and its report to `save_dir`.

    Args:
        options: options of the training.
        frames: result of `read_and_split` for the same options with `Role.DATA`; by default it is called.

    Raises:
        FrameError, FileNotFoundError, ValueError: the images do not fit or are too few, or the trunk has no such
            weights; nothing is written.
    """
    check_room(options.save_dir)
    device_named(options.device)
    warn_if_random(options.trunk)
    encoder = EncoderConfig(trunk=_trunk(options), frozen=options.frozen)
    build_trunk(encoder.trunk, encoder.trunk_width)
    frames = frames or read_and_split(options)
    state, history = _fit(options, encoder, frames.inputs, frames.num_train)
    classifier = _restore(options, encoder, state)
    probabilities, labels = _score(classifier, frames.inputs["held_out"])
    return _finish(options, classifier, frames.held_out, probabilities, labels == options.num_classes - 1, history)


def check_room(folder: Path) -> None:
    """Raises FileExistsError for a folder that is neither new nor empty."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(f"{folder} exists and is not empty. Choose another --save_dir.")


def read_and_split(options: ClassifierOptions) -> Frames:
    """Reads and splits the images, and encodes them for a frozen trunk.

    Raises:
        FrameError, FileNotFoundError: the images do not fit or are too few.
    """
    frames = _read(options)
    notes = frames.select_columns(list(NOTES)).take_all()
    _check_sizes(notes)
    held_out = _held_out(notes, options)
    _log_split(notes, held_out)
    _warn_of_few_successes(notes, held_out, options.num_classes - 1)
    _warn_of_squeezed_images(frames, options)
    is_held_out = ~pc.field("_is_hard") & pc.field("_episode").isin(sorted(held_out))
    sides = {"train": rows_where(frames, ~is_held_out), "held_out": rows_where(frames, is_held_out).materialize()}
    inputs = sides
    if options.frozen:
        encoding = {"image_keys": options.image_keys, "trunk": _trunk(options)}
        crops = {"train": options.augment_crops, "held_out": 1}
        inputs = {
            name: encode_frames(side, {**encoding, "crops": crops[name]}).materialize() for name, side in sides.items()
        }
    num_train = sum(note["_is_hard"] or note["_episode"] not in held_out for note in notes)
    return Frames(sides["held_out"], inputs, num_train)


def _trunk(options: ClassifierOptions) -> str:
    """The trunk's name for processes that run in other folders."""
    return options.trunk if options.trunk in TRUNKS else absolute(options.trunk)


def _read(options: ClassifierOptions) -> ray.data.Dataset:
    sources = [Source(options.success_dir, options.num_classes - 1), Source(options.failure_dir, 0)]
    sources += [Source(folder, 0, is_hard=True) for folder in options.hard_negatives]
    with plain_errors(FrameError):
        return read_frames(sources, options.image_keys, options.num_classes).materialize()


def _check_sizes(notes: Sequence[Mapping[str, Any]]) -> None:
    """Raises FrameError if the images of a camera differ in size."""
    first = notes[0]
    for note in notes:
        if note["_sizes"] != first["_sizes"]:
            raise FrameError(
                f"{note['_source']}: images are {note['_sizes']}, but in {first['_source']} {first['_sizes']}."
            )


def _held_out(notes: Sequence[Mapping[str, Any]], options: ClassifierOptions) -> frozenset[str]:
    own = [note for note in notes if not note["_is_hard"]]
    counts = Counter(note["_label"] for note in own)
    if missing := [label for label in range(options.num_classes) if not counts[label]]:
        raise FrameError(
            f"There are no images of class {missing[0]}; by class there are {dict(sorted(counts.items()))}."
        )
    labels = np.array([note["_label"] for note in own])
    return held_out_episodes(labels, [note["_episode"] for note in own], options.held_out, options.seed)


def _log_split(notes: Sequence[Mapping[str, Any]], held_out: frozenset[str]) -> None:
    for name, is_side in (("training", False), ("held out", True)):
        side = [note for note in notes if (note["_episode"] in held_out and not note["_is_hard"]) == is_side]
        by_class = ", ".join(
            f"{n} of class {label}" for label, n in sorted(Counter(note["_label"] for note in side).items())
        )
        logger.info(
            "%s: %d images of %d episodes, %s", name, len(side), len({note["_episode"] for note in side}), by_class
        )


def _warn_of_few_successes(notes: Sequence[Mapping[str, Any]], held_out: frozenset[str], success: int) -> None:
    successes = [note["_episode"] in held_out for note in notes if note["_label"] == success]
    if (number := sum(successes)) < MIN_SUCCESSES:
        logger.warning(
            "%d success images to train on and %d held out are few: the share of successes that the classifier finds "
            "will hardly be known. Record some hundred; `serl record --classifier_data` goes on after a success.",
            len(successes) - number,
            number,
        )


def _warn_of_squeezed_images(frames: ray.data.Dataset, options: ClassifierOptions) -> None:
    [first] = frames.take(1)
    if squeezed := squeezed_cameras({key: first[key].shape for key in options.image_keys}, EncoderConfig().image_size):
        logger.warning(squeezed)


def _fit(
    options: ClassifierOptions, encoder: EncoderConfig, inputs: dict[str, ray.data.Dataset], num_train: int
) -> tuple[dict[str, torch.Tensor], list[dict[str, float]]]:
    """The best epoch's parameters, and the losses of every epoch."""
    device = training_device(options)
    loop: Any = _loop_config(options, encoder, device, num_train)  # Ray's types ask for a dict
    storage = options.save_dir.absolute().parent
    name = f".{options.save_dir.name}.training"
    shutil.rmtree(storage / name, ignore_errors=True)
    datasets: dict[str, Any] = {
        "train": inputs["train"].random_shuffle(seed=options.seed),
        "held_out": inputs["held_out"],
    }
    for dataset in datasets.values():
        dataset.context.enable_progress_bars = False  # the epochs have one
    trainer = TorchTrainer(
        cast(Callable[[dict[Any, Any]], None], train_loop),
        train_loop_config=loop,
        datasets=datasets,
        dataset_config=ray.train.DataConfig(datasets_to_split=["train"]),
        scaling_config=ray.train.ScalingConfig(num_workers=options.num_workers, use_gpu=device == "cuda"),
        run_config=ray.train.RunConfig(name=name, storage_path=str(storage)),
    )
    try:
        result = trainer.fit()
        if result.checkpoint is None:
            raise RuntimeError("Ray Train has ended without a checkpoint of the classifier. See its log above.")
        with result.checkpoint.as_directory() as folder:
            return load_file(Path(folder) / BEST_FILE), json.loads((Path(folder) / HISTORY_FILE).read_text())
    finally:
        shutil.rmtree(storage / name, ignore_errors=True)


def _loop_config(options: ClassifierOptions, encoder: EncoderConfig, device: str, num_train: int) -> LoopConfig:
    return LoopConfig(
        device,
        options.image_keys,
        encoder,
        options.num_classes,
        num_train,
        options.batch_size,
        options.num_epochs,
        options.lr,
        options.patience,
        options.seed,
    )


def training_device(options: ClassifierOptions) -> str:
    """The device's name: `cuda` where Ray gives every process a GPU of its own, otherwise as in the options.

    Raises:
        ValueError: there are fewer GPUs than processes.
    """
    gpus = int(ray.cluster_resources().get("GPU", 0))
    if options.device == "cuda" and gpus < options.num_workers:
        raise ValueError(
            f"device is cuda for num_workers {options.num_workers}, but Ray has {gpus} GPU(s): choose cpu."
        )
    if options.device != AUTO:
        return options.device
    is_mps = pick_device().type == "mps"  # Ray may count it as a GPU
    if gpus >= options.num_workers and not is_mps:
        return "cuda"
    return "mps" if is_mps and options.num_workers == 1 else "cpu"


def _restore(options: ClassifierOptions, encoder: EncoderConfig, state: dict[str, torch.Tensor]) -> RewardClassifier:
    trunk = trunk_without_weights(encoder.trunk, encoder.trunk_width)
    classifier = RewardClassifier(options.image_keys, num_classes=options.num_classes, encoder=encoder, trunk=trunk)
    classifier.network.load_state_dict(state)
    return classifier


def _score(classifier: RewardClassifier, held_out: ray.data.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Probability of success and class of every held-out image."""
    frames = LabelledFrames(held_out)
    starts = range(0, len(frames.labels), EVALUATION_BATCH)
    logits = torch.cat([classifier.logits(frames.whole(start)).cpu() for start in starts])
    return success_probability(logits).numpy(), frames.labels.numpy()


def _finish(
    options: ClassifierOptions,
    classifier: RewardClassifier,
    held_out: ray.data.Dataset,
    probabilities: np.ndarray,
    is_success: np.ndarray,
    history: list[dict[str, float]],
) -> TrainedClassifier:
    """Chooses the threshold and writes the folder atomically."""
    threshold = choose_threshold(probabilities, is_success, options.max_false_positive_rate)
    classifier.threshold = threshold.value
    metrics = held_out_metrics(probabilities, is_success, threshold)
    new = options.save_dir.with_name(options.save_dir.name + ".new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    plot_report(new / REPORT_FILE, probabilities, is_success, threshold.value, history)
    worst = most_wrong(probabilities, is_success)
    rows = held_out.take_all()
    plot_most_wrong(new / MOST_WRONG_FILE, [rows[i] for i in worst], probabilities[worst].tolist(), options.image_keys)
    described = {name: str(value) if isinstance(value, Path) else value for name, value in options.flat().items()}
    episodes = sorted({row["_episode"] for row in rows})
    classifier.save(
        new, {"promise": asdict(threshold), "metrics": metrics, "held_out_episodes": episodes, "options": described}
    )
    if options.save_dir.exists():
        options.save_dir.rmdir()
    new.rename(options.save_dir)
    return TrainedClassifier(classifier, threshold, metrics)
