"""A real browser whose page or device is gone while it drives: the robot is handed back, and not taken up again."""

from __future__ import annotations

from contextlib import closing

import pytest
from hub_peers import until

pytest.importorskip("selenium")

from browsers import CHROMIUM, DRIVER, GAMEPAD, OperatorsPage, chromium
from page_robots import LiveRobot

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None or DRIVER is None, reason="needs Chromium and its driver"),
]


@pytest.fixture
def robot(server):
    with closing(LiveRobot(server, "peg")) as robot:
        yield robot


@pytest.fixture
def page(server, robot):
    """The page of an operator who has control."""
    with chromium() as browser:
        yield sit_down(browser, server)


def sit_down(browser, server):
    page = OperatorsPage(browser, server.page())
    page.until(lambda: page.text("who-label") == "POLICY ACTS")
    page.take_control()
    return page


def drive(page):
    page.key("keyDown", "ArrowUp")
    page.take_hold()


def hide(page):
    page.browser.switch_to.new_window("tab")


def reload(page):
    page.browser.refresh()


def close(page):
    [driven] = page.browser.window_handles
    hide(page)
    [other] = {*page.browser.window_handles} - {driven}
    page.browser.switch_to.window(driven)
    page.browser.close()
    page.browser.switch_to.window(other)


@pytest.mark.parametrize("leaves", [hide, reload, close])
def test_a_page_that_is_left_while_it_drives_hands_back_at_once(page, robot, leaves):
    session = robot.env.session
    drive(page)
    leaves(page)
    until(lambda: session.counts["hand-backs"] == 1)
    before = robot.env.view.frame
    until(lambda: robot.env.view.frame > before + 5)
    assert robot.env.view.actor == "policy"
    assert session.counts["takeovers"] == 1 and session.counts["losses"] == 0


def test_a_page_that_comes_back_has_no_control_and_its_held_keys_do_nothing(page, robot):
    drive(page)
    reload(page)
    page.until(lambda: page.text("who-label") == "POLICY ACTS" and page.text("holder") == "nobody")
    page.key("keyDown", "Space", repeat=True)
    page.press("Enter")
    page.until(lambda: page.text("holder") == "you")
    page.steps(3)
    assert page.text("who-label") == "POLICY ACTS" and robot.env.session.counts["takeovers"] == 1
    page.key("keyUp", "Space")
    drive(page)


def test_of_two_pages_one_has_control_and_the_other_one_may_stop(page, server, robot):
    drive(page)
    with chromium() as browser:
        other = OperatorsPage(browser, server.page())
        other.until(lambda: other.text("who-label") == "DRIVEN")
        other.press("Enter")
        other.until(lambda: "somebody else has control" in other.text("events"))
        other.key("keyDown", "Space")
        other.press("KeyP")
        other.steps(3)
        assert other.text("who-label") == "DRIVEN" and page.text("who-label") == "YOU DRIVE"
        other.key("keyUp", "Space")
        other.press("Escape")
        other.press("Escape")
        page.until(lambda: page.text("who-label") == "STOPPED")
    page.press("KeyY")
    page.until(lambda: "the clutch is held" in page.text("events"))
    assert robot.env.session.is_stopped
    page.key("keyUp", "Space")
    page.press("KeyY")
    page.until(lambda: page.text("who-label") == "POLICY ACTS")


def test_a_gamepad_that_is_unplugged_lets_go(page):
    page.run(GAMEPAD)
    page.steps(2)
    page.run("window.clutch(true)")
    page.until(lambda: page.text("who-label") == "YOU DRIVE")
    page.run("window.unplug()")
    page.until(lambda: page.text("who-label") == "POLICY ACTS")
    assert "gamepad is gone" in page.text("notice") and page.text("device") == "keyboard"
