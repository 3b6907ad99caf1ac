"""Runs with an operator, who is a client of their hub."""

from __future__ import annotations

import threading
import time
from contextlib import suppress

import aiohttp
from hub_peers import SECONDS, HubClient, until
from operated_robots import PUSHED, Background
from small_runs import SMALL

from serl_ray.data.replay.log import read_shards
from serl_ray.data.schema import Segment
from serl_ray.rllib import SERLConfig

OPTIONS = SMALL | {"training_starts": 4000, "random_steps": 4000, "evaluate_every": 0, "control_hz": 30}


def operated_config(folder, replay, num_workers, training=None, env="DiaryEnv", **options):
    """The config of a run with an operator, whose env keeps a diary in a folder."""
    folder.mkdir()
    config = SERLConfig().training(
        env_name=f"operated_envs:{env}",
        env_kwargs={"folder": str(folder)},
        setup_mode="single-arm-learned-gripper",
        **(OPTIONS | (training or {})),
    )
    config = config.operator(operator_port=0, **options)
    return config.env_runners(num_env_runners=num_workers).keep_replay(replay).debugging(seed=3)


def wait_for(condition, seconds):
    """Waits until something is so, for some seconds at most."""
    ends = time.monotonic() + seconds
    while not condition() and time.monotonic() < ends:
        time.sleep(0.01)


class Hand(HubClient):
    """An operator who displays every frame, and whose device is read at each."""

    def __init__(self, page):
        self.clutch, self.driven = False, 0
        super().__init__(page)

    def sit_down(self):
        """Watches the only robot, and asks for control."""
        while not self.robots:
            self.robots = self.next("welcome").fields["robots"]
        [robot] = self.robots
        self.watch(robot)
        self.display()
        threading.Thread(target=self._drive, daemon=True).start()
        self.request()

    def drive(self, steps):
        """Holds the clutch until so many steps were seen to be its own; it holds it further."""
        until(lambda: self.state["step"] > 0)
        while self.driven < steps or not self.clutch:
            if not self.state["is_intervening"]:  # a takeover may be refused, and the clutch is then pressed again
                self.clutch = False
                time.sleep(0.3)
                self.clutch = True
                wait_for(lambda: self.state["is_intervening"], 3.0)
            time.sleep(0.05)

    def count(self, name):
        return self.state.get("counts", {}).get(name, 0)

    def label(self, press):
        """Labels the episode that runs now, in its midst."""
        name = {"discard": "discards", "success": "successes"}[press]
        before, episode = self.count(name), self.state["episode"]
        until(lambda: self.state["episode"] > episode and self.state["is_running"] and self.state["step"] > 3)
        self.press(press)
        until(lambda: self.count(name) > before)

    def _drive(self):
        with suppress(aiohttp.ClientError):  # the connection is being closed
            while (message := self.inbox.get(timeout=SECONDS)) is not None:
                if message.kind == "frame":
                    self.driven += message.fields["action"]["actor"] == "person"
                    self.display()
                if message.kind in ("frame", "state"):
                    self.command(self.clutch, PUSHED)


def train_beside(algorithm, person):
    """Trains until the person is done, a function of the page's address; then everything is stored."""
    interrupted = threading.Event()
    algorithm.stop_at(interrupted)

    def operate():
        try:
            person(algorithm.hub.page)
        finally:
            interrupted.set()

    operating = Background(operate)
    while not algorithm.should_stop:
        algorithm.training_step()
    operating.result()
    algorithm.wait_for_requests()
    algorithm.log_writer.write()


def stored_episodes(replay, log):
    """The episodes in a log of the run's experience, each of which has been stored in one or more pieces."""
    parts = {}
    for segment in read_shards(sorted((replay / log).glob("*.parquet"))):
        parts.setdefault(segment.episode, []).append(segment)
    return [Segment.join(sorted(episode, key=lambda part: part.first_step)) for episode in parts.values()]
