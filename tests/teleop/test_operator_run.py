"""Whole runs with an operator: what was executed is stored, except for what was discarded, which is counted."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import closing

import numpy as np
import pytest
from hub_peers import until
from operated_envs import executed_episodes
from operated_robots import PUSHED, Background
from operated_runs import Hand, operated_config, stored_episodes, train_beside

from serl_ray.data.replay.log import read_shards
from serl_ray.options.operator import OperatorOptions
from serl_ray.rllib import SERLConfig, operators
from serl_ray.utils.options import OptionError

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("shared_ray")]

DRIVEN = 5
"""Steps for which the operator drives."""


def play(hand):
    """Takes over, hands back, labels a success, discards an episode, and pauses."""
    hand.sit_down()
    until(lambda: hand.state["step"] > 0)
    while hand.driven < DRIVEN:  # an episode may end under the hand, and the clutch is then pressed again
        hand.clutch = hand.state["is_intervening"] or not hand.clutch
        time.sleep(0.2)
    hand.clutch = False
    until(lambda: not hand.state["is_intervening"])
    hand.label("success")
    hand.label("discard")
    hand.press("pause")
    until(lambda: hand.state["is_paused"])


@pytest.mark.parametrize("num_workers", [0, 1])
def test_what_was_executed_is_stored_and_what_was_discarded_is_counted(build, tmp_path, num_workers):
    replay = tmp_path / "replay"
    algorithm = build(operated_config(tmp_path / "diary", replay, num_workers))
    with closing(Hand(algorithm.hub.page)) as hand:
        train_beside(algorithm, lambda page: play(hand))
        counts = hand.state["counts"]
    executed, stored = executed_episodes(tmp_path / "diary"), stored_episodes(replay, "online")
    left = {actions.tobytes(): actions for actions in executed}
    cut = []
    for episode in stored:
        [whole] = [key for key in left if key.startswith(episode.actions.tobytes())]
        if len(left[whole]) > len(episode):
            cut.append(episode)
        del left[whole]
    assert len(left) == counts["discards"] == 1, "of the episodes one is missing, and it was discarded"
    assert counts["successes"] == 1
    assert len(cut) <= 1 and all(episode.rewards[-1] == 1.0 and episode.masks[-1] == 0.0 for episode in cut)
    assert algorithm.env_steps == sum(map(len, stored))
    driven = [demo for episode in stored for demo in episode.runs(episode.intervened)]
    assert sum(map(len, driven)) >= DRIVEN and algorithm.interventions == sum(map(len, driven))
    for demo in driven:
        np.testing.assert_array_equal(demo.actions, [PUSHED] * len(demo))
        assert set(demo.actors.sources) == {"keyboard"}
    demos = [demo.actions for demo in read_shards(sorted((replay / "demos").glob("*.parquet")))]
    np.testing.assert_array_equal(np.concatenate(demos), np.concatenate([demo.actions for demo in driven]))


@pytest.mark.parametrize("num_workers", [0, 1])
def test_an_attended_run_waits_for_its_operator_and_ends_when_it_is_told(build, tmp_path, num_workers):
    algorithm = build(operated_config(tmp_path / "diary", tmp_path / "replay", num_workers, attended=True))
    interrupted = threading.Event()
    algorithm.stop_at(interrupted)
    with closing(Hand(algorithm.hub.page)) as hand:

        def look():
            try:
                while not hand.robots:
                    hand.robots = hand.next("welcome").fields["robots"]
            finally:
                interrupted.set()

        looking = Background(look)
        while not algorithm.should_stop:
            algorithm.training_step()
        looking.result()
    algorithm.wait_for_requests()
    assert algorithm.env_steps == 0 and executed_episodes(tmp_path / "diary") == []
    algorithm.stop()
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("link of")]


def test_an_expert_that_would_take_over_from_the_operator_is_refused():
    with pytest.raises(OptionError, match=r"expert_interventions is 0.1, .* leave out one of"):
        SERLConfig().operator(expert_interventions=0.1).validate()


def test_a_port_that_another_process_takes_meanwhile_is_given_up_for_another_one(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ports = [operators._free_port("127.0.0.1"), taken.getsockname()[1]]
        monkeypatch.setattr(operators, "_free_port", lambda host: ports.pop())
        monkeypatch.setattr(operators, "_check_free", lambda host, port: None)
        hub = operators.start_hub(operators.hub_name(), OperatorOptions(operator_port=0), None)
    assert not ports and f":{hub.port}/" in hub.page
    hub.close()
