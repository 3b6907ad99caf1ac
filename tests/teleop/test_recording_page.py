"""A real browser on `serl record --driver operator`: what is pressed is what is stored."""

from __future__ import annotations

import os
import signal
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import line_envs
import numpy as np
import pytest
from line_envs import LineEnv

from serl_ray.cli.main import main
from serl_ray.data.demos import read_file
from serl_ray.files.pickles import load_pickle

pytest.importorskip("selenium")

from browsers import CHROMIUM, DRIVER, OperatorsPage, chromium

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None or DRIVER is None, reason="needs Chromium and its driver"),
]
HORIZON, SHADE = 25, 8


class SlowEnv(LineEnv):
    """Never succeeds by itself; its image tells the step, and its episodes last some seconds."""

    def __init__(self) -> None:
        super().__init__(cameras=("front", "wrist"), horizon=HORIZON)

    def step(self, action):
        observation, _, _, truncated, info = super().step(action)
        return observation, 0.0, False, truncated, info | {"success": False}

    def _observe(self):
        observation = super()._observe()
        return observation | {"front": np.full((32, 32, 3), SHADE * self.steps, np.uint8)}


@pytest.fixture
def record(monkeypatch):
    """Runs the command in the main thread, whose signals it takes, and a person on its page in another one."""
    monkeypatch.setattr(line_envs, "SlowEnv", SlowEnv, raising=False)
    page = Future()
    monkeypatch.setattr(
        "serl_ray.cli.operated.how_to_reach", lambda address, *_, **__: page.set_result(address) or address
    )

    def run(person, *flags) -> int:
        def drive() -> None:
            try:
                with chromium() as browser:
                    person(OperatorsPage(browser, page.result(60)))
            except BaseException:
                os.kill(os.getpid(), signal.SIGTERM)  # nobody drives any more
                raise

        with ThreadPoolExecutor(1) as executor:
            driving = executor.submit(drive)
            env = ["--env_name", "line_envs:SlowEnv", "--control_hz", "10"]
            result = main(["record", *env, "--driver", "operator", "--operator_port", "0", *flags])
            driving.result()
        return result

    return run


def drive_on(page: OperatorsPage, steps: int) -> None:
    """Lets go of the clutch, holds it again, and drives forward for some steps, with the clutch held at the end."""
    page.take_hold("WAITING")
    page.until(lambda: int(page.text("step")) >= steps)


def is_seen(page: OperatorsPage, name: str) -> bool:
    return bool(page.run(f"return !document.getElementById('{name}').hidden"))


def demonstrator(page: OperatorsPage) -> None:
    """Keeps an episode by driving on, discards one, lets one run into the time limit, and keeps the last one."""
    page.take_control()
    page.key("keyDown", "ArrowUp")
    drive_on(page, 4)
    page.press("KeyS")
    page.until(lambda: "success. Drive on and it is kept" in page.text("replay-text"))
    assert page.run("return document.querySelectorAll('#replay-strip canvas').length") >= 3
    drive_on(page, 3)
    assert page.text("recording-kept") == "1 of 2" and not is_seen(page, "replay")
    page.press("KeyS")
    page.until(lambda: "complete" in page.text("replay-text"))
    page.press("Backspace")
    page.until(lambda: "discarded. Drive on and it is dropped" in page.text("replay-text"))
    drive_on(page, 1)
    page.until(lambda: "discarded" in page.text("recording-dropped"))
    page.until(lambda: "no success" in page.text("replay-text"))
    drive_on(page, 5)
    page.press("KeyS")
    page.until(lambda: "complete" in page.text("replay-text"))
    page.press("KeyN")
    page.until(lambda: "The recording is complete: 2 episodes" in page.text("hint"))


def test_a_person_records_by_keys_and_drops_what_did_not_work(record, tmp_path, capsys):
    target = tmp_path / "driven.pkl"
    assert record(demonstrator, "--output", str(target), "--episodes", "2") == 0
    segments = read_file(str(target))
    assert [segment.rewards[-1] for segment in segments] == [1.0, 1.0]
    assert all(segment.intervened.all() and 4 <= len(segment) < HORIZON for segment in segments)
    assert "Episodes that were not recorded: 1 discarded, 1 failed." in capsys.readouterr().out


def labeller(page: OperatorsPage, corrected: dict[str, str]) -> None:
    """Discards an episode, and stores one of whose frames two are corrected; tells the labels that it should have."""
    page.take_control()
    page.key("keyDown", "ArrowUp")
    drive_on(page, 2)
    page.press("KeyR")
    page.until(lambda: cells(page))
    page.press("Backspace")
    page.until(lambda: "1 discarded" in page.text("recording-dropped"))
    drive_on(page, 7)
    page.key("keyDown", "KeyS")
    page.until(lambda: page.run("return document.getElementById('recording-card').dataset.marking") == "true")
    page.steps(3)
    page.key("keyUp", "KeyS")
    page.until(lambda: len(cells(page)) == HORIZON + 1)
    labels = dict(cells(page))
    names = list(labels)
    first = next(i for i, name in enumerate(names) if labels[name] == "success")
    before = [labels[name] for name in names[:first]]
    assert before == sorted(before) and {"failure", "left_out"} == set(before)
    assert labels[names[first + 1]] == "success"
    page.press("KeyS")
    page.press("KeyF")
    page.press("KeyX")
    page.press("KeyU")
    corrected.update({**labels, names[0]: "success", names[1]: "failure"})
    page.until(lambda: dict(cells(page)) == corrected)
    page.press("Enter")
    page.until(lambda: "The recording is complete" in page.text("hint"))


def cells(page: OperatorsPage) -> list[tuple[str, str]]:
    """The frames in the grid, with their labels."""
    script = "return [...document.querySelectorAll('.sorting-cell')].map(({dataset: {id, label}}) => [id, label])"
    found = [(name, label) for name, label in page.run(script)]
    return sorted(found, key=lambda cell: int(cell[0].rpartition("-")[2]))


def test_a_person_labels_by_keys_and_what_the_grid_shows_is_stored(record, tmp_path, capsys):
    folder, corrected, flags = tmp_path / "images", {}, ["--image_keys", "front", "--episodes", "1"]
    assert record(lambda page: labeller(page, corrected), "--classifier_data", str(folder), *flags) == 0
    for kind in ("success", "failure"):
        steps = [int(name.rpartition("-")[2]) for name, label in corrected.items() if label == kind]
        assert stored_steps(folder / kind) == steps
    assert "1 of 1 episodes" in capsys.readouterr().out


def stored_steps(folder: Path) -> list[int]:
    """The steps of the stored images of the only episode, by their brightness."""
    [path] = folder.glob("*.pkl")
    return [int(item["observations"]["front"].max()) // SHADE for item in load_pickle(str(path))]
