"""A real browser on a robot that waits for its scene to be put in order."""

from __future__ import annotations

from contextlib import closing

import pytest
from page_robots import LiveRobot

from serl_ray.teleop.server import HubServer

pytest.importorskip("selenium")

from browsers import CHROMIUM, DRIVER, OperatorsPage, chromium

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None or DRIVER is None, reason="needs Chromium and its driver"),
]
ASKS = "Put the peg back, then press Enter."


def test_the_page_says_what_to_do_and_enter_or_its_button_begins_the_episode():
    with closing(HubServer()) as server, closing(LiveRobot(server, "peg", asks=ASKS)) as robot, chromium() as browser:
        page = OperatorsPage(browser, server.page())
        page.until(lambda: page.text("asks-text") == ASKS)
        assert page.text("who-label") == "YOUR TURN"
        page.press("Enter")
        page.until(lambda: page.text("who-label") == "POLICY ACTS" and not page.text("asks-text"))
        assert page.text("holder") == "nobody"
        page.take_control()
        page.press("KeyR")
        page.until(lambda: page.text("asks-text") == ASKS)
        page.press("KeyP")
        page.until(lambda: page.text("who-label") == "PAUSED" and not page.text("asks-text"))
        page.press("KeyP")
        page.until(lambda: page.text("asks-text") == ASKS)
        assert robot.env.episode == 1
        page.run("document.getElementById('asks-ready').click()")
        page.until(lambda: page.text("who-label") == "POLICY ACTS")
        assert robot.env.episode == 2
