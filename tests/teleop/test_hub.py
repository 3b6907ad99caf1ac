"""The hub over real sockets: who is let in, what is passed on, and that nobody can fill its memory."""

from __future__ import annotations

from contextlib import ExitStack, closing, suppress

import numpy as np
import pytest
from hub_peers import ROBOT, FakeRobot, HubClient, Peer, until

from serl_ray.teleop import hub
from serl_ray.teleop.events import ClientRole
from serl_ray.teleop.messages import MAX_TEXT
from serl_ray.teleop.throttle import RATE_SECONDS
from serl_ray.teleop.wire import LENGTH, MAX_BYTES, Message, pack

ACTION = np.zeros(7, np.float32)


@pytest.fixture
def join(server):
    """Connections that end with the test."""
    with ExitStack() as peers:
        yield lambda kind, *args, **kwargs: peers.enter_context(closing(kind(*args, **kwargs)))


@pytest.fixture
def client(server, join):
    """A client that watches a robot, and the robot."""
    robot = join(FakeRobot, server.robots())
    client = join(HubClient, server.page())
    until_known(client, robot.name)
    robot.show(1)
    client.watch(robot.name)
    while robot.next("watched").fields["watchers"] != 1:
        pass
    return client, robot


def until_known(client, robot):
    while robot not in client.robots:
        client.robots = client.next("welcome").fields["robots"]


def still_lives(client, robot):
    """The hub hears the client, and the client the robot."""
    client.display()
    robot.show(10_000)
    until(lambda: client.frame == 10_000)


def test_a_client_that_never_displays_a_frame_gets_one(client):
    client, robot = client
    for frame in range(2, 200):
        robot.show(frame)
    robot.say(sent="all")
    until(lambda: client.state == {"sent": "all"})
    assert client.frame == 1
    client.display()
    assert client.next("frame").fields["frame"] == 199, "the newest is shown, and the others never"


def test_whoever_begins_to_watch_sees_the_newest_frame(client, server, join):
    _, robot = client
    robot.show(2)
    robot.say(is_paused=True)
    late = join(HubClient, server.page(ClientRole.VIEWER))
    assert late.watch(robot.name).fields["frame"] == 2


def test_a_client_that_sends_too_much_is_cut_off(client, server, join, monkeypatch):
    monkeypatch.setattr(hub, "MAX_RATE", 10)
    client, robot = client
    other = join(HubClient, server.page(ClientRole.VIEWER))
    with suppress(ConnectionError):  # it may be closed before the last one is sent
        for _ in range(int(10 * RATE_SECONDS) + 1):
            client.send("alive")
    assert client.close_code() == 4400
    other.watch(robot.name)
    still_lives(other, robot)


def test_text_is_refused(client):
    client, _ = client
    client.send_raw("{}")
    assert client.close_code() == 4400


def test_a_message_that_is_too_long_ends_the_connection(client):
    client, robot = client
    with suppress(ConnectionError):
        client.send_raw(bytes(MAX_BYTES + 1))
    client.close_code()
    assert robot.next("left").fields["client"] == client.name


def blobs(**arrays):
    return {name: np.zeros(size, np.uint8) for name, size in arrays.items()}


COMMAND = {"epoch": 1, "frame": 1, "clutch": True, "source": "keyboard", "tail": False}
TWIST = {**COMMAND, "arm": 0, "reference": "base"}
MALFORMED = {
    "no message": b"",
    "no header": b"garbage that is no message",
    "no json": LENGTH.pack(3) + b"{{{",
    "unknown kind": pack(Message("frame")),
    "a kind that is long": pack(Message("\ud800" * 5000)),
    "a kind of the hub's": pack(Message("left")),
    "no such robot": pack(Message("watch", {"robot": "nobody"})),
    "alive with fields": pack(Message("alive", {"name": "a" * 10_000})),
    "alive with blobs": pack(Message("alive", arrays=blobs(a=1_000_000))),
    "displayed with blobs": pack(Message("displayed", {"frame": 1}, arrays=blobs(a=1))),
    "a fleet that is neither on nor off": pack(Message("fleet", {"on": 1})),
    "a thumbnail without a robot": pack(Message("seen", {})),
    "a frame below 0": pack(Message("displayed", {"frame": -1})),
    "a command without an action": pack(Message("command", COMMAND)),
    "a command for another robot": pack(Message("command", COMMAND, {"action": np.zeros(6, np.float32)})),
    "a command in doubles": pack(Message("command", COMMAND, {"action": np.zeros(7)})),
    "a command that is too large": pack(Message("command", COMMAND, {"action": ACTION + 1.5})),
    "a twist of an arm that is not there": pack(Message("command", {**TWIST, "arm": 1}, {"twist": ACTION[:6]})),
    "a twist of seven numbers": pack(Message("command", TWIST, {"twist": ACTION})),
    "a command in another's name": pack(Message("command", {**COMMAND, "client": "operator-1"}, {"action": ACTION})),
    "names of blobs that are long": pack(Message("command", COMMAND, {f"{i}" + "🙂" * 1000: ACTION for i in range(5)})),
    "an unknown key": pack(Message("press", {"epoch": 1, "frame": 1, "press": "jump"})),
    "a gripper without a number": pack(Message("press", {"epoch": 1, "frame": 1, "press": "gripper"})),
}


def test_a_malformed_message_is_refused_and_the_connection_lives(client):
    client, robot = client
    for name, raw in MALFORMED.items():
        client.send_raw(raw)
        assert 0 < len(client.next("refused").fields["reason"]) < 1000, name
    client.send("alive")
    assert robot.next("alive").fields == {"client": client.name, "role": "operator"}, "nothing else has reached it"


def test_messages_about_no_robot_are_refused(server, join):
    client = join(HubClient, server.page())
    client.command(True, ACTION)
    assert "not connected" in client.next("refused").fields["reason"]
    client.press("stop")
    assert "not connected" in client.next("refused").fields["reason"]


def test_of_several_commands_all_keys_between_them_keep_their_order(client):
    client, robot = client
    for frame in range(20):
        client.command(bool(frame % 2), ACTION, frame=frame)
        client.press("stop", frame=frame)
    heard = [robot.inbox.get(timeout=30) for _ in range(40)]
    assert [message.fields["frame"] for message in heard] == [frame for frame in range(20) for _ in range(2)]
    assert {message.fields["client"] for message in heard} == {client.name}


def test_a_robot_hears_who_has_left(client):
    client, robot = client
    client.close()
    assert robot.next("left").fields["client"] == client.name


def test_clients_hear_that_a_robot_has_gone_and_see_it_again_when_it_is_back(client, server, join):
    client, robot = client
    robot.close()
    assert client.next("gone").fields == {"robot": robot.name}
    client.press("stop")
    assert "not connected" in client.next("refused").fields["reason"]
    again = join(FakeRobot, server.robots(), cameras=["front"])
    assert client.next("welcome").fields["robots"] == {"fake": {**ROBOT, "cameras": ["front"]}}
    still_lives(client, again)


def test_a_robot_that_is_back_before_its_old_connection_ends_stays(client, server, join):
    client, old = client
    new = join(FakeRobot, server.robots())
    client.next("welcome")
    old.close()
    still_lives(client, new)
    client.press("stop")
    assert new.next("press").fields["press"] == "stop"


def test_a_frame_of_the_robot_before_is_not_shown(client, server, join):
    client, first = client
    second = join(FakeRobot, server.robots(), "second")
    until_known(client, "second")
    first.show(7)
    first.say(sent="all")
    until(lambda: client.state == {"sent": "all"})  # frame 7 waits for a credit
    client.send("watch", robot="second")
    assert first.next("left").fields["client"] == client.name
    second.show(3)
    assert client.next("frame").fields == {"robot": "second", "frame": 3, "state": {}}


DEEP = {"a": [[]]}


@pytest.mark.parametrize(
    ("described", "code"),
    [
        ("text", 4401),
        ({**ROBOT, "action_dim": "7"}, 4401),
        ({**ROBOT, "action_dim": -1}, 4401),
        ({**ROBOT, "deep": DEEP}, 4413),
        ({**ROBOT, "long": "a" * 65_300}, 4413),
    ],
)
def test_a_robot_with_a_bad_description_is_sent_away_and_clients_come_in_all_the_same(server, join, described, code):
    address = server.robots()
    robot = join(Peer, address["url"])
    robot.send("hello", secret=address["secret"], robot="bad", described=described)
    assert robot.close_code() == code
    assert join(HubClient, server.page()).robots == {}


def test_a_robot_that_sends_no_messages_is_sent_away(client):
    client, robot = client
    robot.send_raw(b"garbage")
    robot.close_code()
    assert client.next("gone").fields == {"robot": robot.name}


def test_a_robot_that_comes_after_the_end_of_the_run_hears_of_it(client, server, join):
    _, robot = client
    server.interrupt_robots()
    robot.next("interrupt")
    join(FakeRobot, server.robots(), "late").next("interrupt")


def test_names_of_robots_are_short(server, join):
    address = server.robots()
    robot = join(Peer, address["url"])
    robot.send("hello", secret=address["secret"], robot="a" * (MAX_TEXT + 1), described=ROBOT)
    assert robot.close_code() == 4401
