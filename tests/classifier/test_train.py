"""Whole trainings: the classifier can be trusted, says so, and comes back from disk as it was."""

import json
import logging
from pathlib import Path

import numpy as np
import pytest
from classifier.frame_files import frame, items, write, write_folders
from hil_serl_files import write_lab
from PIL import Image

from serl_ray.classifier.config import ClassifierOptions
from serl_ray.classifier.frames import FrameError
from serl_ray.classifier.train import read_and_split, train_classifier
from serl_ray.cli.train_classifier import summary
from serl_ray.files.pickles import load_pickle
from serl_ray.networks.classifier import RewardClassifier
from serl_ray.utils.options import OptionError

FEW = {"num_epochs": 6, "batch_size": 16, "lr": 1e-3, "augment_crops": 2, "held_out": 0.34}


pytestmark = pytest.mark.usefixtures("shared_ray")


def options(root, name, **given):
    folders = {"success_dir": str(root / "success"), "failure_dir": str(root / "failure")}
    return ClassifierOptions(**{**folders, "save_dir": root / name, **FEW, **given})


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_folders(tmp_path_factory.mktemp("frames"))


@pytest.fixture(scope="module")
def outcome(root):
    return train_classifier(options(root, "one"))


def fresh(n=40):
    rng = np.random.default_rng(99)
    is_success = np.arange(n) % 2 == 1
    return {"image": np.stack([frame(rng, success) for success in is_success])}, is_success


@pytest.mark.slow
def test_it_tells_success_from_failure(outcome):
    observations, is_success = fresh()
    _, verdicts = outcome.classifier.predict_success(observations)
    assert np.array_equal(verdicts, is_success)
    assert outcome.metrics["auc"] == 1.0


@pytest.mark.slow
def test_the_folder_holds_all_that_it_takes(root, outcome):
    described = json.loads((root / "one" / "classifier.json").read_text())
    assert described["image_keys"] == ["image"] and described["threshold"] == outcome.threshold.value
    assert described["promise"]["failures"] == outcome.threshold.failures
    assert len(described["trunk_fingerprint"]) == 16 and described["options"]["seed"] == 0
    assert {path.name for path in (root / "one").iterdir()} == {
        "classifier.safetensors", "classifier.json", "report.png", "most_wrong.png"
    }  # fmt: skip
    for picture in ("report.png", "most_wrong.png"):
        assert np.asarray(Image.open(root / "one" / picture)).std() > 5


@pytest.mark.slow
def test_held_out_episodes_are_in_neither_loss_nor_doubt(root, outcome):
    described = json.loads((root / "one" / "classifier.json").read_text())
    assert len(described["held_out_episodes"]) == 2
    assert described["metrics"]["held_out_failures"] == 2 * 6


@pytest.mark.slow
def test_a_loaded_classifier_predicts_the_same(root, outcome):
    observations, _ = fresh()
    loaded = RewardClassifier.load(root / "one", device="cpu")
    for mine, theirs in zip(
        outcome.classifier.predict_success(observations), loaded.predict_success(observations), strict=True
    ):
        assert np.array_equal(mine, theirs)


@pytest.mark.slow
def test_few_frames_promise_nothing(outcome):
    assert not outcome.threshold.is_promised  # 12 failures bound a rate by 0.22 at best


@pytest.mark.slow
def test_two_workers_come_to_the_same(real_workers, root):  # forked ones may draw the same names for their tasks
    two = train_classifier(options(root, "two", num_workers=2))
    observations, is_success = fresh()
    assert two.metrics["auc"] == 1.0
    assert np.array_equal(two.classifier.predict_success(observations)[1], is_success)


@pytest.mark.slow
def test_a_trunk_can_be_trained(tmp_path):
    root = write_folders(tmp_path, episodes=3, frames=1)
    trained = train_classifier(options(root, "trunk", frozen=False, num_epochs=1, batch_size=4))
    conv = trained.classifier.network.encoder.trunk.conv1.weight
    untrained = RewardClassifier(["image"], device="cpu").network.encoder.trunk.conv1.weight
    assert not np.array_equal(conv.detach().numpy(), untrained.detach().numpy())


@pytest.mark.slow
def test_files_of_the_original_train_a_classifier_from_their_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(write_lab(tmp_path))
    patterns = {f"{kind}_dir": f"classifier_data/*{kind}*.pkl" for kind in ("success", "failure")}
    few = {"num_epochs": 6, "batch_size": 16, "lr": 1e-3, "augment_crops": 1, "trunk": "resnet10_params.pkl"}
    classifier = ClassifierOptions(**patterns, **few, image_keys=("side_classifier",), save_dir="classifier")
    assert train_classifier(classifier).metrics["auc"] == 1.0
    held_out = json.loads(Path("classifier/classifier.json").read_text())["held_out_episodes"]
    assert 2 <= len(held_out) < 20, "whole episodes are held out, of the ten of each file"
    with pytest.raises(FileNotFoundError, match="no trunk weights file .*nowhere.pkl"):
        train_classifier(classifier.replace(trunk="nowhere.pkl", save_dir=Path("other")))


@pytest.mark.slow
def test_three_classes(tmp_path):
    rng = np.random.default_rng(1)
    for episode in range(4):
        bright = [
            {"observations": {"image": np.full((24, 24, 3), level, np.uint8)}}
            for level in (20, 120, 230)
            for _ in range(4)
        ]
        for index, item in enumerate(bright):
            item["labels"] = index // 4
            item["observations"]["image"] = item["observations"]["image"] + rng.integers(
                0, 20, (24, 24, 3), dtype=np.uint8
            )
        write(tmp_path / "success" / f"{episode}.pkl", bright[8:])
        write(tmp_path / "failure" / f"{episode}.pkl", bright[:8])
        for item in bright:
            item["episode"] = f"e{episode}"
    outcome = train_classifier(options(tmp_path, "out", num_classes=3, batch_size=18, num_epochs=10, lr=3e-3))
    assert outcome.metrics["auc"] >= 0.99
    logits = outcome.classifier.logits({"image": np.full((24, 24, 3), 130, np.uint8)})
    assert logits.shape == (3,) and int(logits.argmax()) == 1


def test_hard_negatives_are_trained_on_and_never_held_out(tmp_path, caplog):
    root = write_folders(tmp_path, episodes=3, frames=3)
    rng = np.random.default_rng(5)
    write(root / "hard" / "mistakes.pkl", items(rng, 4, 0, "mistakes"))
    with caplog.at_level(logging.INFO):
        frames = read_and_split(options(root, "out", hard_negatives=(str(root / "hard"),)))
    held_out = frames.held_out.take_all()
    assert frames.num_train == 16 and len(held_out) == 6 and not any(row["_is_hard"] for row in held_out)
    assert any(
        "training: 16 images of 3 episodes, 10 of class 0, 6 of class 1" in record.message for record in caplog.records
    )


def test_frames_of_two_sizes_are_refused(tmp_path):
    root = write_folders(tmp_path, episodes=2, frames=1)
    write(root / "success" / "z.pkl", [{"observations": {"image": np.zeros((30, 24, 3), np.uint8)}}])
    with pytest.raises(FrameError, match="z.pkl: image 0: images are image 30x24, but in .* image 24x24"):
        train_classifier(options(root, "out"))
    assert not (root / "out").exists()


def test_few_successes_and_squeezed_images_are_said_before_the_training(tmp_path, caplog):
    root = write_folders(tmp_path, episodes=3, frames=1)
    for path in root.rglob("*.pkl"):
        write(
            path, [item | {"observations": {"image": item["observations"]["image"][:20]}} for item in load_pickle(path)]
        )
    with caplog.at_level(logging.WARNING):
        read_and_split(options(root, "out"))
    assert "2 success images to train on and 1 held out are few" in caplog.text
    assert "image 20x24 (height x width) are resized to 128x128" in caplog.text


@pytest.mark.slow
def test_the_summary_counts_the_successes_that_recall_is_of(root, outcome):
    lines = summary(options(root, "one"), outcome)
    assert "recall 1.000 of 12 success images." in lines[0] and "too few to know" in lines[1]


def test_one_episode_is_refused(tmp_path):
    root = write_folders(tmp_path, episodes=1)
    with pytest.raises(ValueError, match="of one episode"):
        train_classifier(options(root, "out"))
    assert not (root / "out").exists()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"batch_size": 1}, "batch_size is 1; it must be at least 2"),
        ({"held_out": 0.0}, "held_out is 0.0"),
        ({"max_false_positive_rate": 1.5}, "max_false_positive_rate is 1.5"),
        ({"image_keys": ()}, "image_keys is empty"),
        ({"num_classes": 1}, "num_classes is 1"),
    ],
)
def test_options_out_of_range_are_refused(tmp_path, given, said):
    with pytest.raises(OptionError, match=said):
        options(tmp_path, "out", **given)


@pytest.mark.slow
def test_a_classifier_is_not_overwritten(root, outcome):
    with pytest.raises(FileExistsError, match="exists and is not empty"):
        train_classifier(options(root, "one"))
