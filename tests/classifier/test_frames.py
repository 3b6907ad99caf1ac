"""Labelled frames come in from pickles, episodes and pictures alike, and what does not fit is named."""

import numpy as np
import pytest
from classifier.frame_files import SIZE, frame, items, write
from data.stamped import stamped_segment
from hil_serl_files import write_classifier_data
from PIL import Image

from serl_ray.classifier.frames import FrameError, Source, encode_frames, read_frames
from serl_ray.data.formats.parquet import write_episode
from serl_ray.data.reading import plain_errors

pytestmark = pytest.mark.usefixtures("shared_ray")


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def rows(folder, label=1, image_keys=("image",), num_classes=2):
    with plain_errors(FrameError):
        return read_frames([Source(str(folder), label)], image_keys, num_classes).take_all()


def message(folder, **options):
    with pytest.raises(FrameError) as caught:
        rows(folder, **options)
    return str(caught.value)


def test_a_pickle_with_labels_and_one_without_give_the_same_rows(tmp_path, rng):
    frames = items(rng, 3, 1)
    write(tmp_path / "a" / "frames.pkl", frames)
    write(tmp_path / "b" / "frames.pkl", [{"observations": item["observations"]} for item in frames])
    first, second = rows(tmp_path / "a"), rows(tmp_path / "b")
    assert [row["_label"] for row in first] == [row["_label"] for row in second] == [1, 1, 1]
    for row, other, item in zip(first, second, frames, strict=True):
        assert np.array_equal(row["image"], item["observations"]["image"])
        assert np.array_equal(row["image"], other["image"])


def test_frames_of_a_pickle_are_one_episode_unless_they_say_otherwise(tmp_path, rng):
    write(tmp_path / "a.pkl", items(rng, 2, 1))
    write(tmp_path / "b.pkl", items(rng, 1, 1, "x") + items(rng, 1, 1, "y"))
    assert [row["_episode"] for row in rows(tmp_path)] == [str(tmp_path / "a.pkl")] * 2 + ["x", "y"]


def test_the_time_axis_of_the_original_is_dropped(tmp_path, rng):
    picture = frame(rng, True)
    write(tmp_path / "a.pkl", [{"observations": {"image": picture[None]}}])
    assert np.array_equal(rows(tmp_path)[0]["image"], picture)


def test_every_observation_of_an_episode_is_a_frame(tmp_path):
    segment = stamped_segment(3, 0, 4, done=True)
    [camera] = [key for key, rows in segment.observations.items() if rows.ndim == 4]
    write_episode(tmp_path, segment)
    found = rows(tmp_path, image_keys=(camera,))
    assert np.array_equal(np.stack([row[camera] for row in found]), segment.observations[camera])
    assert {row["_episode"] for row in found} == {segment.episode}


def test_pictures_of_several_cameras_lie_in_their_folders(tmp_path, rng):
    pictures = {}
    for episode in ("e1", "e2"):
        for key in ("image", "wrist"):
            (tmp_path / episode / key).mkdir(parents=True)
            pictures[episode, key] = frame(rng, True)
            Image.fromarray(pictures[episode, key]).save(tmp_path / episode / key / "0001.png")
    found = rows(tmp_path, image_keys=("image", "wrist"))
    assert [row["_episode"].rsplit(" ", 1)[1] for row in found] == ["e1", "e2"]
    for row, episode in zip(found, ("e1", "e2"), strict=True):
        assert all(np.array_equal(row[key], pictures[episode, key]) for key in ("image", "wrist"))


def test_loose_pictures_are_an_episode_each(tmp_path, rng):
    for index in range(3):
        Image.fromarray(frame(rng, True)).save(tmp_path / f"{index}.png")
    assert len({row["_episode"] for row in rows(tmp_path)}) == 3


def test_encoded_frames_are_maps_of_every_crop(tmp_path, rng):
    write(tmp_path / "a.pkl", items(rng, 3, 1))
    frames = read_frames([Source(str(tmp_path), 1)], ("image",))
    maps = encode_frames(frames, {"image_keys": ("image",), "trunk": "random", "crops": 2}).take_all()
    assert maps[0]["image"].shape == (2, 4, 4, 512) and maps[0]["image"].dtype == np.float16
    assert [row["_source"] for row in maps] == [row["_source"] for row in frames.take_all()]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"observations": {}}, "expected a list of dicts"),
        ([{"frames": 1}], "expected 'observations'"),
        ([{"observations": {"side": np.zeros((4, 4, 3), np.uint8)}}], "there is no camera 'image'; it has side"),
        (
            [{"observations": {"image": np.zeros((4, 4, 3))}}],
            "expected a uint8 array (H, W, 3), found (4, 4, 3) float64",
        ),
        ([{"observations": {"image": np.zeros((4, 4), np.uint8)}}], "found (4, 4) uint8"),
        ([{"observations": {"image": np.zeros((4, 4, 4), np.uint8)}}], "found (4, 4, 4) uint8"),
        ([{"observations": {"image": np.zeros((0, 4, 3), np.uint8)}}], "found (0, 4, 3) uint8"),
        ([{"observations": {"image": "a.png"}}], "found str"),
        ([{"observations": {"image": np.zeros((4, 4, 3), np.uint8)}, "labels": 2}], "a number from 0 to 1, found 2"),
        ([{"observations": {"image": np.zeros((4, 4, 3), np.uint8)}, "labels": 0}], "label: 0 in a folder of label 1"),
    ],
)
def test_a_pickle_that_does_not_fit_is_named(tmp_path, content, said):
    path = write(tmp_path / "bad.pkl", content)
    text = message(tmp_path)
    assert said in text and str(path) in text and "\n" not in text


@pytest.mark.parametrize("name", ["bad.pkl", "bad.parquet", "bad.png"])
def test_an_unreadable_file_is_named(tmp_path, name):
    (tmp_path / name).write_bytes(b"\x00not a file of frames")
    assert str(tmp_path / name) in message(tmp_path)


def test_a_picture_without_its_other_camera_is_named(tmp_path, rng):
    (tmp_path / "image").mkdir()
    Image.fromarray(frame(rng, True)).save(tmp_path / "image" / "1.png")
    assert "wrist" in message(tmp_path, image_keys=("image", "wrist"))


def test_folders_without_frames_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such folder"):
        read_frames([Source(str(tmp_path / "nowhere"), 1)], ("image",))
    with pytest.raises(FileNotFoundError, match="no images there"):
        read_frames([Source(str(tmp_path), 1)], ("image",))


def test_labels_of_more_classes_are_the_files_own(tmp_path, rng):
    frames = items(rng, 3, 1, with_label=False)
    for label, item in enumerate(frames):
        item["labels"] = label
    write(tmp_path / "a.pkl", frames)
    assert [row["_label"] for row in rows(tmp_path, label=2, num_classes=3)] == [0, 1, 2]
    assert rows(tmp_path, label=2, num_classes=3)[0]["image"].shape == (SIZE, SIZE, 3)


def test_files_of_the_original_lie_in_one_folder_and_have_episodes(tmp_path):
    folder = write_classifier_data(tmp_path / "classifier_data", episodes=3, steps=4)
    for kind, label in (("success", 1), ("failure", 0)):
        found = rows(folder / f"*{kind}*.pkl", label=label, image_keys=("side_classifier",))
        [file] = folder.glob(f"*{kind}*.pkl")
        assert [row["_episode"] for row in found] == [f"{file}#{n}" for n in (0, 0, 1, 1, 2, 2)]
        assert found[0]["side_classifier"].shape == (128, 128, 3)
    with pytest.raises(FrameError, match="usb_20_success.* named twice.* such as --success_dir 'classifier_data"):
        read_frames([Source(str(folder), 1), Source(str(folder), 0)], ("side_classifier",))


def test_a_pattern_that_nothing_matches_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing.*.pkl: there is no such folder, and no file that matches"):
        read_frames([Source(str(tmp_path / "nothing*.pkl"), 1)], ("image",))


def test_a_folder_may_have_the_name_of_a_pattern(tmp_path, rng):
    write(tmp_path / "run[1]" / "a.pkl", items(rng, 2, 1))
    assert len(rows(tmp_path / "run[1]")) == 2
