"""A robot that serl_robot serves, over networks that delay, stall and break."""

import os
import stat
import threading
import time

import numpy as np
import pytest
from hub_peers import until
from hypothesis import given, settings
from hypothesis import strategies as st
from line_envs import LineEnv
from operated_robots import PUSHED, Background
from operated_runs import Hand
from remote_robots import ACTION, SETUP, PausableEnv, free_port, served
from serl_robot.spaces import Box, Dict, description

from serl_ray.benchmarks.network import SlowNetwork
from serl_ray.data.episodes import EnvFault
from serl_ray.envs import build_env, check_env
from serl_ray.envs.guard import Guard
from serl_ray.envs.remote import RemoteEnv
from serl_ray.envs.remote.hello import PROTOCOL, RobotHello
from serl_ray.envs.remote.token import robot_token
from serl_ray.envs.time_limit import SecondsLimit
from serl_ray.teleop.link import Link
from serl_ray.teleop.server import HubServer
from serl_ray.teleop.session import Session
from serl_ray.teleop.wire import Message, pack, unpack
from serl_ray.teleop.wrapper import OperatedEnv
from serl_ray.types import ActionLayout
from serl_ray.utils.errors import SetupError


@pytest.fixture
def patient(monkeypatch):
    """Robots that wait long for a step, as a busy machine needs where a test is not about waiting."""
    monkeypatch.setattr("serl_robot.control.HOLD_PERIODS", 10**4)


@pytest.fixture
def robot():
    """An env, the same over a network, and the network."""
    port, env = free_port(), PausableEnv(cameras=("front",), horizon=1000)
    with SlowNetwork(port) as network, served(env, network.port):
        remote = RemoteEnv(SETUP, port=port)
        yield env, remote, network
        remote.close()


class WholeEnv(LineEnv):
    """Has all optional methods."""

    def hold(self):
        pass

    def stop(self):
        pass

    def live_frames(self):
        return {"front": np.zeros((32, 32, 3), np.uint8)}

    def twist_to_action(self, arm, twist, frame):
        return twist


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("make", [LineEnv, WholeEnv])
def test_a_served_env_keeps_the_contract(make):
    port = free_port()
    with served(make(cameras=("front",)), port):
        env = build_env("remote", setup_mode=SETUP, env_kwargs={"port": port})
        assert check_env(env, SETUP) == []
        env.close()


@pytest.mark.usefixtures("patient")
def test_an_episode_over_a_slow_network_equals_that_of_the_env_itself():
    """Round trips of 30 ms, at 10 Hz: every number is the same."""
    here, port = LineEnv(cameras=("front",)), free_port()
    rng = np.random.default_rng(0)
    with SlowNetwork(port, delay=0.015) as network, served(LineEnv(cameras=("front",)), network.port, hz=10):
        env = RemoteEnv(SETUP, port=port)
        pairs = [(env.reset(seed=5), here.reset(seed=5))]
        for _ in range(12):
            action = rng.uniform(-0.2, 0.2, 7).astype(np.float32)
            pairs.append((env.step(action), here.step(action)))
        env.close()
    for remote, local in pairs:
        assert remote[1:] == local[1:]
        for key, value in local[0].items():
            np.testing.assert_array_equal(remote[0][key], value)


def test_a_robot_whose_link_breaks_stops_and_goes_on_in_a_new_episode(patient, robot):
    env, remote, network = robot
    remote.reset(seed=0)
    remote.step(ACTION)
    network.drop()
    with pytest.raises(EnvFault, match="is lost"):
        for _ in range(1000):  # the loss is noticed a moment later
            remote.step(ACTION)
    until(lambda: "stop" in env.calls)
    executed = len(env.executed)
    remote.reset(seed=1)
    assert len(env.executed) == executed and env.calls[-1] == "reset"
    remote.step(ACTION)
    assert len(env.executed) == executed + 1


def test_a_step_that_a_stalled_network_brings_late_is_not_executed(robot):
    env, remote, network = robot
    remote.reset(seed=0)
    remote.step(ACTION)
    executed = len(env.executed)
    network.stall()
    step = Background(lambda: remote.step(ACTION))
    until(lambda: "hold" in env.calls)
    network.flow()
    with pytest.raises(EnvFault, match=r"arm waited 0\.\d\d s for its next step.*not executed") as raised:
        step.result()
    assert raised.value.kind == "timeout" and len(env.executed) == executed
    remote.reset(seed=1)
    remote.step(ACTION)


def test_a_pause_that_was_said_makes_no_step_late(robot):
    env, remote, _ = robot
    remote.reset(seed=0)
    remote.step(ACTION)
    remote.hold()
    until(lambda: "hold" in env.calls)
    threading.Event().wait(0.2)  # ten periods
    remote.step(ACTION)
    assert env.calls.count("step") == 2


def test_a_deadline_stops_a_step_that_hangs_at_the_robot(patient, robot):
    env, remote, _ = robot
    guard = Guard(remote, 0.5, None)
    guard.reset(seed=0)
    env.goes_on.clear()
    with pytest.raises(EnvFault, match="step_deadline of 0.5 s"):
        guard.step(ACTION)
    until(lambda: "stop" in env.calls)  # which lets the step go on
    guard.reset(seed=1)
    guard.step(ACTION)


@pytest.mark.usefixtures("patient")
def test_clocks_that_jump_change_nothing_at_either_end(robot, monkeypatch):
    env, remote, _ = robot
    jumps = iter(np.random.default_rng(0).uniform(0, 2e9, 100_000))
    monkeypatch.setattr(time, "time", lambda: float(next(jumps)))
    guard = Guard(SecondsLimit(remote, 60.0), 60.0, 60.0)
    guard.reset(seed=0)
    results = [guard.step(ACTION) for _ in range(20)]
    assert len(env.executed) == 20 and not any(terminated or truncated for _, _, terminated, truncated, _ in results)


class BrokenEnv(PausableEnv):
    """Its second step fails."""

    def step(self, action):
        result = super().step(action)
        if len(self.executed) == 2:
            result[0]["state"][0] = np.nan
        return result


@pytest.mark.usefixtures("patient")
def test_what_fails_at_the_robot_stops_it_and_is_said_here():
    env, port = BrokenEnv(horizon=1000), free_port()
    with served(env, port):
        remote = RemoteEnv(SETUP, port=port)
        remote.reset(seed=0)
        remote.step(ACTION)
        with pytest.raises(EnvFault, match="The robot arm has stopped. Observation 'state' holds NaN"):
            remote.step(ACTION)
        assert "stop" in env.calls
        remote.reset(seed=1)
        remote.step(ACTION)
        remote.close()


def test_both_ends_may_begin_anew():
    port = free_port()
    with served(LineEnv(), port):
        for _ in range(2):  # another run, of the same robot
            env = RemoteEnv(SETUP, port=port)
            env.reset(seed=0)
            env.close()
        env = RemoteEnv(SETUP, port=port)
    with pytest.raises(EnvFault, match="is lost"):
        env.step(ACTION)
    with served(LineEnv(), port):
        env.reset(seed=0)
        env.step(ACTION)
        env.close()


def test_an_operator_drives_pauses_and_stops_a_robot_over_the_network(patient, robot):
    env, remote, _ = robot
    layout = ActionLayout.from_setup(SETUP, 7)
    operated = OperatedEnv(Guard(remote, 30.0, None), Session(layout))
    server = HubServer()
    link = Link(operated, "arm", server.robots, operated.described(None))
    hand = Hand(server.page())
    operated.reset(seed=0)
    hand.sit_down()
    stepping = Background(lambda: step_until_the_end(operated))
    try:
        hand.drive(2)
        assert any(np.array_equal(action, PUSHED) for action in env.executed)
        hand.press("pause")
        until(lambda: env.calls[-1] == "hold")
        executed = len(env.executed)
        hand.press("resume")
        until(lambda: len(env.executed) > executed)
        hand.press("stop")
        until(lambda: "stop" in env.calls)
        stepping.result()
        executed = len(env.executed)
        assert operated.session.is_stopped and len(env.executed) == executed
    finally:
        operated.interrupted.set()
        hand.close()
        link.close()
        server.close()


def step_until_the_end(operated):
    """Steps of a policy, until an operator ends the episode."""
    while not operated.step(ACTION)[3]:
        pass


@given(
    st.dictionaries(
        st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=5),
        st.one_of(
            st.tuples(st.integers(1, 9), st.sampled_from(["float32", "float64", "int16"]), st.booleans()),
            st.just((8, 8, 3)),
        ),
        min_size=1,
        max_size=5,
    )
)
@settings(deadline=None)
def test_the_spaces_that_a_robot_describes_are_those_that_are_read(drawn):
    boxes = {}
    for key, value in drawn.items():
        if value == (8, 8, 3):
            boxes[key] = Box(0, 255, value, np.uint8)
        else:
            size, dtype, is_bounded = value
            limit = 3 if is_bounded or dtype == "int16" else np.inf
            boxes[key] = Box(-limit, limit, (size,), np.dtype(dtype))

    class Described:
        observation_space, action_space = Dict(boxes), Box(-1, 1, (7,))

    fields, bounds = description(Described())
    fields |= {"protocol": PROTOCOL, "version": "1", "name": "arm", "setup_mode": SETUP, "hz": 10.0}
    fields |= {"methods": [], "seen_from": "behind"}
    hello = RobotHello.of(unpack(pack(Message("hello", fields, bounds))))
    assert hello.action_dim == 7 and hello.spaces.keys() == boxes.keys()
    for key, box in boxes.items():
        space = hello.spaces[key]
        assert space.shape == box.shape and space.dtype == box.dtype
        np.testing.assert_array_equal(space.low, box.low)
        np.testing.assert_array_equal(space.high, box.high)


def test_the_token_is_made_once_for_its_owner_alone(tmp_path, monkeypatch):
    monkeypatch.delenv("SERL_ROBOT_TOKEN")
    monkeypatch.setenv("HOME", str(tmp_path))
    made = [Background(robot_token) for _ in range(8)]
    [token] = {one.result() for one in made}
    file = tmp_path / ".serl" / "robot_token"
    assert file.read_text() == token and len(token) == 64
    assert stat.S_IMODE(os.stat(file).st_mode) == 0o600 and [*file.parent.iterdir()] == [file]
    monkeypatch.setenv("SERL_ROBOT_TOKEN", "short")
    with pytest.raises(SetupError, match="token in SERL_ROBOT_TOKEN has 5 characters"):
        robot_token()
