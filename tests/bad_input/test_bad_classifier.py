"""Classifiers, their frames and files of weights that are wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from cases import Case, assert_refused, dump, table
from safetensors.torch import save_file
from sealing import reseal

from serl_ray.classifier.frames import FrameError, Source, image_files, read_frames
from serl_ray.data.reading import plain_errors
from serl_ray.files.images import encode
from serl_ray.networks.classifier import CLASSIFIER_FILE, CLASSIFIER_TENSORS, RewardClassifier
from serl_ray.networks.config import EncoderConfig
from serl_ray.networks.pretrained import build_trunk


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> Path:
    """The folder of a small classifier."""
    folder = tmp_path_factory.mktemp("sound")
    RewardClassifier(["front"], encoder=EncoderConfig(trunk_width=8, image_size=(32, 32)), device="cpu").save(folder)
    return folder


def described(**changes: Any) -> Callable[[Path], Any]:
    def change(folder: Path) -> None:
        path = folder / CLASSIFIER_FILE
        path.write_text(
            json.dumps({k: v for k, v in {**json.loads(path.read_text()), **changes}.items() if v is not None})
        )
        reseal(folder)

    return change


def emptied(folder: Path) -> None:
    save_file({}, folder / CLASSIFIER_TENSORS)
    reseal(folder)


def flipped(folder: Path) -> None:
    content = bytearray((folder / CLASSIFIER_TENSORS).read_bytes())
    content[-1] ^= 1
    (folder / CLASSIFIER_TENSORS).write_bytes(content)


def unsealed(folder: Path) -> None:
    path = folder / CLASSIFIER_FILE
    path.write_text(path.read_text().replace('"threshold": 0.5', '"threshold": 0.7'))


FOLDERS = [
    Case(
        "no description",
        lambda folder: (folder / CLASSIFIER_FILE).unlink(),
        FileNotFoundError,
        "holds no reward classifier",
    ),
    Case("no tensors", lambda folder: (folder / CLASSIFIER_TENSORS).unlink(), FileNotFoundError, "are not both there"),
    Case(
        "no JSON", lambda folder: (folder / CLASSIFIER_FILE).write_text("{"), ValueError, r"classifier\.json: not JSON"
    ),
    Case(
        "a list",
        lambda folder: (folder / CLASSIFIER_FILE).write_text("[]"),
        ValueError,
        r"classifier\.json: no format_version",
    ),
    Case("newer", described(format_version=9), ValueError, "has format version 9; this release reads 3"),
    Case(
        "no threshold", described(threshold=None), ValueError, "does not describe a classifier .KeyError: 'threshold'"
    ),
    Case("a threshold of words", described(threshold="high"), ValueError, "does not describe a classifier"),
    Case("no cameras", described(image_keys=[]), ValueError, "needs at least one camera: image_keys is empty"),
    Case("unknown sizes", described(encoder={"depth": 3}), ValueError, "does not describe a classifier .*'depth'"),
    Case(
        "other sizes",
        described(hidden_dim=7),
        ValueError,
        "classifier.safetensors is not what classifier.json describes",
    ),
    Case("no tensor", emptied, ValueError, "classifier.safetensors is not what classifier.json describes"),
    Case(
        "a flipped bit",
        flipped,
        ValueError,
        "classifier.safetensors is not what classifier.json describes, by its SHA-256",
    ),
    Case("a threshold of somebody", unsealed, ValueError, r"classifier\.json is damaged: it is not what was written"),
    Case(
        "cut off",
        lambda folder: (folder / CLASSIFIER_TENSORS).write_bytes(b"\0" * 9),
        ValueError,
        "classifier.safetensors is not",
    ),
]


@table(FOLDERS)
def test_a_wrong_folder_is_refused(case, tmp_path, sound):
    for path in sound.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    case.do(tmp_path)
    with pytest.raises(case.error, match=case.says) as caught:
        RewardClassifier.load(tmp_path, device="cpu")
    assert type(caught.value) is case.error and str(tmp_path) in str(caught.value)


def weights(name: str, file: str, write: Callable[[Path], Any], says: str) -> Case:
    def do(folder: Path) -> None:
        write(folder / file)
        build_trunk(str(folder / file))

    return Case(name, do, ValueError, says)


TRUNKS = [
    Case(
        "no file",
        lambda _: build_trunk("resnet10"),
        FileNotFoundError,
        "no trunk weights file resnet10. Give .* or random, efficientnet",
    ),
    Case("a folder", lambda folder: build_trunk(str(folder)), FileNotFoundError, "There is no trunk weights file"),
    weights("of numpy", "a.npz", lambda path: path.write_bytes(b""), r"trunk weights are \.pkl .*, not '\.npz'"),
    weights(
        "no safetensors",
        "a.safetensors",
        lambda path: path.write_bytes(b"hello"),
        r"a\.safetensors: cut off",
    ),
    weights(
        "no torch file", "a.pt", lambda path: path.write_bytes(b"hello"), r"a\.pt: cut off, or not a file of tensors"
    ),
    weights("no pickle", "a.pkl", lambda path: path.write_bytes(b"hello"), r"a\.pkl: cut off, or not a pickle"),
    weights("a list", "a.pkl", lambda path: dump(path, [1, 2]), r"a\.pkl: expected a dict of parameters, found a list"),
    weights(
        "words", "a.pkl", lambda path: dump(path, {"conv_init": {"kernel": "x"}}), r"a\.pkl does not hold the weights"
    ),
    weights(
        "a tensor", "a.pt", lambda path: torch.save(torch.ones(3), path), "expected a dict of tensors .*found a Tensor"
    ),
    weights("numbers", "a.pt", lambda path: torch.save({"step": 3}, path), "expected a dict of tensors by name"),
    weights(
        "another net's",
        "a.pt",
        lambda path: torch.save({"fc": torch.ones(3)}, path),
        "does not hold the weights of this",
    ),
]


@table(TRUNKS)
def test_wrong_weights_are_refused(case, tmp_path):
    with pytest.raises(case.error, match=case.says) as caught:
        case.do(tmp_path)
    assert type(caught.value) is case.error


def frames(name: str, write: Callable[[Path], Any], says: str, keys: tuple[str, ...] = ("front",)) -> Case:
    def do(folder: Path) -> None:
        write(folder)
        with plain_errors(FrameError):
            read_frames([Source(str(folder), 1)], keys, 2).take_all()

    return Case(f"frames: {name}", do, FrameError, says)


def pickled(name: str, value: Any, says: str) -> Case:
    return frames(name, lambda folder: dump(folder / "frames.pkl", value), rf"frames\.pkl: {says}")


def picture(folder: Path) -> bytes:
    return encode(np.zeros((30, 30, 3), np.uint8))


IMAGE = np.zeros((4, 4, 3), np.uint8)
FRAMES = [
    Case(
        "no folder",
        lambda folder: image_files(str(folder / "a"), ("front",)),
        FileNotFoundError,
        "there is no such folder",
    ),
    Case(
        "no frames", lambda folder: image_files(str(folder), ("front",)), FileNotFoundError, "no images there. Put .pkl"
    ),
    pickled("a dict", {"observations": {}}, "expected a list of dicts"),
    pickled("another camera", [{"observations": {"side": IMAGE}}], "image 0: there is no camera 'front'; it has side"),
    pickled(
        "floats", [{"observations": {"front": IMAGE / 255}}], r"image 0: camera 'front': .*found \(4, 4, 3\) float64"
    ),
    pickled(
        "label 7",
        [{"observations": {"front": IMAGE}, "labels": 7}],
        "image 0: label: expected a number from 0 to 1, found 7",
    ),
    pickled("label of words", [{"observations": {"front": IMAGE}, "labels": "yes"}], "image 0: label: .*found 'yes'"),
    pickled(
        "wrong folder", [{"observations": {"front": IMAGE}, "labels": 0}], "image 0: label: 0 in a folder of label 1"
    ),
    frames("no picture", lambda folder: (folder / "a.png").write_bytes(b"x"), r"a\.png: not a PNG or JPEG image"),
    frames("half a picture", lambda f: (f / "a.png").write_bytes(picture(f)[:-30]), r"a\.png: the image is cut off"),
    frames("no Parquet", lambda folder: (folder / "a.parquet").write_bytes(b"x" * 20), r"a\.parquet: cut off"),
    frames(
        "lone picture",
        lambda f: (f / "a.png").write_bytes(picture(f)),
        "put each image into a folder of its camera",
        ("front", "side"),
    ),
]


@pytest.mark.usefixtures("shared_ray")
@table(FRAMES)
def test_wrong_frames_are_refused(case, tmp_path):
    assert_refused(case, tmp_path)
