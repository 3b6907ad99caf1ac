"""Images of which a person says while driving whether they show a success."""

from __future__ import annotations

from functools import partial
from threading import Event

import numpy as np
import pytest
from operated_robots import STEP
from scripted_persons import PersonsRobot
from stage import ANNA

from serl_ray.cli.main import main
from serl_ray.envs.labelling import CUT_OFF, UNSEEN, EpisodeSorter, LabelledFrame, Labeller, evenly
from serl_ray.files.images import decode
from serl_ray.files.pickles import load_pickle
from serl_ray.teleop.events import Press, Pressed
from serl_ray.teleop.marks import MARGIN_SECONDS, MarkedEpisodes, TimedFrame
from serl_ray.teleop.sorting import SortingError, SortLabel, UnknownItemError
from serl_ray.teleop.wrapper import Interrupted

HORIZON = 24
MARGIN = round(MARGIN_SECONDS / STEP)
S, F, X = SortLabel.SUCCESS, SortLabel.FAILURE, SortLabel.LEFT_OUT


def marked(*spans: tuple[int, int | None]) -> MarkedEpisodes:
    """Episodes in whose first one the key was held from a frame to another one."""
    episodes = MarkedEpisodes()
    episodes.begin()
    for first, last in spans:
        assert episodes.judge(Pressed(ANNA, 1, Press.MARK, first), 0.0) is None
        if last is not None:
            assert episodes.judge(Pressed(ANNA, 1, Press.UNMARK, last), 0.0) is None
    return episodes


FRAMES = [TimedFrame(number, STEP * (number - 1)) for number in range(1, 21)]


@pytest.mark.parametrize(
    ("spans", "labels"),
    [
        ([], 20 * [F]),
        ([(10, 12)], 5 * [F] + 4 * [X] + 3 * [S] + 4 * [X] + 4 * [F]),
        ([(10, None)], 5 * [F] + 4 * [X] + 11 * [S]),
        ([(10, 10)], 5 * [F] + 4 * [X] + [S] + 4 * [X] + 6 * [F]),
        ([(2, 3), (6, 7)], [X] + 2 * [S] + 2 * [X] + 2 * [S] + 4 * [X] + 9 * [F]),
        ([(30, 31)], 20 * [F]),
    ],
    ids=["never", "held", "to the end", "tapped", "twice", "after the end"],
)
def test_success_while_held_and_half_a_second_around_it_left_out(spans, labels):
    assert MARGIN == 4
    assert marked(*spans).labels(FRAMES) == labels


def test_the_time_in_which_the_robot_waits_is_none():
    frames = [TimedFrame(1, 0.0), TimedFrame(2, 0.5), TimedFrame(3, 1.0), TimedFrame(4, 2.0)]
    assert marked((3, 3)).labels(frames) == [F, X, S, F]


def test_a_key_that_is_held_when_an_episode_begins_must_be_pressed_again():
    episodes = marked((2, None))
    assert episodes.state(0.0)["is_marking"]
    episodes.begin()
    assert not episodes.is_marking and episodes.labels(FRAMES) == 20 * [F]


@pytest.mark.parametrize("press", [Press.SUCCESS, Press.FAILURE, Press.VETO])
def test_episodes_are_not_labelled_where_frames_are(press):
    assert "frames are marked here" in str(marked().judge(Pressed(ANNA, 1, press, 1), 0.0))


class Labelling:
    """A labeller and its person, who marks steps while driving, and then sorts."""

    def __init__(self, folder, sort, **after_step: Press) -> None:
        self.episodes = MarkedEpisodes()
        self.robot, self.sorter = PersonsRobot(self.episodes, HORIZON), EpisodeSorter(folder)
        self.labeller = Labeller(self.robot, self.episodes, self.sorter, ("front",))
        presses = {int(name[3:]): press for name, press in after_step.items()}
        self.robot.after_step = {step: partial(self.robot.press, press) for step, press in presses.items()}
        self.sort = sort
        self.robot.when_waiting = self._wait

    def _wait(self) -> None:
        if self.robot.session.episodes.is_running:
            self.robot.drive()
        else:
            self.sort(self)

    def step(self, number: int) -> str:
        """The item of a step of the newest episode."""
        return next(item.id for item in self.sorter.items() if item.id.endswith(f"-step-{number}"))


def stored(folder, kind: str, name: str = "e") -> list[int]:
    """The steps of the stored images, which these show by their brightness."""
    path = folder / kind / f"{name}.pkl"
    items = load_pickle(str(path)) if path.exists() else []
    assert {item["labels"] for item in items} <= {int(kind == "success")} and {item["episode"] for item in items} <= {
        name
    }
    return [int(item["observations"]["front"].max()) for item in items]


def test_what_was_marked_and_corrected_is_what_is_stored(tmp_path):
    def sort(labelling: Labelling) -> None:
        sorter = labelling.sorter
        assert [item.label for item in sorter.items()] == 6 * [F] + 4 * [X] + 5 * [S] + 4 * [X] + 6 * [F]
        assert not any(item.is_sorted for item in sorter.items())
        assert decode(sorter.image(labelling.step(7), "front")).max() == 7
        sorter.sort(labelling.step(9), S)
        sorter.sort(labelling.step(10), F)
        sorter.sort(labelling.step(0), X)
        sorter.sort(labelling.step(1), X)
        assert sorter.undo() == labelling.step(1)
        sorter.finish()

    labelling = Labelling(tmp_path, sort, at_10=Press.MARK, at_14=Press.UNMARK)
    assert labelling.labeller.record("e", seed=0)
    assert stored(tmp_path, "success") == [9, 11, 12, 13, 14]
    assert stored(tmp_path, "failure") == [1, 2, 3, 4, 5, 10, 19, 20, 21, 22, 23, 24]
    assert labelling.labeller.counts == {"success": 5, "failure": 12} == labelling.robot.recording["images"]
    assert labelling.sorter.items() == [] and not labelling.labeller.dropped


def discard_at_the_end(labelling: Labelling) -> None:
    labelling.robot.press(Press.DISCARD)


@pytest.mark.parametrize("presses", [{}, {"at_5": Press.DISCARD}], ids=["afterwards", "while driving"])
def test_a_discarded_episode_leaves_nothing_and_is_counted(tmp_path, presses):
    labelling = Labelling(tmp_path, discard_at_the_end, **presses)
    assert not labelling.labeller.record("e", seed=0)
    assert list(tmp_path.rglob("*")) == [] and labelling.sorter.items() == []
    assert labelling.labeller.dropped == {"discarded": 1} == labelling.robot.recording["dropped"]


def test_a_reset_ends_the_episode_which_is_then_sorted(tmp_path):
    labelling = Labelling(tmp_path, lambda it: it.sorter.finish(), at_3=Press.MARK, at_6=Press.RESET)
    assert labelling.labeller.record("e", seed=0)
    assert stored(tmp_path, "success") == [3, 4, 5, 6] and stored(tmp_path, "failure") == []


def test_an_interrupt_drops_what_nobody_has_stored(tmp_path):
    labelling = Labelling(tmp_path, lambda it: it.robot.interrupted.set())
    with pytest.raises(Interrupted):
        labelling.labeller.record("e", seed=0)
    assert list(tmp_path.rglob("*")) == [] and labelling.labeller.dropped == {UNSEEN: 1}
    assert isinstance(labelling.robot.interrupted, Event)


def test_an_interrupt_while_driving_ends_the_episode_which_is_counted(tmp_path):
    labelling = Labelling(tmp_path, discard_at_the_end)
    labelling.robot.after_step[5] = lambda: labelling.robot.interrupted.set()
    with pytest.raises(Interrupted):
        labelling.labeller.record("e", seed=0)
    assert labelling.robot.witness.calls.count("step") == 5
    assert list(tmp_path.rglob("*")) == [] and labelling.labeller.dropped == {CUT_OFF: 1}


def frames_of(*labels: SortLabel) -> list[LabelledFrame]:
    image = np.zeros((8, 8, 3), np.uint8)
    return [LabelledFrame(step, {"front": image}, label) for step, label in enumerate(labels)]


def test_a_sorter_refuses_what_it_does_not_have(tmp_path):
    sorter = EpisodeSorter(tmp_path)
    assert sorter.finish_label == "" and sorter.undo() is None
    with pytest.raises(SortingError, match="no labelled frames"):
        sorter.finish()
    sorter.present("e", frames_of(S))
    for call in (lambda: sorter.image("1-step-0", "side"), lambda: sorter.sort("1-step-1", S)):
        with pytest.raises(UnknownItemError):
            call()
    sorter.sort("1-step-0", X)
    with pytest.raises(SortingError, match="Discard the episode"):
        sorter.finish()
    sorter.undo()
    sorter.finish()
    with pytest.raises(SortingError):
        sorter.finish()
    assert sorter.is_stored and sorter.close() == {"success": 1, "failure": 0}


def test_an_episode_that_is_stored_by_half_is_not_stored(tmp_path):
    sorter = EpisodeSorter(tmp_path)
    sorter.present("e", frames_of(S, F))
    (tmp_path / "failure").write_text("a file in place of the folder")
    with pytest.raises(OSError):
        sorter.finish()
    assert not sorter.is_stored and list(tmp_path.rglob("*.pkl")) == []
    (tmp_path / "failure").unlink()
    sorter.finish()
    assert len(list(tmp_path.rglob("e.pkl"))) == 2, "and it can be stored once there is room"


def test_of_many_frames_of_a_label_some_are_shown_evenly_and_of_few_all():
    frames = frames_of(*(90 * [F] + 3 * [X] + 5 * [S]))
    shown = evenly(frames, most=10)
    assert [frame.step for frame in shown] == [*range(0, 90, 9), *range(90, 98)]
    assert evenly(frames, most=90) == frames


@pytest.mark.slow
def test_a_classifier_learns_from_what_a_person_has_labelled(tmp_path, shared_ray):
    for number in range(6):
        labelling = Labelling(tmp_path, lambda it: it.sorter.finish(), at_16=Press.MARK)
        assert labelling.labeller.record(f"e-{number}", seed=number)
    folders = [f"--{kind}_dir={tmp_path / kind}" for kind in ("success", "failure")]
    sizes = ["--num_epochs", "2", "--batch_size", "16", "--augment_crops", "1"]
    flags = [*folders, "--image_keys", "front", "--save_dir", str(tmp_path / "classifier"), *sizes]
    assert main(["train-classifier", *flags]) == 0
    assert (tmp_path / "classifier" / "report.png").exists()
