"""The page on a desk and on a phone, in a real browser: boxes that keep their places, all of them on the screen."""

from __future__ import annotations

from contextlib import closing

import pytest

pytest.importorskip("selenium")

from browsers import CHROMIUM, DRIVER, OperatorsPage, chromium
from page_robots import LiveRobot

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None or DRIVER is None, reason="needs Chromium and its driver"),
]
PLACES = """
return [...document.querySelectorAll("header > *, main *, footer *")]
  .filter((element) => element.id && element.checkVisibility())
  .filter((element) => !element.closest(".chip span, #events, #hint, #notice, #countdown, #captions"))
  .map((element) => [element.id, element.getBoundingClientRect()])
  .map(([id, {left, top, width, height}]) => [id, ...[left, top, width, height].map(Math.round)]);
"""
"""The boxes of the page that have a name, but for words and for what is shown for a moment."""
OVERFLOW = """
const { scrollWidth, scrollHeight } = document.documentElement;
return [scrollWidth - innerWidth, scrollHeight - innerHeight];
"""


@pytest.mark.parametrize(("width", "height", "is_touched"), [(1280, 720, False), (844, 390, True)])
def test_no_box_moves_whoever_acts_and_none_is_beyond_the_screen(server, width, height, is_touched):
    with closing(LiveRobot(server, "peg")) as robot, chromium() as browser:
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": is_touched}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        browser.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": is_touched})
        page = OperatorsPage(browser, server.page())
        page.until(lambda: page.text("who-label") == "POLICY ACTS")
        page.press("Enter")
        page.until(lambda: robot.env.session.lease.holder)
        page.steps(5)
        places = {"POLICY ACTS": page.run(PLACES)}
        page.take_hold()
        places["YOU DRIVE"] = page.run(PLACES)
        page.key("keyUp", "Space")
        page.press("KeyP")
        page.until(lambda: page.text("who-label") == "PAUSED")
        places["PAUSED"] = page.run(PLACES)
        page.press("Escape")
        page.press("Escape")
        page.until(lambda: page.text("who-label") == "STOPPED")
        places["STOPPED"] = page.run(PLACES)
        assert len(places["STOPPED"]) > 20
        for label, found in places.items():
            assert found == places["POLICY ACTS"], label
        assert page.run(OVERFLOW) == [0, 0]
        assert all(left >= 0 and left + wide <= width for _, left, _, wide, _ in places["STOPPED"])
