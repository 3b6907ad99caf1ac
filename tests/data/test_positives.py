"""Images that await review: what is written is read again, with the operator's word on it."""

from __future__ import annotations

import numpy as np
import pytest

from serl_ray.data.positives import LABELLABLE_EPISODES, LABELLABLE_STEPS, NOTES_FILE, PositivesWriter, read_positives
from serl_ray.files.images import decode

CAMERAS = ("front", "wrist")


def observation(level):
    return {key: np.full((4, 4, 3), level + 100 * (key == "wrist"), np.uint8) for key in (*CAMERAS, "side")}


def play(writer, probabilities, episode=None, threshold=0.5):
    """An episode in which each step has a probability."""
    writer.begin()
    if episode is not None:
        writer.number(episode)
    for step, probability in enumerate(probabilities, start=1):
        writer.add(step, observation(step), probability, probability >= threshold)


def found(folder):
    return {(positive.step, positive.probability, positive.pressed) for positive in read_positives(folder)}


@pytest.fixture
def writer(tmp_path):
    return PositivesWriter(tmp_path, CAMERAS)


def test_what_is_called_a_success_is_read_again_with_its_probability(writer, tmp_path):
    play(writer, [0.1, 0.7, 0.2, 0.9])
    play(writer, [0.6])
    positives = read_positives(tmp_path)
    assert [(p.step, p.probability) for p in positives] == [("0002", 0.7), ("0004", 0.9), ("0001", 0.6)]
    assert len({p.episode for p in positives}) == 2 and all(p.cameras == CAMERAS for p in positives)
    image = decode(positives[0].path(tmp_path, "wrist").read_bytes())
    assert image.shape == (4, 4, 3) and (image == 102).all()


def test_a_veto_is_of_all_images_of_its_episode_and_of_no_other(writer, tmp_path):
    play(writer, [0.7, 0.1, 0.9], episode=1)
    play(writer, [0.8], episode=2)
    writer.label(1, 3, "veto")
    assert found(tmp_path) == {("0001", 0.7, "veto"), ("0003", 0.9, "veto"), ("0001", 0.8, None)}


def test_a_veto_of_nothing_leaves_nothing(writer, tmp_path):
    play(writer, [0.1], episode=1)
    writer.label(1, 1, "veto")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("pressed", ["success", "failure"])
def test_a_label_keeps_the_frame_that_it_is_of(writer, tmp_path, pressed):
    play(writer, [0.1, 0.2, 0.3, 0.9], episode=1)
    play(writer, [0.1], episode=2)
    writer.label(1, 2, pressed)
    writer.label(1, 3, pressed)
    assert found(tmp_path) == {("0002", 0.2, pressed), ("0004", 0.9, None)}, "an episode has one label"
    [labelled, _] = read_positives(tmp_path)
    assert (decode(labelled.path(tmp_path, "front").read_bytes()) == 2).all()


def test_a_label_of_a_positive_writes_its_image_once(writer, tmp_path):
    play(writer, [0.9], episode=1)
    [image] = tmp_path.rglob("front/*.png")
    before = image.stat().st_mtime_ns
    writer.label(1, 1, "failure")
    assert found(tmp_path) == {("0001", 0.9, "failure")} and image.stat().st_mtime_ns == before


def test_an_episode_from_long_ago_or_without_a_number_has_no_label(writer, tmp_path):
    for episode in range(1, LABELLABLE_EPISODES + 2):
        play(writer, [0.1], episode=episode)
    writer.label(1, 1, "success")
    play(writer, [0.1])
    writer.label(LABELLABLE_EPISODES + 2, 1, "success")
    assert found(tmp_path) == set()
    writer.label(2, 1, "success")
    assert found(tmp_path) == {("0001", 0.1, "success")}


def test_the_memory_for_labels_is_bounded(writer, tmp_path):
    play(writer, [0.1] * (LABELLABLE_STEPS + 2), episode=1)
    writer.label(1, 2, "success")
    assert found(tmp_path) == set()


def test_notes_that_are_cut_off_or_wrong_say_nothing(writer, tmp_path):
    play(writer, [0.9, 0.8])
    [notes] = tmp_path.rglob(NOTES_FILE)
    wrong = ['{"step": "1", "pressed": "veto"}', '{"step": 1, "pressed": "maybe"}', '{"step": 1, "probability": "x"}']
    wrong.append('{"step": 1, "probability": NaN}')
    notes.write_text("\n".join([*notes.read_text().splitlines(), *wrong, "[1]", '{"step": 2, "press']))
    assert found(tmp_path) == {("0001", 0.9, None), ("0002", 0.8, None)}


def test_images_without_notes_and_files_that_are_no_images(tmp_path):
    for name in ("1/front/0003.png", "1/front/.0004.png.new", "1/front/readme.txt", "front/0001.png", "0001.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    assert found(tmp_path) == {("0003", None, None)}
    assert read_positives(tmp_path / "nothing") == []


def test_a_full_disk_is_a_warning(tmp_path, caplog):
    (tmp_path / "file").write_text("")
    play(PositivesWriter(tmp_path / "file", CAMERAS), [0.9])
    assert "was not written whole" in caplog.text and "the run continues" in caplog.text
