"""A headless Chromium on an operator's page."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from selenium import webdriver
from selenium.common.exceptions import TimeoutException
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
ARGUMENTS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
SECONDS, PATIENCE = 60, 5
"""Seconds that the page may take to show something on a machine that is busy, and to show that a press took hold."""
IS_HELD = "return document.getElementById('clutch').dataset.held"


class OperatorsPage:
    """The page, as a person uses it.

    Args:
        browser: driver of the browser.
        address: address of the page.
    """

    def __init__(self, browser: webdriver.Chrome, address: str) -> None:
        self.browser = browser
        browser.get(address)
        self.until(lambda: self.text("who-label") not in ("", "NOT CONNECTED"))

    def text(self, name: str) -> str:
        """The text of an element."""
        return str(self.browser.find_element(By.ID, name).text)

    def value_of(self, chart: str) -> str:
        """The newest value that a chart shows."""
        return str(self.browser.find_element(By.CSS_SELECTOR, f"#{chart} b").text)

    def until(self, condition: Callable[[], Any], seconds: float = SECONDS) -> Any:
        """Waits until it is so."""
        return WebDriverWait(self.browser, seconds, poll_frequency=0.05).until(lambda _: condition())

    def key(self, kind: str, code: str, repeat: bool = False, modifiers: int = 0) -> None:
        """A real key event: `keyDown` or `keyUp` of the key at this place of the keyboard, with Alt (1) or Ctrl (2)."""
        event = {"type": kind, "code": code, "key": KEYS[code], "autoRepeat": repeat, "modifiers": modifiers}
        self.browser.execute_cdp_cmd("Input.dispatchKeyEvent", event)

    def press(self, code: str) -> None:
        """A key is pressed and let go."""
        self.key("keyDown", code)
        self.key("keyUp", code)

    def take_control(self) -> None:
        """Takes control of the robot, and waits until it is there."""
        self.press("Enter")
        self.until(lambda: self.text("holder") == "you")

    def take_hold(self, label: str = "POLICY ACTS") -> None:
        """Holds the clutch until the robot follows, from the state of this label.

        A press is refused where a busy machine has shown the newest frame too late, and must be made again.
        """
        self.until(lambda: self._takes_hold(label))

    def _takes_hold(self, label: str) -> bool:
        self.key("keyUp", "Space")
        self.until(lambda: self.run(IS_HELD) == "false" and self.text("who-label") == label)
        self.key("keyDown", "Space")
        with suppress(TimeoutException):
            return bool(self.until(lambda: self.text("who-label") == "YOU DRIVE", PATIENCE))
        return False

    def steps(self, number: int) -> None:
        """Waits until the page has shown so many new steps of the robot."""
        for _ in range(number):
            shown = self.text("step")
            self.until(lambda shown=shown: self.text("step") != shown)

    def run(self, script: str) -> Any:
        """The value of some JavaScript."""
        return self.browser.execute_script(script)


KEYS = {
    "Enter": "Enter",
    "Space": " ",
    "ArrowUp": "ArrowUp",
    "ArrowRight": "ArrowRight",
    "ArrowDown": "ArrowDown",
    "KeyW": "w",
    "KeyG": "g",
    "KeyS": "s",
    "KeyF": "f",
    "KeyN": "n",
    "KeyR": "r",
    "KeyU": "u",
    "KeyX": "x",
    "KeyZ": "z",
    "KeyP": "p",
    "KeyY": "y",
    "Digit1": "1",
    "Digit3": "3",
    "Backspace": "Backspace",
    "Escape": "Escape",
}
"""The meaning of the keys by their place."""
GAMEPAD = """
const button = () => ({pressed: false, touched: false, value: 0});
window.pad = {id: "test", index: 0, connected: true, mapping: "standard", timestamp: 1, axes: [0, -1, 0, 0],
              buttons: Array.from({length: 17}, button)};
navigator.getGamepads = () => [window.pad];
window.dispatchEvent(Object.assign(new Event("gamepadconnected"), {gamepad: window.pad}));
window.clutch = (pressed) => { window.pad.buttons[5] = {pressed, touched: pressed, value: Number(pressed)}; };
window.unplug = () => {
  navigator.getGamepads = () => [null];
  window.dispatchEvent(Object.assign(new Event("gamepaddisconnected"), {gamepad: window.pad}));
};
"""
"""A gamepad whose left stick is pushed forward; the page must see its clutch released before it is pressed."""


@contextmanager
def chromium(width: int = 1280, height: int = 720) -> Iterator[webdriver.Chrome]:
    """A new browser with an empty profile."""
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM or ""
    for argument in (*ARGUMENTS, f"--window-size={width},{height + 140}"):
        options.add_argument(argument)
    browser = webdriver.Chrome(options=options, service=Service(DRIVER))
    try:
        yield browser
    finally:
        browser.quit()
