"""The link of a robot to the hub, over a real socket: operators watch and drive, come and go, and the link outlives
the hub."""

from __future__ import annotations

import secrets
import threading
from contextlib import ExitStack, closing

import numpy as np
import pytest
from hub_peers import ROBOT, SECONDS, HubClient, until
from operated_robots import POLICY, PUSHED, Background
from PIL import Image

from serl_ray.data.episodes import HELD_ACTION
from serl_ray.teleop.events import ClientRole, Ending, StepActor, Verdict
from serl_ray.teleop.link import Link
from serl_ray.teleop.server import HubServer
from serl_ray.teleop.session import LOST_SECONDS
from serl_ray.teleop.wrapper import VERDICT


@pytest.fixture
def linked(server, robot):
    with closing(link_of(robot, server)):
        yield robot


@pytest.fixture
def join(server, linked):
    with ExitStack() as clients:

        def join(role=ClientRole.OPERATOR):
            client = clients.enter_context(closing(HubClient(server.page(role))))
            while "robot" not in client.robots:
                client.robots = client.next("welcome").fields["robots"]
            client.watch("robot")
            return client

        yield join


def link_of(robot, server):
    return Link(robot.env, "robot", server.robots, ROBOT)


def seen(client, robot):
    """The client has displayed the newest frame."""
    while client.frame < robot.view.frame:
        client.display()
        client.next("frame")


def drive(client, robot, action=PUSHED):
    client.request()
    seen(client, robot)
    client.command(False, action)
    client.command(True, action)
    until(lambda: robot.session.counts["takeovers"] == 1)


def test_a_person_drives_over_the_socket(join, linked):
    client = join()
    drive(client, linked)
    info = linked.step()
    np.testing.assert_array_equal(info["intervene_action"], PUSHED)
    assert info["intervene_source"] == "keyboard"
    client.display()
    shown = client.next("frame")
    while shown.fields["frame"] < linked.view.frame:
        client.display()
        shown = client.next("frame")
    assert shown.fields["action"] == {"actor": "person", "executed": PUSHED.tolist(), "policy": POLICY.tolist()}
    assert shown.fields["state"]["is_intervening"] and [*shown.jpegs] == ["front"]


def test_a_viewer_watches_and_stops_and_nothing_else(join, linked):
    viewer = join(ClientRole.VIEWER)
    viewer.press("request")
    until(lambda: linked.session.counts["refused"] == 1)
    for clutch in (False, True):
        viewer.command(clutch, PUSHED)
        until(lambda clutch=clutch: linked.session.counts["stale"] == 1 + clutch)
    assert linked.env.is_attached() is False
    linked.step()
    assert linked.actor() is StepActor.POLICY
    viewer.press("stop")
    until(lambda: linked.session.is_stopped)
    assert linked.step() == {VERDICT: Verdict(Ending.STOP, 1)}


def test_images_are_compressed_only_while_somebody_looks(join, linked, monkeypatch):
    packed, read = [], Image.fromarray
    monkeypatch.setattr(Image, "fromarray", lambda array: packed.append(linked.view.frame) or read(array))
    for _ in range(3):
        linked.step()
    first = join()
    until(lambda: first.frame == linked.view.frame)
    assert set(packed) == {4}, "the newest view at once, and none before it"
    first.close()
    until(lambda: linked.env.watchers == 0)
    linked.step()
    second = join()
    until(lambda: second.frame == linked.view.frame or second.display())
    assert packed == [4, 5]


def test_a_stop_reaches_a_step_under_way(join, linked):
    viewer, is_stopped = join(ClientRole.VIEWER), threading.Event()
    make_step, linked.witness.stop = linked.witness.step, is_stopped.set

    def step(action):
        assert is_stopped.wait(SECONDS)
        return make_step(action)

    linked.witness.step = step
    stepping = Background(linked.step)
    viewer.press("stop")
    assert VERDICT not in stepping.result()
    assert linked.step() == {VERDICT: Verdict(Ending.STOP, 1)}


def test_one_of_two_operators_has_control_and_the_other_one_after_it(join, linked):
    anna, ben = join(), join()
    anna.request()
    ben.press("request")
    until(lambda: linked.session.counts["refused"] == 1)
    assert linked.session.lease.holder.name == anna.name
    ben.press("pause")
    until(lambda: linked.session.counts["refused"] == 2)
    assert not linked.session.is_paused
    anna.close()
    until(lambda: linked.session.lease.holder is None)
    ben.request()
    assert linked.session.lease.holder.name == ben.name


def test_a_client_that_closes_while_it_drives_holds_the_robot_and_then_ends_the_episode(join, linked):
    client = join()
    drive(client, linked)
    assert "intervene_action" in linked.step()
    client.close()
    until(lambda: linked.session.lease.holder is None)
    np.testing.assert_array_equal(linked.step()[HELD_ACTION], np.zeros(7))
    linked.clock.now += LOST_SECONDS
    assert linked.step() == {VERDICT: Verdict(Ending.LOST, 2)}
    assert linked.session.is_paused


def test_the_link_outlives_the_hub_and_its_operators_do_not(robot):
    root = secrets.token_bytes(32)
    with closing(HubServer(root=root)) as first:
        link, port = link_of(robot, first), first.port
        client = HubClient(first.page())
        while "robot" not in client.robots:
            client.robots = client.next("welcome").fields["robots"]
        client.watch("robot")
        drive(client, robot)
    until(lambda: robot.session.lease.holder is None)
    client.close()
    with closing(link), closing(HubServer(port=port, root=root)) as second, closing(HubClient(second.page())) as client:
        while "robot" not in client.robots:
            client.robots = client.next("welcome").fields["robots"]
        client.watch("robot")
        assert client.state["holder"] is None


def test_a_policy_that_has_no_numbers_does_not_blind_its_operators(join, linked):
    client = join()
    drive(client, linked)
    linked.step(np.full(7, np.nan, np.float32))
    client.display()
    while (shown := client.next("frame")).fields["frame"] < linked.view.frame:
        client.display()
    assert shown.fields["action"]["policy"] is None


def test_a_frame_that_cannot_be_sent_is_named_and_the_next_one_is_shown(join, linked, caplog):
    client = join()
    linked.step(np.where(np.arange(7) == 3, np.float32(np.nan), POLICY))  # executed, in a number that nothing uses
    until(lambda: "do not see a frame" in caplog.text)
    linked.step()
    client.display()
    while client.next("frame").fields["frame"] < linked.view.frame:
        client.display()


def test_a_link_ends_at_once_also_where_there_is_no_hub(robot):
    tried = threading.Event()

    def address():
        tried.set()
        raise ConnectionError("There is no hub.")

    link = Link(robot.env, "lonely", address, ROBOT)
    tried.wait()
    link.close()
    assert "link of lonely" not in {thread.name for thread in threading.enumerate()}


def test_a_link_that_fails_says_so_and_begins_anew(robot, server, caplog):
    faults = [RuntimeError("a fault of ours")]

    def address():
        if faults:
            raise faults.pop()
        return server.robots()

    with closing(Link(robot.env, "robot", address, ROBOT)), closing(HubClient(server.page())) as client:
        while "robot" not in client.robots:
            client.robots = client.next("welcome").fields["robots"]
    assert "a fault of ours" in caplog.text


def test_a_robot_that_is_refused_is_told_of(robot, server, caplog):
    with closing(Link(robot.env, "robot", lambda: {**server.robots(), "secret": "0" * 64}, ROBOT)):
        until(lambda: "wrong secret" in caplog.text)
