"""A SpaceMouse in the page, by WebHID: what its reports mean, and what makes it let go."""

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
HID = """
window.mouse = Object.assign(new EventTarget(), {
  vendorId: 0x046d, productId: 0xc62b, productName: "SpaceMouse Pro",
  collections: [{usagePage: 1, usage: 8}], open: async () => {},
});
const hid = Object.assign(new EventTarget(), {
  getDevices: async () => [], requestDevice: async () => [window.mouse],
});
Object.defineProperty(Navigator.prototype, "hid", {get: () => hid});
window.report = (reportId, bytes) => window.mouse.dispatchEvent(Object.assign(new Event("inputreport"), {
  reportId, data: new DataView(Uint8Array.from(bytes).buffer),
}));
window.deflect = (axes) => {
  const bytes = (numbers) => [...new Uint8Array(Int16Array.from(numbers).buffer)];
  clearInterval(window.deflecting);
  const send = () => {
    window.report(1, bytes(axes.slice(0, 3)));
    window.report(2, bytes(axes.slice(3)));
  };
  send();
  window.deflecting = setInterval(send, 16);
};
window.unplug = () => {
  clearInterval(window.deflecting);
  hid.dispatchEvent(Object.assign(new Event("disconnect"), {device: window.mouse}));
};
"""
"""A browser's `navigator.hid` with a SpaceMouse Pro, which a test deflects, as raw numbers of its axes."""


@pytest.fixture
def robot(server):
    with closing(LiveRobot(server, "peg")) as robot:
        yield robot


@pytest.fixture
def page(server, robot):
    """The page of an operator who has connected a SpaceMouse, and has control."""
    with chromium() as browser:
        browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": HID})
        page = OperatorsPage(browser, server.page())
        page.until(lambda: page.text("who-label") == "POLICY ACTS")
        page.run("document.getElementById('spacemouse').click()")
        page.take_control()
        page.press("Digit3")
        yield page


def executed(robot):
    return [round(float(number), 3) for number in robot.env.view.executed]


def test_moving_the_cap_drives_and_letting_go_hands_back(page, robot):
    page.run("window.deflect([0, -350, 0, 0, 0, 175])")
    page.until(lambda: page.text("who-label") == "YOU DRIVE" and page.text("device") == "SpaceMouse Pro")
    page.until(lambda: executed(robot) == [1, 0, 0, 0, 0, -0.5, 0])
    page.run("window.report(3, [2])")
    page.until(lambda: executed(robot)[6] == 1)
    page.run("window.deflect([0, 0, 0, 0, 0, 0])")
    page.until(lambda: page.text("who-label") == "POLICY ACTS")


def test_a_cap_that_is_held_through_a_loss_of_the_focus_must_come_to_rest(page, robot):
    page.run("window.deflect([-350, 0, 0, 0, 0, 0])")
    page.until(lambda: page.text("who-label") == "YOU DRIVE")
    page.run("window.dispatchEvent(new Event('blur'))")
    page.until(lambda: page.text("who-label") == "POLICY ACTS")
    page.run("window.dispatchEvent(new Event('focus'))")
    page.steps(5)
    assert page.text("who-label") == "POLICY ACTS"
    page.run("window.deflect([0, 0, 0, 0, 0, 0])")
    page.steps(3)
    page.run("window.deflect([-350, 0, 0, 0, 0, 0])")
    page.until(lambda: page.text("who-label") == "YOU DRIVE" and executed(robot)[1] == 1)


def test_a_spacemouse_that_is_unplugged_lets_go(page):
    page.run("window.deflect([0, 0, -350, 0, 0, 0])")
    page.until(lambda: page.text("who-label") == "YOU DRIVE")
    page.run("window.unplug()")
    page.until(lambda: page.text("who-label") == "POLICY ACTS")
    assert "SpaceMouse is gone" in page.text("notice") and page.text("device") == "keyboard"


def test_large_models_have_keys_for_the_episode(page, robot):
    page.run("window.report(3, [0, 64, 0, 0])")
    page.until(lambda: page.text("who-label") == "PAUSED")
    page.run("window.report(3, [0, 0, 64, 0])")
    page.until(lambda: page.text("who-label") == "STOPPED")


def test_a_browser_without_webhid_has_no_button(server, robot):
    with chromium() as browser:
        source = "delete Navigator.prototype.hid"
        browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": source})
        page = OperatorsPage(browser, server.page())
        assert page.run("return document.getElementById('spacemouse-row').hidden")
