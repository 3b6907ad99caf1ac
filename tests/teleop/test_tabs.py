"""The tabs of the page, in a real browser: which there are, and that a robot is driven from its own tab alone."""

from __future__ import annotations

from contextlib import closing

import pytest

from serl_ray.teleop.server import HubServer

pytest.importorskip("selenium")

from browsers import CHROMIUM, DRIVER, OperatorsPage, chromium
from page_robots import LiveRobot

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None or DRIVER is None, reason="needs Chromium and its driver"),
]
SECTIONS = "return [...document.querySelectorAll('.tab')].filter((tab) => !tab.hidden).map((tab) => tab.dataset.tab)"
ROBOTS = "return [...document.querySelectorAll('.tile')].map((tile) => tile.dataset.robot)"
DRAWN = "return [...document.querySelectorAll('.tile canvas')].map((canvas) => canvas.width)"


def test_leaving_the_drive_tab_lets_go_and_only_a_stop_acts_elsewhere():
    with closing(HubServer()) as server, closing(LiveRobot(server, "peg")), chromium() as browser:
        page = OperatorsPage(browser, server.page())
        page.until(lambda: page.text("who-label") == "POLICY ACTS")
        page.take_control()
        page.take_hold()
        page.run("document.getElementById('tab-fleet').click()")
        assert page.run(SECTIONS) == ["fleet"]
        page.until(lambda: page.text("who-label") == "POLICY ACTS")
        page.key("keyUp", "Space")
        page.key("keyDown", "Space")
        page.press("KeyP")
        page.steps(5)
        assert page.text("who-label") == "POLICY ACTS"
        page.key("keyDown", "Escape", modifiers=2)
        page.key("keyUp", "Escape")
        page.press("Escape")
        page.until(lambda: page.text("who-label") == "STOPPED")
        browser.refresh()
        page.until(lambda: page.text("who-label") == "STOPPED")
        assert page.run(SECTIONS) == ["fleet"], "the tab is remembered"
        page.key("keyDown", "Digit1", modifiers=1)
        assert page.run(SECTIONS) == ["drive record"]


def test_the_fleet_shows_who_waits_first_and_a_key_leads_there():
    with (
        closing(HubServer()) as server,
        closing(LiveRobot(server, "peg")),
        closing(LiveRobot(server, "screw")) as screw,
        chromium() as browser,
    ):
        page = OperatorsPage(browser, server.page())
        page.until(lambda: page.text("who-label") == "POLICY ACTS")
        page.run("document.getElementById('tab-fleet').click()")
        page.until(lambda: page.run(ROBOTS) == ["peg", "screw"])
        page.until(lambda: page.run(DRAWN) == [32, 32])
        with screw.env.changed:
            screw.env.session.is_paused = True
        page.until(lambda: page.run(ROBOTS) == ["screw", "peg"])
        assert "PAUSED" in page.text("fleet-screw") and "POLICY ACTS" in page.text("fleet-peg")
        page.press("Digit1")
        page.until(lambda: page.text("who-label") == "PAUSED")
        assert page.run(SECTIONS) == ["drive record"]
        assert page.run("return document.getElementById('robot').value") == "screw"


def test_the_stop_stays_on_a_small_screen_whatever_the_texts_are():
    with closing(HubServer(tabs=("drive", "review", "fleet"))) as server, chromium(844, 390) as browser:
        name = "the robot of the second laboratory that has a name which is far too long"
        with closing(LiveRobot(server, name)):
            page = OperatorsPage(browser, server.page())
            page.until(lambda: page.text("who-label") == "POLICY ACTS")
            page.run("document.getElementById('tab-fleet').click()")
            page.until(lambda: name in page.text("who-detail"))
            assert page.run("return document.getElementById('stop').getBoundingClientRect().right <= innerWidth")
            assert page.run("return innerWidth") == 844


def test_a_single_tab_has_no_button():
    with closing(HubServer(tabs=("record",))) as server, closing(LiveRobot(server, "peg")), chromium() as browser:
        page = OperatorsPage(browser, server.page())
        page.until(lambda: page.text("who-label") == "POLICY ACTS")
        assert page.run(SECTIONS) == ["drive record"] and page.run("return document.getElementById('tabs').hidden")
