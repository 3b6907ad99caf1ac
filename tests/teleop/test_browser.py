"""A real browser on a running training: what is pressed is what is stored."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Event

import numpy as np
import pytest
from small_runs import SMALL

from serl_ray.data.formats.parquet import read_segments
from serl_ray.rllib import SERLConfig
from serl_ray.rllib.operators import CURVE_METRICS

pytest.importorskip("selenium")

from browsers import CHROMIUM, DRIVER, GAMEPAD, OperatorsPage, chromium

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None or DRIVER is None, reason="needs Chromium and its driver"),
]


class Training:
    """A run on the tabletop, which a person drives from a browser meanwhile."""

    def __init__(self, folder):
        self.folder = folder
        options = {**SMALL, "random_steps": 0, "control_hz": 10.0, "image_keys": ("image",), "evaluate_every": 0}
        config = SERLConfig().training(**options).operator(operator_port=0)
        self.algorithm = config.keep_replay(folder / "replay").build_algo()

    def drive(self, person):
        """Trains until the person is done, who is a function of the page and of this; then the run is saved.

        The person is in a thread, since a renderer belongs to the thread that made it.
        """
        interrupted = Event()
        self.algorithm.stop_at(interrupted)
        with ThreadPoolExecutor(1) as executor:
            driving = executor.submit(self._open, person)
            driving.add_done_callback(lambda _: interrupted.set())
            while not interrupted.is_set():
                self.algorithm.training_step()
            driving.result()
        self.algorithm.wait_for_requests()
        self.algorithm.save(str(self.folder / "checkpoint"))
        shards = sorted((self.folder / "replay" / "online").glob("*.parquet"))
        return [segment for shard in shards for segment in read_segments(shard)]

    def _open(self, person):
        with chromium() as browser:
            person(OperatorsPage(browser, self.algorithm.hub.page), self)


@pytest.fixture
def training(shared_ray, tmp_path):
    run = Training(tmp_path)
    yield run
    run.algorithm.stop()


def driven(segments):
    """The executed actions (n, A + G) of a person's steps, with their sources and interventions."""
    actions = [segment.actions[segment.intervened] for segment in segments]
    sources = {source for segment in segments for source in segment.actors.sources[segment.intervened]}
    return np.concatenate([np.zeros((0, 7), np.float32), *actions]), sources


def key_person(page, training):
    """Drives forward for a while, closes the gripper, lets go, and calls it a success."""
    page.until(lambda: page.text("who-label") == "POLICY ACTS")
    page.take_control()
    page.press("Digit3")
    page.take_hold()
    page.key("keyDown", "ArrowUp")
    page.steps(10)
    page.press("KeyG")
    page.steps(5)
    page.key("keyUp", "ArrowUp")
    page.key("keyUp", "Space")
    page.until(lambda: page.text("who-label") == "POLICY ACTS")
    page.press("KeyS")
    page.until(lambda: training.algorithm.episodes.num_episodes >= 1)
    page.until(lambda: all(page.value_of(chart)[-1:].isdigit() for chart in ("chart-q", "chart-grasp-q")))
    assert not page.value_of("chart-p")[-1:].isdigit(), "there is no classifier"
    training.algorithm.hub.tell("driven", {**dict.fromkeys(CURVE_METRICS.values(), 0.5), "env/steps": 10.0})
    page.until(lambda: page.value_of("chart-run") == "50 · 50 · 50 %")


def test_a_person_takes_over_by_keys_and_what_was_pressed_is_stored(training):
    segments = training.drive(key_person)
    [labelled] = [segment for segment in segments if segment.success]
    assert labelled.rewards[-1] == 1.0 and labelled.masks[-1] == 0.0 and labelled.dones[-1]
    actions, sources = driven(segments)
    assert sources == {"keyboard"} and len(actions) >= 8
    assert (actions[:, 1:6] == 0.0).all()
    # The cameras look from the front, where away from the person is back. After rest, half of the speed is allowed.
    assert set(actions[:, 0]) <= {0.0, -0.5, -1.0}
    assert (actions[:, 0] == -1.0).sum() >= 5
    assert (actions[:, 6] == -1.0).sum() == 1 and set(actions[:, 6]) == {0.0, -1.0}
    assert len(training.algorithm.demos) == len(actions)


def absent_minded_person(page, training):
    """Loses the focus with the clutch held, comes back with a gamepad, and leaves the robot paused."""
    page.take_control()
    page.take_hold()
    page.steps(3)
    page.run("window.dispatchEvent(new Event('blur'))")
    page.until(lambda: page.text("who-label") == "POLICY ACTS")
    page.key("keyDown", "Space", repeat=True)
    page.steps(3)
    assert page.text("who-label") == "POLICY ACTS", "a key that was down all the time is no new press"
    page.key("keyUp", "Space")
    page.run("window.dispatchEvent(new Event('focus'))")
    page.run(GAMEPAD)
    page.steps(3)
    page.run("window.clutch(true)")
    page.until(lambda: page.text("who-label") == "YOU DRIVE")
    page.steps(3)
    page.run("window.clutch(false)")
    page.until(lambda: page.text("who-label") == "POLICY ACTS")
    page.press("KeyP")
    page.until(lambda: page.text("who-label") == "PAUSED")


def test_a_page_that_loses_the_focus_lets_go_and_a_paused_run_can_be_saved(training):
    _, sources = driven(training.drive(absent_minded_person))
    assert sources == {"keyboard", "gamepad"}
