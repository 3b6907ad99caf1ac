"""Resets by a person: the robot waits after its reset until somebody says that the scene is in order."""

from __future__ import annotations

import os
import sys
import time
from contextlib import ExitStack, closing, contextmanager
from threading import Event

import pytest
from hub_peers import HubClient, until
from operated_envs import executed_episodes
from operated_robots import Background, Clock, Robot, WitnessEnv
from operated_runs import Hand, operated_config, stored_episodes, train_beside
from stage import BEN, EVE, begun, driven

from serl_ray.cli.main import main
from serl_ray.envs.guard import Guard
from serl_ray.rllib import SERLConfig
from serl_ray.teleop.events import Press
from serl_ray.teleop.link import Link
from serl_ray.teleop.server import HubServer
from serl_ray.teleop.terminal_resets import TerminalResets
from serl_ray.teleop.wrapper import Interrupted
from serl_ray.utils.options import OptionError

ASKS = "Put the peg back, then press Enter."


def asking(stage):
    stage.session.asks = ASKS
    return stage


@pytest.mark.parametrize("hands_off", [False, True])
def test_any_operator_says_ready_where_nobody_has_control(hands_off):
    stage = asking(begun(hands_off=hands_off))
    stage.press(Press.READY, EVE)
    assert stage.session.asks == ASKS, "a viewer may not"
    assert stage.session.state(stage.now)["asks"] == ASKS
    stage.press(Press.READY, BEN)
    assert not stage.session.asks


def test_only_the_holder_says_ready_and_only_where_the_robot_may_move():
    stage = asking(driven())
    stage.press(Press.READY, BEN)
    stage.press(Press.PAUSE)
    stage.press(Press.READY)
    assert stage.session.asks == ASKS and stage.session.counts["refused"] == 2
    stage.press(Press.RESUME)
    stage.press(Press.READY)
    assert not stage.session.asks
    stage.press(Press.READY)
    assert stage.session.counts["refused"] == 3, "nothing waits for it any more"


@contextmanager
def asking_robot():
    """A robot with a hub, the call of its first reset, and a person who watches it over a socket."""
    with ExitStack() as stack:
        robot, server = Robot(asks=ASKS), stack.enter_context(closing(HubServer()))
        stack.enter_context(closing(Link(robot.env, "peg", server.robots, robot.env.described(None))))
        reset = Background(lambda: robot.env.reset(seed=1))
        person = stack.enter_context(closing(HubClient(server.page())))
        until(lambda: "peg" in person.robots)
        person.send("watch", robot="peg")
        until(lambda: person.state.get("asks") == ASKS)
        yield robot, reset, person
        robot.env.interrupted.set()


def test_the_episode_begins_with_what_is_seen_after_the_person_is_ready():
    with asking_robot() as (robot, reset, person):
        assert not person.state["is_running"]
        robot.clock.now += 40.0
        assert robot.witness.calls == ["reset", "hold"]
        person.press("ready")
        observation, _ = reset.result()
        assert robot.witness.calls == ["reset", "hold", "reset"]
        assert observation["state"].tobytes() == robot.witness._observe()["state"].tobytes()
        until(lambda: not person.state["asks"] and person.state["is_running"])
        report = robot.env.take_report()
        assert (report.reset_seconds, report.steps, report.operator_seconds) == (40.0, 0, 0.0)
        robot.step()
        assert person.state["episode"] == 1


def test_a_stop_while_the_robot_waits_holds_until_it_is_rearmed_and_the_person_is_ready():
    with asking_robot() as (robot, reset, person):
        person.request()
        person.press("stop")
        until(lambda: person.state["is_stopped"])
        person.press("ready")
        until(lambda: person.state["refusals"])
        assert person.state["asks"] == ASKS and reset.is_running and "stop" in robot.witness.calls
        person.press("rearm")
        until(lambda: not person.state["is_stopped"])
        assert reset.is_running
        person.press("ready")
        reset.result()
        assert robot.witness.calls.count("reset") == 2


def test_the_end_of_the_run_ends_the_waiting():
    robot = Robot(asks=ASKS)
    reset = Background(robot.env.reset)
    until(lambda: robot.session.asks)
    robot.env.interrupted.set()
    with pytest.raises(Interrupted):
        reset.result()
    assert not robot.session.asks


@pytest.fixture
def keys(monkeypatch):
    """The keys of a terminal, which is this process's: what is written here was typed."""
    keys, terminal = os.openpty()
    with os.fdopen(terminal, "r") as file, os.fdopen(keys, "w", buffering=1) as typed:
        monkeypatch.setattr(sys, "stdin", file)
        yield typed


def test_enter_in_the_terminal_begins_the_episode(keys, capsys):
    witness = WitnessEnv(Clock())
    env = TerminalResets(Guard(witness, None, None), ASKS)
    keys.write("\n")  # before anybody was asked
    reset = Background(lambda: env.reset(seed=1))
    until(lambda: ASKS in capsys.readouterr().out)
    time.sleep(0.3)
    assert reset.is_running
    assert witness.calls == ["reset", "hold"]
    keys.write("\n")
    reset.result()
    assert witness.calls == ["reset", "hold", "reset"]


def test_the_end_of_the_run_ends_the_waiting_in_the_terminal(keys):
    witness, interrupted = WitnessEnv(Clock()), Event()
    reset = Background(TerminalResets(witness, ASKS, interrupted).reset)
    until(lambda: "hold" in witness.calls)
    interrupted.set()
    with pytest.raises(Interrupted):
        reset.result()


def test_a_run_in_which_nobody_could_answer_is_refused(keys, monkeypatch):
    config = SERLConfig().training(reset_by="operator", evaluate_every=0)
    config.copy().validate()
    config.copy().env_runners(num_env_runners=2).operator().validate()
    with pytest.raises(OptionError, match="no terminal .* take --operator"):
        config.copy().env_runners(num_env_runners=2).validate()
    with open(os.devnull) as nothing:
        monkeypatch.setattr(sys, "stdin", nothing)
        with pytest.raises(OptionError, match="no terminal .* take --operator"):
            config.copy().validate()


def test_a_recording_in_which_nobody_could_answer_is_refused(tmp_path, monkeypatch, capsys):
    with open(os.devnull) as nothing:
        monkeypatch.setattr(sys, "stdin", nothing)
        assert main(["record", "--output", str(tmp_path / "demos.pkl"), "--reset_by", "operator"]) == 2
    assert "no terminal" in capsys.readouterr().err
    assert main(["record", "--output", str(tmp_path / "demos.pkl"), "--reset_message", "Wait"]) == 2
    assert "without --reset_by operator" in capsys.readouterr().err


def test_a_run_begins_each_episode_when_its_person_is_ready(shared_ray, tmp_path):
    config = operated_config(tmp_path / "diaries", tmp_path / "replay", 1, {"reset_by": "operator"})
    algorithm = config.build_algo()

    def person(page):
        with closing(Hand(page)) as hand:
            hand.sit_down()
            for number in range(3):
                until(lambda: hand.state["asks"] == "Put the object back, then press Enter.")
                assert hand.state["episode"] == number and not hand.state["is_running"]
                hand.press("ready")
                until(lambda: hand.state["is_running"])
            until(lambda: hand.state["asks"])

    try:
        train_beside(algorithm, person)
        assert algorithm.operators.metrics()["operator/reset_seconds"] > 0
    finally:
        algorithm.stop()
    stored = stored_episodes(tmp_path / "replay", "online")
    executed = executed_episodes(tmp_path / "diaries")
    assert len(executed) == 3
    assert {episode.actions.tobytes() for episode in stored} == {actions.tobytes() for actions in executed}
