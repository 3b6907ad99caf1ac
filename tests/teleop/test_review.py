"""The review of a classifier's successes: the order, where sorted images go, undo, and going on later."""

from __future__ import annotations

import numpy as np
import pytest
from positives import LEVELS, write_positives

from serl_ray.classifier.frames import Source, read_frames
from serl_ray.files.images import decode
from serl_ray.files.pickles import load_pickle
from serl_ray.teleop import review
from serl_ray.teleop.review import ReviewSorter, default_output
from serl_ray.teleop.sorting import SortingError, SortLabel, UnknownItemError

SUCCESS, FAILURE, LEFT_OUT = SortLabel


@pytest.fixture
def folder(tmp_path):
    write_positives(tmp_path / "positives")
    return tmp_path / "positives"


@pytest.fixture
def sorter(folder):
    return ReviewSorter(folder, default_output(folder))


def level(sorter, item):
    [level] = np.unique(decode(sorter.image(item.id, "front")))
    return int(level)


def levels(sorter):
    return [level(sorter, item) for item in sorter.items()]


def sort(sorter, **labels):
    """Gives the images of these levels, named such as `at_3`, their labels."""
    ids = {f"at_{level(sorter, item)}": item.id for item in sorter.items()}
    for name, label in labels.items():
        sorter.sort(ids[name], label)


def stored(output):
    """Levels of the sorted images by the folder that they are in."""
    found = {}
    for path in sorted(output.rglob("*.*")):
        assert path.suffix == ".pkl", path
        [frame] = load_pickle(path)
        [value] = np.unique(frame["observations"]["front"])
        found.setdefault(path.relative_to(output).parts[0], set()).add(int(value))
    return found


def test_vetoed_ones_come_first_then_labelled_ones_then_the_doubtful(sorter):
    items = sorter.items()
    assert levels(sorter) == LEVELS
    assert [item.note for item in items] == ["vetoed", "vetoed", "pressed success", "", "", ""]
    assert [item.label for item in items] == [FAILURE, FAILURE, SUCCESS, None, None, None]
    assert [item.probability for item in items] == [0.95, 0.97, 0.1, 0.6, 0.8, 0.9]
    assert items[0].group == "episode 2, step 2" and not any(item.is_sorted for item in items)


def test_sorted_images_lie_in_the_folder_of_their_label_alone(sorter, folder):
    sort(sorter, at_0=FAILURE, at_1=FAILURE, at_3=SUCCESS, at_4=LEFT_OUT)
    sort(sorter, at_1=SUCCESS)
    assert stored(default_output(folder)) == {"failure": {0}, "success": {1, 3}, "left_out": {4}}
    assert [item.is_sorted for item in sorter.items()] == [True, True, False, True, True, False]
    assert sorter.counts() == {SUCCESS: 2, FAILURE: 1, LEFT_OUT: 1}
    assert len(list(folder.rglob("*.png"))) == 12, "nothing is taken from what is reviewed"


def test_undo_takes_back_one_after_the_other(sorter, folder):
    sort(sorter, at_0=FAILURE, at_3=LEFT_OUT)
    sort(sorter, at_3=SUCCESS)
    for left in ({"failure": {0}, "left_out": {3}}, {"failure": {0}}, {}):
        assert sorter.undo() is not None
        assert stored(default_output(folder)) == left
    assert sorter.undo() is None
    assert [item.label for item in sorter.items()][:4] == [FAILURE, FAILURE, SUCCESS, None], "the proposals"


def test_a_second_review_goes_on_where_the_first_one_stopped(sorter, folder):
    sort(sorter, at_0=FAILURE, at_2=LEFT_OUT, at_5=SUCCESS)
    again = ReviewSorter(folder, default_output(folder))
    assert levels(again) == [1, 3, 4] and not any(item.is_sorted for item in again.items())
    assert levels(sorter) == LEVELS, "the first one still shows what it has sorted"
    sort(again, at_1=FAILURE)
    assert levels(sorter) == [0, 2, 3, 4, 5], "and not what others have"


def test_new_images_appear(sorter, folder):
    sorter.items()
    write_positives(folder)
    assert len(sorter.items()) == 12


def test_a_write_that_fails_leaves_no_half_and_the_image_unsorted(sorter, folder, monkeypatch):
    def full(path, data):
        raise OSError(28, "No space left on device")

    sort(sorter, at_0=SUCCESS)
    monkeypatch.setattr(review, "write_file", full)
    with pytest.raises(OSError, match="No space left"):
        sort(sorter, at_0=FAILURE)
    with pytest.raises(OSError, match="No space left"):
        sort(sorter, at_1=FAILURE)
    assert stored(default_output(folder)) == {} and not any(item.is_sorted for item in sorter.items())


def test_a_broken_image_is_not_sorted(sorter, folder):
    sorter.items()
    for path in folder.rglob("wrist/*.png"):
        path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(SortingError, match="cut off"):
        sort(sorter, at_0=SUCCESS)
    assert stored(default_output(folder)) == {}


def test_unknown_items_and_cameras_are_refused(sorter, folder):
    [item, *_] = sorter.items()
    for name in ("", "../x", f"{item.id}/..", "0" * 16):
        with pytest.raises(UnknownItemError):
            sorter.image(name, "front")
        with pytest.raises(UnknownItemError):
            sorter.sort(name, SUCCESS)
    for camera in ("side", "..", "../front", ""):
        with pytest.raises(UnknownItemError):
            sorter.image(item.id, camera)


def test_a_classifier_orders_anew_and_looks_at_each_image_once(folder):
    seen = []

    def judge(images):
        assert images.keys() == {"front", "wrist"}
        seen.append(int(images["front"].max()))
        return 1.0 - seen[-1] / 10

    sorter = ReviewSorter(folder, default_output(folder), judge)
    assert levels(sorter) == [1, 0, 2, 5, 4, 3], "within the vetoed ones, the labelled and the others"
    assert levels(sorter) == [1, 0, 2, 5, 4, 3] and sorted(seen) == LEVELS


def test_a_folder_that_is_not_there_yet_has_no_images(tmp_path):
    sorter = ReviewSorter(tmp_path / "later", tmp_path / "sorted")
    assert sorter.items() == [] and sorter.undo() is None


def test_the_classifier_training_reads_what_was_sorted(sorter, folder, shared_ray):
    sort(sorter, at_0=FAILURE, at_1=FAILURE, at_3=SUCCESS, at_4=LEFT_OUT)
    output = default_output(folder)
    sources = [Source(str(output / "success"), 1), Source(str(output / "failure"), 0, is_hard=True)]
    rows = read_frames(sources, ("front", "wrist")).take_all()
    assert {(int(row["front"].max()), row["_label"], row["_is_hard"]) for row in rows} == {
        (3, 1, False),
        (0, 0, True),
        (1, 0, True),
    }
    assert len({row["_episode"] for row in rows if row["_label"] == 0}) == 1


def test_of_many_images_some_are_offered_and_others_follow(folder, monkeypatch):
    monkeypatch.setattr(review, "MOST_UNSORTED", 2)
    sorter = ReviewSorter(folder, default_output(folder))
    assert levels(sorter) == LEVELS[:2] and "4 more follow" in sorter.explanation()
    sort(sorter, at_0=SUCCESS, at_1=FAILURE)
    assert levels(sorter) == LEVELS[:4] and "2 more follow" in sorter.explanation()
    sort(sorter, at_2=SUCCESS, at_3=SUCCESS)
    assert levels(sorter) == LEVELS and "follow" not in sorter.explanation()


def test_a_folder_that_is_slow_to_read_is_read_less_often(folder, monkeypatch):
    readings, read = [], review.read_positives
    monkeypatch.setattr(review, "read_positives", lambda path: readings.append(path) or read(path))
    sorter = ReviewSorter(folder, default_output(folder))
    sorter.items()
    sorter.items()
    assert len(readings) == 2
    monkeypatch.setattr(review, "LONG_READING", 0.0)
    monkeypatch.setattr(review, "RESTS", 1e9)
    sorter.items()
    sort(sorter, at_0=SUCCESS)
    assert next(item.label for item in sorter.items()) is SUCCESS and len(readings) == 3


def test_a_probability_that_is_no_number_is_none(folder):
    sorter = ReviewSorter(folder, default_output(folder), judge=lambda images: float("nan"))
    assert {item.probability for item in sorter.items()} == {None}
