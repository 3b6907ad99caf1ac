"""The page on a phone held sideways, in a real browser: two sticks and buttons drive the robot."""

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
PHONE = (844, 390)


@pytest.fixture
def robot(server):
    with closing(LiveRobot(server, "peg")) as robot:
        yield robot


def open_page(browser, server):
    """The page of an operator, on a screen that is touched."""
    metrics = {"width": PHONE[0], "height": PHONE[1], "deviceScaleFactor": 1, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    browser.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": True, "maxTouchPoints": 5})
    page = OperatorsPage(browser, server.page())
    page.until(lambda: page.text("who-label") == "POLICY ACTS")
    return page


def middle(page, name):
    """The middle of an element, in pixels."""
    script = "const box = document.getElementById(arguments[0]).getBoundingClientRect();"
    x, y = page.browser.execute_script(script + "return [box.x + box.width / 2, box.y + box.height / 2]", name)
    return {"x": round(x), "y": round(y)}


def touch(page, kind, *points):
    """Fingers on the screen: each is a place with the `id` of its finger."""
    page.browser.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": kind, "touchPoints": list(points)})


def tap(page, name):
    touch(page, "touchStart", {**middle(page, name), "id": 9})
    touch(page, "touchEnd")


def test_a_phone_drives_by_two_sticks_and_its_buttons(server, robot):
    with chromium(*PHONE) as browser:
        page = open_page(browser, server)
        tap(page, "touch-control")
        page.until(lambda: page.text("touch-control") == "Give it back")
        left, right = ({**middle(page, name), "id": i} for i, name in enumerate(("touch-clutch", "touch-move")))
        touch(page, "touchStart", left)
        page.until(lambda: page.text("who-label") == "YOU DRIVE")
        touch(page, "touchStart", left, right)
        touch(page, "touchMove", left, {**right, "y": right["y"] - 100})
        page.until(lambda: robot.env.view.executed[0] == 0.5)
        assert not robot.env.view.executed[1:].any()
        touch(page, "touchMove", {**left, "y": left["y"] - 100}, right)
        page.until(lambda: robot.env.view.executed[2] == 0.5 and not robot.env.view.executed[:2].any())
        page.run("document.getElementById('touch-clutch').dispatchEvent(new Event('contextmenu', {bubbles: true}))")
        page.steps(5)
        assert page.text("who-label") == "YOU DRIVE", "a thumb that rests for long asks for no menu"
        touch(page, "touchEnd")
        page.until(lambda: page.text("who-label") == "POLICY ACTS")
        tap(page, "touch-pause")
        page.until(lambda: page.text("who-label") == "PAUSED")
        tap(page, "touch-pause")
        page.until(lambda: page.text("who-label") == "POLICY ACTS")
        tap(page, "stop")
        page.until(lambda: page.text("who-label") == "STOPPED")
