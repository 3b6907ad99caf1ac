"""Evaluations of a run with operators: they are watched, stopped, and played again after the re-arming."""

from __future__ import annotations

import logging
import threading
from contextlib import closing

import pytest
from hub_peers import HubClient, until
from operated_robots import Background
from small_runs import SMALL

from serl_ray.rllib import SERLConfig

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("shared_ray")]

OPTIONS = SMALL | {"training_starts": 4000, "random_steps": 4000, "evaluate_every": 50, "evaluation_episodes": 3}


def config(waits, num_workers, evaluators):
    config = SERLConfig().training(
        env_name="operated_envs:PatientEnv",
        env_kwargs={"waits": waits},
        setup_mode="single-arm-learned-gripper",
        **OPTIONS,
    )
    config = config.env_runners(num_env_runners=num_workers).evaluation(evaluation_num_env_runners=evaluators)
    return config.debugging(seed=3)


def evaluation_of(result):
    return {name: value for name, value in result.items() if name.startswith("evaluation/")}


class Watcher(HubClient):
    """Somebody who watches the evaluation."""

    def find(self, robot):
        while robot not in self.robots:
            self.robots = self.next("welcome").fields["robots"]
        self.send("watch", robot=robot)
        until(lambda: self.state)

    def stop_and_rearm(self):
        """Stops the evaluation amid an episode, tries what is refused, and lets it go on."""
        until(lambda: self.state["is_running"] and self.state["step"] == 2)
        self.press("request")
        until(lambda: self.state["holder"] == self.name)
        for number, press in enumerate(("pause", "success", "discard", "reset"), start=1):
            self.press(press)
            until(lambda number=number: self.state["counts"].get("refused") == number)
        assert all("an evaluation is played: hands off" in refusal for refusal in self.state["refusals"])
        self.press("stop")
        until(lambda: self.state["is_stopped"] and not self.state["is_running"])
        self.press("rearm")


@pytest.mark.parametrize(("num_workers", "evaluators"), [(0, 0), (1, 1)])
def test_an_evaluation_that_is_stopped_does_not_count_and_is_played_again(build, caplog, num_workers, evaluators):
    caplog.set_level(logging.WARNING)
    alone = build(config(False, num_workers, evaluators))
    expected = evaluation_of(alone.evaluate_now())
    alone.stop()
    algorithm = build(config(True, num_workers, evaluators).operator(operator_port=0))
    algorithm.stop_at(threading.Event())
    algorithm.wait_for_requests()  # as at the end of a run, before its last evaluation
    with closing(Watcher(algorithm.hub.page)) as watcher:
        watcher.find(f"evaluation-{evaluators}-0")
        stopping = Background(watcher.stop_and_rearm)
        result = algorithm.evaluate_now()
        stopping.result()
    assert not algorithm.should_stop
    assert evaluation_of(result) == expected
    assert result["faults/evaluations_lost"] == 1 and "An operator has stopped an evaluation" in caplog.text


def test_an_evaluation_that_waits_for_its_operator_ends_with_the_run(build):
    algorithm = build(config(False, 0, 0).operator(operator_port=0, attended=True))
    interrupted = threading.Event()
    algorithm.stop_at(interrupted)
    with closing(Watcher(algorithm.hub.page)) as watcher:

        def look():
            try:
                while "evaluation-0-0" not in watcher.robots:
                    watcher.robots = watcher.next("welcome").fields["robots"]
            finally:
                interrupted.set()

        looking = Background(look)
        assert algorithm.play_evaluation() == []
        looking.result()
