"""Runs on Ray in which something dies or waits while a person drives: nothing is lost that is not counted."""

from __future__ import annotations

import logging
import os
import signal
import time
from contextlib import closing

import aiohttp
import numpy as np
import pytest
import ray
from hub_peers import SECONDS, until
from operated_envs import executed_episodes
from operated_runs import Hand, operated_config, stored_episodes, train_beside

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("shared_ray")]

DEADLINE = 0.3


def hand_at(page):
    """A hand that has control, as soon as the hub and the robot are there."""
    ends = time.monotonic() + SECONDS
    while True:
        try:
            hand = Hand(page)
        except (aiohttp.ClientError, AssertionError):  # no hub, or one that goes just now
            assert time.monotonic() < ends
            time.sleep(0.1)
            continue
        hand.sit_down()
        return hand


@pytest.mark.parametrize("dies", ["hub", "page"])
def test_a_run_outlives_the_death_of_its_hub_or_its_page_while_a_person_drives(build, tmp_path, dies):
    algorithm = build(operated_config(tmp_path / "diary", tmp_path / "replay", 1, env="EndlessDiaryEnv"))
    hub = ray.get(algorithm.hub.actor.__ray_call__.remote(lambda server: os.getpid()))
    counts = {}

    def person(page):
        with closing(hand_at(page)) as hand:
            hand.drive(5)
            if dies == "hub":
                os.kill(hub, signal.SIGKILL)
        with closing(hand_at(page)) as hand:
            until(lambda: hand.state["is_paused"])
            hand.press("resume")
            episode = hand.state["episode"]
            until(lambda: hand.state["episode"] > episode and hand.state["step"] > 3)
            hand.press("pause")
            until(lambda: hand.state["is_paused"])
            counts.update(hand.state["counts"])

    train_beside(algorithm, person)
    stored = stored_episodes(tmp_path / "replay", "online")
    executed = executed_episodes(tmp_path / "diary")
    assert sorted(episode.actions.tobytes() for episode in stored) == sorted(map(np.ndarray.tobytes, executed))
    assert counts["losses"] == 1 and counts["takeovers"] == 1 and counts["holds"] >= 1
    [lost] = [episode for episode in stored if episode.intervened.any()]
    assert (lost.masks[-1], lost.truncateds[-1], lost.dones[-1]) == (1.0, True, True)
    held = lost.actors.sources == "held"
    assert held.sum() == counts["holds"] and not lost.actions[held].any() and not lost.intervened[held].any()
    assert algorithm.faults.counts["faults/workers_lost"] == 0


def test_what_a_worker_takes_along_that_dies_while_a_person_drives_is_counted(build, caplog, tmp_path):
    caplog.set_level(logging.WARNING)
    algorithm = build(operated_config(tmp_path / "diary", tmp_path / "replay", 1, env="EndlessDiaryEnv"))
    [worker] = algorithm.env_runner_group.foreach_env_runner(lambda worker: os.getpid(), local_env_runner=False)

    def person(page):
        with closing(hand_at(page)) as hand:
            hand.drive(30)
            os.kill(worker, signal.SIGKILL)
            until(lambda: "Rollout worker 1 is back." in caplog.text)
        with closing(hand_at(page)) as hand:
            hand.drive(5)
            hand.clutch = False
            until(lambda: not hand.state["is_intervening"])

    train_beside(algorithm, person)
    left = executed_episodes(tmp_path / "diary")
    number = sum(map(len, left))
    for episode in stored_episodes(tmp_path / "replay", "online"):
        assert any(actions[: len(episode)].tobytes() == episode.actions.tobytes() for actions in left)
        number -= len(episode)
    counts = algorithm.faults.counts
    assert counts["faults/workers_lost"] == counts["faults/held_episodes_lost"] == 1
    assert 0 < counts["faults/held_steps_lost"] <= number
    assert "Rollout worker 1 held back 1 episodes with" in caplog.text


def test_a_pause_that_is_longer_than_the_deadline_of_a_step_is_no_fault(build, tmp_path):
    options = {"step_deadline": DEADLINE}
    algorithm = build(operated_config(tmp_path / "diary", tmp_path / "replay", 1, options, env="EndlessDiaryEnv"))

    def person(page):
        with closing(hand_at(page)) as hand:
            until(lambda: hand.state["step"] > 3)
            hand.press("pause")
            until(lambda: hand.state["is_paused"])
            ends, step = time.monotonic() + 3 * DEADLINE, hand.state["step"]
            until(lambda: time.monotonic() > ends)
            hand.press("resume")
            until(lambda: hand.state["step"] > step + 3)

    train_beside(algorithm, person)
    assert not any(algorithm.faults.counts.values())
    stored = stored_episodes(tmp_path / "replay", "online")
    assert [len(episode) for episode in stored] == [len(actions) for actions in executed_episodes(tmp_path / "diary")]
