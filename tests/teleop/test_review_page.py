"""The Review tab in a real browser: what is pressed is what lies in the folders afterwards."""

from __future__ import annotations

import re
import signal
from contextlib import closing, contextmanager

import pytest
from commands import start
from hub_peers import until
from positives import write_positives
from sorters import ListSorter

from serl_ray.files.pickles import load_pickle
from serl_ray.teleop.events import ClientRole
from serl_ray.teleop.server import HubServer

pytest.importorskip("selenium")

from browsers import CHROMIUM, DRIVER, OperatorsPage, chromium
from page_robots import LiveRobot

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None or DRIVER is None, reason="needs Chromium and its driver"),
]


class ReviewPage(OperatorsPage):
    """The page of a hub without robots."""

    def __init__(self, browser, address):
        self.browser = browser
        browser.get(address)
        self.until(lambda: "sorted" in self.progress)

    def run(self, script):
        """The value of some JavaScript, in which TAB is the section of the review."""
        return super().run(f"const TAB = document.querySelector('[data-tab=review]');{script}")

    @property
    def progress(self):
        return self.run("return TAB.querySelector('[data-tab=review] .sorting-progress')?.textContent ?? ''")

    @property
    def caption(self):
        return self.run("return TAB.querySelector('.sorting-caption').textContent")

    @property
    def cells(self):
        return self.run("return TAB.querySelectorAll('.sorting-cell').length")

    @property
    def error(self):
        return self.run("return TAB.querySelector('.sorting-error').textContent")

    def are_shown(self):
        """All images that should be seen have been drawn."""
        images = "[...TAB.querySelectorAll('.sorting img')]"
        return self.run(f"const all = {images}; return all.length > 0 && all.every((image) => image.naturalWidth > 0)")


@contextmanager
def page_of(sorter, role=ClientRole.OPERATOR, **size):
    with closing(HubServer(tabs=("review",), sorter=sorter)) as server, chromium(**size) as browser:
        yield ReviewPage(browser, server.page(role))


def test_a_folder_is_reviewed_by_keys(tmp_path):
    write_positives(tmp_path / "positives")
    arguments = ["review", "positives", "--output", "sorted", "--operator_port", "0"]
    command = start(arguments, tmp_path / "printed", tmp_path)
    until(lambda: "Review the images at" in command.printed)
    address = re.search(r"http://\S+", command.printed)[0]
    with chromium() as browser:
        page = ReviewPage(browser, address)
        page.until(page.are_shown)
        assert page.progress == "0 of 6 sorted by you · 1 success · 2 failure · 0 left out"
        assert page.caption == "failure? · vetoed · p 0.950 · episode 2, step 2"
        for key in ("KeyF", "KeyF", "KeyX", "KeyS"):
            page.press(key)
        page.press("KeyU")
        page.until(lambda: page.caption == "p 0.600 · episode 1, step 9")
        page.press("Space")
        page.press("ArrowRight")
        page.press("KeyS")
        page.until(lambda: page.progress == "5 of 6 sorted by you · 1 success · 2 failure · 2 left out")
        page.until(lambda: len(list((tmp_path / "sorted").rglob("*.pkl"))) == 5)
        assert page.error == "" and not browser.get_log("browser")
    command.send_signal(signal.SIGINT)
    assert command.wait() == 0
    assert "sorted: 1 success, 2 failure, 2 left out." in command.printed
    stored = {
        (path.relative_to(tmp_path / "sorted").parts[0], int(load_pickle(path)[0]["observations"]["front"].max()))
        for path in (tmp_path / "sorted").rglob("*.pkl")
    }
    assert stored == {("failure", 0), ("failure", 1), ("left_out", 2), ("left_out", 3), ("success", 5)}


def test_of_thousands_only_those_that_are_seen_are_loaded():
    sorter = ListSorter(5000)
    with page_of(sorter) as page:
        page.until(page.are_shown)
        page.run("TAB.querySelector('.sorting-grid').scrollTop = 1e7")
        page.until(lambda: page.run("return Boolean(TAB.querySelector('[data-id=\"item-4999\"]'))"))
        page.until(page.are_shown)
        assert page.cells < 40 and len(sorter.shown) < 200
        page.press("KeyS")
        page.until(lambda: sorter.pressed == [("item-0", "success")])
        page.until(lambda: page.run("return TAB.querySelector('[aria-selected=\"true\"]').dataset.id") == "item-1")


def test_buttons_and_cells_work_by_mouse_or_touch():
    sorter = ListSorter(8)
    with page_of(sorter, width=844, height=390) as page:
        page.until(page.are_shown)
        page.run("TAB.querySelector('[data-id=\"item-3\"]').click()")
        for label in ("failure", "success", "left_out"):
            page.run(f"TAB.querySelector('.sorting-buttons [data-label={label}]').click()")
        page.run("TAB.querySelector('[data-undo]').click()")
        page.until(lambda: sorter.pressed == [("item-3", "failure"), ("item-4", "success")])
        page.run("TAB.querySelector('[data-finish]').click()")
        page.until(lambda: sorter.is_finished)
        page.run("TAB.querySelector('[data-finish]').click()")
        page.until(lambda: page.error == "It is stored already.")
        page.key("keyDown", "KeyZ", modifiers=2)
        page.until(lambda: sorter.pressed == [("item-3", "failure")])
        page.until(lambda: page.error == "")


def test_a_held_key_sorts_one_and_a_viewer_none():
    sorter = ListSorter(4)
    with page_of(sorter) as page:
        page.key("keyDown", "KeyS")
        page.key("keyDown", "KeyS", repeat=True)
        page.press("KeyF")
        page.until(lambda: sorter.pressed == [("item-0", "success"), ("item-1", "failure")])
    with page_of(sorter, ClientRole.VIEWER) as page:
        page.until(page.are_shown)
        page.press("KeyS")
        page.press("KeyU")
        page.press("ArrowRight")
        page.until(lambda: page.caption.endswith("episode 1, step 3"))
        assert page.run("return TAB.querySelector('.sorting-buttons button').disabled")
    assert len(sorter.pressed) == 2


def test_what_cannot_be_stored_is_said_and_shown_as_unsorted(monkeypatch):
    sorter = ListSorter(4)

    def full(item, label):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(sorter, "sort", full)
    with page_of(sorter) as page:
        page.press("KeyS")
        page.until(lambda: "No space left on device" in page.error)
        page.until(lambda: page.progress.startswith("0 of 4 sorted"))


def test_keys_of_the_review_do_not_reach_a_robot():
    sorter = ListSorter(3)
    server = HubServer(tabs=("drive", "fleet", "review"), sorter=sorter)
    with closing(server), closing(LiveRobot(server, "peg")) as robot, chromium() as browser:
        page = OperatorsPage(browser, server.page())
        page.until(lambda: page.text("who-label") == "POLICY ACTS")
        page.take_control()
        page.press("KeyS")
        page.until(lambda: robot.env.session.take_counts()[0]["successes"] == 1)
        page.run("document.getElementById('tab-review').click()")
        page.until(
            lambda: page.run(
                "return document.querySelector('[data-tab=review] .sorting-progress')?.textContent.includes('sorted')"
            )
        )
        for key in ("KeyS", "Space", "KeyF", "Enter"):
            page.press(key)
        page.until(lambda: sorter.is_finished)
        assert [label for _, label in sorter.pressed] == ["success", "left_out", "failure"]
        counts = robot.env.session.take_counts()[0]
        assert not counts["successes"] and not counts["failures"] and not counts["interventions"]
        page.run("document.getElementById('tab-drive').click()")
        page.press("KeyF")
        assert len(sorter.pressed) == 3
