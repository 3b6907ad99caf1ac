"""Takes the images of the operators' page: every tab, and Drive on a phone.

    python docs/page_images.py docs

It needs Chromium and its driver, and takes a few minutes: a short training run, two recordings with the keyboard of the
browser, and a review of images of the scripted expert, all in a temporary folder. Names after the folder choose images:
`drive`, `phone`, `fleet`, `record`, `resets`, `label`, `review`.
"""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from PIL import Image
from selenium import webdriver
from selenium.common.exceptions import TimeoutException
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.support.ui import WebDriverWait

DESK, PHONE = (1280, 720), (844, 390)
MOST_BYTES = 200_000
SECONDS = 180
KEYS = {"Enter": "Enter", "Space": " ", "ArrowUp": "ArrowUp", "ArrowLeft": "ArrowLeft", "KeyQ": "q"} | {
    f"Key{letter}": letter.lower() for letter in "SFNR"
}
ENV = ("--env_name", "tabletop", "--setup_mode", "single-arm-learned-gripper", "--image_keys", "image", "wrist")
OPERATOR = ("--operator_port", "0", "--control_hz", "10")


class Page:
    """The page in a browser of a given size.

    Args:
        browser: driver of the browser.
        address: address of the page.
        size: width and height, pixels.
    """

    def __init__(self, browser: webdriver.Chrome, address: str, size: tuple[int, int]) -> None:
        self._browser = browser
        phone = size == PHONE
        metrics = {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": phone}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        browser.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": phone})
        browser.get(address)

    def run(self, script: str) -> Any:
        """The value of some JavaScript."""
        return self._browser.execute_script(script)

    def until(self, condition: str, seconds: float = SECONDS) -> None:
        """Waits until some JavaScript is true."""
        WebDriverWait(self._browser, seconds, 0.1).until(lambda _: self.run(f"return {condition}"))

    def key(self, kind: str, code: str) -> None:
        """A key goes down (`keyDown`) or up (`keyUp`)."""
        self._browser.execute_cdp_cmd("Input.dispatchKeyEvent", {"type": kind, "code": code, "key": KEYS[code]})

    def press(self, *codes: str) -> None:
        """Keys are pressed and let go, one after the other."""
        for code in codes:
            self.key("keyDown", code)
            self.key("keyUp", code)

    def take_over(self) -> None:
        """Takes control, and holds the clutch; a press is refused while the newest frame is late."""
        self.until(text_is("holder", "nobody"))
        self.press("Enter")
        self.until(text_is("holder", "you"))
        for _ in range(20):
            self.key("keyUp", "Space")
            time.sleep(0.5)
            self.key("keyDown", "Space")
            with suppress(TimeoutException):
                return self.until(text_is("who-label", "YOU DRIVE"), 3)
        raise SystemExit("The robot does not obey: this machine is too busy.")

    def drive(self, steps: int, *codes: str) -> None:
        """Drives on with keys held, until the episode has so many steps."""
        for code in codes:
            self.key("keyDown", code)
        self.until(f"Number(document.getElementById('step').textContent) >= {steps}")
        for code in codes:
            self.key("keyUp", code)

    def save(self, path: Path) -> None:
        """Writes what is shown, in all its colours, since a palette makes orange lines red."""
        Image.open(io.BytesIO(self._browser.get_screenshot_as_png())).convert("RGB").save(path, optimize=True)
        if path.stat().st_size > MOST_BYTES:
            raise SystemExit(f"{path} has {path.stat().st_size:,} bytes, more than {MOST_BYTES:,}.")
        print(f"{path}: {path.stat().st_size:,} bytes", flush=True)


def text_is(name: str, text: str) -> str:
    """JavaScript that tells whether an element has this text."""
    return f"document.getElementById('{name}').innerText.trim() === '{text}'"


@contextmanager
def chromium() -> Iterator[webdriver.Chrome]:
    """A headless browser with an empty profile."""
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run"):
        options.add_argument(argument)
    browser = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    try:
        yield browser
    finally:
        browser.quit()


@contextmanager
def page_of(folder: Path, *arguments: str, size: tuple[int, int] = DESK) -> Iterator[Page]:
    """The page that a command of `serl` serves while it runs in a folder."""
    with served(folder, *arguments) as address, chromium() as browser:
        yield Page(browser, address, size)


@contextmanager
def served(folder: Path, *arguments: str) -> Iterator[str]:
    """The address that a command of `serl` prints, while it runs in a folder."""
    printed = folder / f"{arguments[0]}.txt"
    with printed.open("w") as output:
        command = [sys.executable, "-m", "serl_ray.cli", *arguments]
        running = subprocess.Popen(command, cwd=folder, stdout=output, stderr=subprocess.STDOUT)
    try:
        yield wait_for(lambda: re.search(r"http://\S+role=operator\S+", printed.read_text()), printed)[0]
    finally:
        running.terminate()
        running.wait()


def wait_for(found: Callable[[], re.Match[str] | None], printed: Path) -> re.Match[str]:
    """What a command prints at some time."""
    ends = time.monotonic() + SECONDS
    while not (match := found()):
        if time.monotonic() > ends:
            raise SystemExit(f"No address after {SECONDS} s:\n{printed.read_text()}")
        time.sleep(0.2)
    return match


def training(folder: Path, target: Path, wanted: set[str]) -> None:
    """Drive, on a desk and on a phone, and Fleet: a run with two robots."""
    record = [sys.executable, "-m", "serl_ray.cli", "record", *ENV, "--episodes", "5", "--output", "demos.pkl"]
    subprocess.run(record, cwd=folder, check=True)
    words = ("train", "--preset", "tabletop", *ENV, *OPERATOR, "--operator", "--num_workers", "2", "--batch_size", "32")
    words += ("--demo_paths", "demos.pkl", "--evaluation_workers", "1", "--max_steps", "20000", "--save_dir", "run")
    with served(folder, *words) as address, chromium() as browser:
        page = Page(browser, address, DESK)
        page.until("Number(document.getElementById('episode').textContent) >= 3")
        if "fleet" in wanted:
            page.run("document.getElementById('tab-fleet').click()")
            page.until("document.querySelectorAll('#fleet .tile').length >= 2")
            time.sleep(3)
            page.save(target / "fleet.png")
            page.run("document.getElementById('tab-drive').click()")
        if "drive" in wanted:
            page.take_over()
            page.key("keyDown", "ArrowUp")
            time.sleep(1)
            page.save(target / "drive.png")
            page.key("keyUp", "ArrowUp")
            page.key("keyUp", "Space")
            page.press("Enter")
        if "phone" in wanted:
            phone = Page(browser, address, PHONE)
            phone.until("Number(document.getElementById('step').textContent) >= 3")
            phone.save(target / "phone.png")


def recording(folder: Path, target: Path, _: set[str]) -> None:
    """Record, with the strip of an episode that has ended."""
    words = ("record", *ENV, *OPERATOR, "--driver", "operator", "--episodes", "20", "--output", "driven.pkl")
    with page_of(folder, *words) as page:
        page.take_over()
        page.drive(12, "ArrowUp", "KeyQ")
        page.press("KeyS")
        page.key("keyUp", "Space")
        page.until("!document.getElementById('replay').hidden")
        time.sleep(2)
        page.save(target / "record.png")


def resetting(folder: Path, target: Path, _: set[str]) -> None:
    """Record, while the robot waits for its scene to be put in order."""
    words = ("record", *ENV, *OPERATOR, "--driver", "operator", "--reset_by", "operator", "--output", "driven.pkl")
    with page_of(folder, *words) as page:
        page.until("document.getElementById('asks') && !document.getElementById('asks').hidden")
        time.sleep(2)
        page.save(target / "resets.png")


def labelling(folder: Path, target: Path, _: set[str]) -> None:
    """Label, with an episode of which a part was held to be a success."""
    words = ("record", *ENV, *OPERATOR, "--driver", "operator", "--episodes", "20", "--classifier_data", "frames")
    with page_of(folder, *words) as page:
        page.take_over()
        page.drive(9, "ArrowUp", "KeyQ")
        page.key("keyDown", "KeyS")
        page.drive(24, "ArrowLeft")
        page.key("keyUp", "KeyS")
        page.press("KeyR")
        page.key("keyUp", "Space")
        page.run("document.getElementById('tab-label').click()")
        page.until("document.querySelectorAll('#label-grid img').length > 8")
        time.sleep(3)
        page.save(target / "label.png")


def reviewing(folder: Path, target: Path, _: set[str]) -> None:
    """Review, of images of the scripted expert."""
    write_positives(folder / "runs" / "positives")
    words = ("review", "runs/positives", "--output", "runs/sorted", "--operator_port", "0")
    with page_of(folder, *words) as page:
        page.until("document.querySelectorAll('[data-tab=review] img').length > 8")
        page.press(*["KeyF"] * 7, "KeyS", "KeyF")
        time.sleep(3)
        page.save(target / "review.png")


def write_positives(folder: Path) -> None:
    """Images of three episodes of the scripted expert, the first of which is vetoed."""
    from serl_ray.data.positives import PositivesWriter
    from serl_ray.envs.tabletop import TabletopEnv

    env = TabletopEnv("single-arm-learned-gripper", cameras=("image", "wrist"))
    writer = PositivesWriter(folder, ("image", "wrist"))
    for episode in range(1, 4):
        env.reset(seed=episode)
        writer.begin()
        writer.number(episode)
        for step in range(1, 13):
            observation, *_ = env.step(env.expert_action())
            probability = min(0.05 * episode + 0.08 * step, 0.99)
            writer.add(step, observation, probability, probability > 0.5)
        if episode == 1:
            writer.label(1, 12, "veto")
    env.close()


MAKERS = {
    training: {"drive", "phone", "fleet"},
    recording: {"record"},
    resetting: {"resets"},
    labelling: {"label"},
    reviewing: {"review"},
}


def main(target: Path, *names: str) -> None:
    """Takes the images of these names, or all."""
    target = target.absolute()
    for make, made in MAKERS.items():
        if wanted := made & set(names or made):
            with tempfile.TemporaryDirectory() as folder:
                make(Path(folder), target, wanted)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
