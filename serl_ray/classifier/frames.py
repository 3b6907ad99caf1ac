"""Labelled images from pickles, Parquet episodes, PNGs or JPEGs, read by Ray Data and checked."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import ray.data

from serl_ray.data.demos import PARQUET
from serl_ray.data.formats.parquet import read_segments
from serl_ray.data.formats.pickle_fields import array_of, ends_episode
from serl_ray.data.observations import image_fix
from serl_ray.data.replay.maps import FrameEncoder
from serl_ray.files.images import decode
from serl_ray.files.paths import PICKLES, absolute
from serl_ray.files.pickles import load_pickle

IMAGE_FILES = (".png", ".jpg", ".jpeg")
NOTES = ("_label", "_episode", "_source", "_is_hard", "_sizes")
"""Columns of a row besides the cameras; `_sizes` holds the image size of each camera as text."""
READ_BLOCKS = 64
"""Largest number of read tasks, because an image is too small for its own task."""


class FrameError(ValueError):
    """A fault in a file of labelled images. The message names the file, the image and the key."""


@dataclass(frozen=True)
class Source:
    """Labelled images.

    Attributes:
        folder: folder, pattern or file of pickles (lists of `{"observations": {camera: (H, W, 3) uint8}}`, with or
            without `labels` and `episode`), Parquet files of episodes, and PNGs or JPEGs. A PNG or JPEG is in a folder
            with the name of its camera, in folders that name its episode; with one camera the camera's folder may be
            left out.
        label: label of the images: 0 for failure, num_classes - 1 for success.
        is_hard: whether the images are reviewed mistakes, which are never held out.
    """

    folder: str
    label: int
    is_hard: bool = False


def read_frames(sources: Sequence[Source], image_keys: Sequence[str], num_classes: int = 2) -> ray.data.Dataset:
    """A lazy dataset with one row per step: images (H, W, 3) uint8 by camera, and `NOTES`.

    Raises:
        FileNotFoundError: a folder does not exist or has no images.
        FrameError: a file is in two sources; or one does not fit, raised when the data are read (see `plain_errors`).
    """
    files = [(source, path) for source in sources for path in image_files(source.folder, image_keys)]
    _check_apart(files)
    items = [
        {"path": str(path), "folder": source.folder, "label": source.label, "is_hard": source.is_hard}
        for source, path in files
    ]
    dataset = ray.data.from_items(items, override_num_blocks=min(len(items), READ_BLOCKS))
    dataset.context.execution_options.preserve_order = True
    return dataset.flat_map(partial(_read_rows, image_keys=tuple(image_keys), num_classes=num_classes))


def encode_frames(dataset: ray.data.Dataset, encoding: Mapping[str, Any]) -> ray.data.Dataset:
    """The dataset with a frozen trunk's maps (N, h, w, C) float16 instead of images; see `FrameEncoder`."""
    return dataset.map_batches(partial(_encode, encoding=dict(encoding)), batch_size=32)


def image_files(folder: str, image_keys: Sequence[str]) -> list[Path]:
    """The files of images under a folder, or those that a pattern matches; of PNGs and JPEGs only those of the first
    camera."""
    root = absolute(folder)
    found = [Path(name) for name in ([root] if os.path.exists(root) else sorted(glob.glob(root, recursive=True)))]
    if not found:
        raise FileNotFoundError(f"{folder}: there is no such folder, and no file that matches.")
    inside = [path for each in found for path in (sorted(each.rglob("*")) if each.is_dir() else [each])]
    files = [path for path in inside if path.suffix.lower() in (*PICKLES, PARQUET, *IMAGE_FILES)]
    others = image_keys[1:]
    files = [path for path in files if not (path.suffix.lower() in IMAGE_FILES and path.parent.name in others)]
    if not files:
        raise FileNotFoundError(f"{folder}: no images there. Put .pkl, .parquet, .png or .jpg files into it.")
    return files


def _check_apart(files: Sequence[tuple[Source, Path]]) -> None:
    """Raises FrameError for a file that is in two sources, whose images would have two labels."""
    first: dict[Path, Source] = {}
    for source, path in files:
        other = first.setdefault(path, source)
        if other is not source:
            raise FrameError(
                f"{path} is named twice, by {other.folder} and by {source.folder}, and each file has one label. Name "
                "two folders, or two patterns, such as --success_dir 'classifier_data/*success*.pkl' --failure_dir "
                "'classifier_data/*failure*.pkl'."
            )


def _encode(batch: dict[str, np.ndarray], encoding: Mapping[str, Any]) -> dict[str, np.ndarray]:
    return FrameEncoder(**encoding)(batch)


def _read_rows(item: dict[str, Any], image_keys: tuple[str, ...], num_classes: int) -> Iterator[dict[str, Any]]:
    path, label, suffix = item["path"], item["label"], Path(item["path"]).suffix.lower()
    try:
        if suffix in PICKLES:
            rows = _from_pickle(path, label, image_keys)
        elif suffix == PARQUET:
            rows = _from_parquet(path, label, image_keys)
        else:
            rows = _from_image(path, item["folder"], label, image_keys)
        for row in rows:
            _check(row, label, image_keys, num_classes)
            sizes = ", ".join(f"{key} {'x'.join(map(str, row[key].shape[:2]))}" for key in image_keys)
            yield row | {"_is_hard": item["is_hard"], "_sizes": sizes}
    except FrameError:
        raise
    except (ValueError, OSError) as error:
        raise FrameError(str(error) if path in str(error) else f"{path}: {error}") from error


def _row(images: Mapping[str, Any], label: Any, episode: str, source: str) -> dict[str, Any]:
    return {**images, "_label": label, "_episode": episode, "_source": source}


def _from_pickle(path: str, label: int, image_keys: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    items = load_pickle(path)
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise FrameError(f"{path}: expected a list of dicts with 'observations', found {type(items).__name__}.")
    for (index, item), episode in zip(enumerate(items), _episodes(path, items), strict=True):
        source = f"{path}: image {index}"
        observations = item.get("observations")
        if not isinstance(observations, dict):
            raise FrameError(
                f"{source}: expected 'observations', a dict of cameras, found {', '.join(map(str, item)) or 'nothing'}."
            )
        images = {key: _without_time(_camera(observations, key, source)) for key in image_keys}
        yield _row(images, item.get("labels", label), episode, source)


def _episodes(path: str, items: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """The name of each item's episode: its own; or of the file, with a number where the items are transitions.

    A transition that ends its episode, or is not continued by the next item, is the last one of its number.
    """
    number = 0
    for index, item in enumerate(items):
        is_transition = "next_observations" in item
        yield str(item.get("episode", f"{path}#{number}" if is_transition else path))
        following = items[index + 1] if index + 1 < len(items) else {}
        number += is_transition and (ends_episode(item) or not _continues(item, following))


def _continues(transition: Mapping[str, Any], following: Mapping[str, Any]) -> bool:
    """True if a transition's next observation is the observation of the next item."""
    after, before = transition["next_observations"], following.get("observations")
    if not (isinstance(after, Mapping) and isinstance(before, Mapping)):
        return False
    return after.keys() == before.keys() and all(
        np.array_equal(array_of(after[key]), array_of(before[key])) for key in after
    )


def _from_parquet(path: str, label: int, image_keys: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    for segment in read_segments(path, image_keys):
        for step in range(len(segment) + 1):
            images = {key: segment.observations[key][step] for key in image_keys}
            source = f"{path}: episode {segment.episode}, step {segment.first_step + step}"
            yield _row(images, label, str(segment.episode), source)


def _from_image(path: str, folder: str, label: int, image_keys: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    file, first_camera = Path(path), image_keys[0]
    has_camera_folder = file.parent.name == first_camera
    if not has_camera_folder and len(image_keys) > 1:
        raise FrameError(
            f"{path}: with several cameras, put each image into a folder of its camera's name, such as "
            f"{folder}/{first_camera}."
        )
    camera_folder = file.parent
    above = camera_folder.parent if has_camera_folder else camera_folder
    files = {key: above / key / file.name if has_camera_folder else file for key in image_keys}
    if missing := [str(other) for other in files.values() if not other.is_file()]:
        raise FrameError(f"{path}: {missing[0]} is missing. Every camera needs an image of the same name.")
    episode = os.path.relpath(above, absolute(folder))
    images = {key: _decode(file) for key, file in files.items()}
    yield _row(images, label, path if episode == "." else f"{folder}: {episode}", path)


def _decode(path: Path) -> np.ndarray:
    try:
        return decode(path.read_bytes())
    except ValueError as error:
        raise FrameError(f"{path}: {error} Copy it again, or delete it.") from error


def _camera(observations: Mapping[str, Any], key: str, source: str) -> Any:
    if key not in observations:
        raise FrameError(f"{source}: there is no camera {key!r}; it has {', '.join(map(str, observations)) or 'none'}.")
    return observations[key]


def _without_time(image: Any) -> Any:
    """An image without the time axis of length 1 that the original's pickles have."""
    return image[0] if np.ndim(image) == 4 and len(image) == 1 else image


def _found(image: Any) -> str:
    if not isinstance(image, np.ndarray):
        return f"{type(image).__name__}. Give np.asarray(image)."
    return f"{image.shape} {image.dtype}. {image_fix(image.shape, image.dtype)}".rstrip()


def _check(row: dict[str, Any], folder_label: int, image_keys: tuple[str, ...], num_classes: int) -> None:
    source = row["_source"]
    for key in image_keys:
        image = row[key]
        if (
            not isinstance(image, np.ndarray)
            or image.dtype != np.uint8
            or image.ndim != 3
            or image.shape[2] != 3
            or not image.size
        ):
            raise FrameError(f"{source}: camera {key!r}: expected a uint8 array (H, W, 3), found {_found(image)}")
    label = np.asarray(row["_label"])
    if label.size != 1 or label.item() not in range(num_classes):
        raise FrameError(f"{source}: label: expected a number from 0 to {num_classes - 1}, found {row['_label']!r}.")
    row["_label"] = int(label.item())
    if num_classes == 2 and row["_label"] != folder_label:
        raise FrameError(
            f"{source}: label: {row['_label']} in a folder of label {folder_label} (0 failure, 1 success). "
            "Move the image, or correct its label."
        )
