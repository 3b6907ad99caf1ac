"""Who looks at robots and at the whole fleet: thumbnails, the curves of the run, and the numbers of a step."""

from __future__ import annotations

import math
from contextlib import ExitStack, closing

import numpy as np
import pytest
from hub_peers import JPEG, FakeRobot, HubClient, until
from operated_robots import POLICY, Clock

from serl_ray.teleop import fleet
from serl_ray.teleop.events import ClientRole
from serl_ray.teleop.fleet import CURVES, MOST_ROWS, THUMBNAIL_SECONDS, Thumbnails
from serl_ray.teleop.link import Link
from serl_ray.teleop.server import HubServer
from serl_ray.teleop.wire import Message, unpack


@pytest.fixture
def join(server):
    """Robots by their names, and clients by their roles, whose connections end with the test."""
    with ExitStack() as peers:

        def join(who):
            if isinstance(who, ClientRole):
                return peers.enter_context(closing(HubClient(server.page(who))))
            return peers.enter_context(closing(FakeRobot(server.robots(), who)))

        yield join


def knowing(client, *robots):
    """The client, once it knows robots of these names."""
    while not {*robots} <= client.robots.keys():
        client.robots = client.next("welcome").fields["robots"]
    return client


def watchers(robot):
    return robot.next("watched").fields["watchers"]


def test_a_robot_is_told_how_many_look_at_it(join):
    robot, other = join("peg"), join("screw")
    assert watchers(robot) == watchers(other) == 0
    first, second = (knowing(join(ClientRole.VIEWER), "peg", "screw") for _ in range(2))
    first.send("watch", robot="peg")
    assert watchers(robot) == 1
    second.send("watch", robot="peg")
    assert watchers(robot) == 2
    first.send("watch", robot="screw")
    assert watchers(robot) == 1 and watchers(other) == 1
    second.close()
    assert watchers(robot) == 0


def test_an_env_knows_its_watchers_until_its_hub_is_gone(robot):
    with ExitStack() as first:
        server = first.enter_context(closing(HubServer()))
        link = Link(robot.env, "peg", server.robots, robot.env.described(None))
        with closing(HubClient(server.page())) as client:
            knowing(client, "peg").watch("peg")
            until(lambda: robot.env.watchers == 1)
        until(lambda: robot.env.watchers == 0)
        client = first.enter_context(closing(HubClient(server.page())))
        knowing(client, "peg").watch("peg")
        until(lambda: robot.env.watchers == 1)
    until(lambda: robot.env.watchers == 0)
    link.close()


class Posted:
    """An outbox that keeps what it is given."""

    def __init__(self):
        self.messages = []

    def replace(self, name, raw):
        self.messages.append(unpack(raw))


def test_a_thumbnail_comes_a_second_after_the_one_before_it_and_not_before_that_is_displayed():
    outbox, clock = Posted(), Clock()
    thumbnails = Thumbnails(outbox, clock)

    def view(frame):
        return Message("thumbnail", {"robot": "peg", "frame": frame}, jpegs={"front": JPEG, "wrist": JPEG})

    thumbnails.offer("peg", view(1))
    for frame in range(2, 50):
        clock.now += THUMBNAIL_SECONDS
        thumbnails.offer("peg", view(frame))
    assert [message.fields["frame"] for message in outbox.messages] == [1], "nothing is sent to who displays nothing"
    assert [*outbox.messages[0].jpegs] == ["front"], "the first camera alone"
    thumbnails.displayed("peg")
    thumbnails.offer("peg", view(50))
    thumbnails.displayed("peg")
    thumbnails.offer("peg", view(51))
    assert outbox.messages[-1].fields["frame"] == 50 and len(outbox.messages) == 2, "the second is not over"
    clock.now += THUMBNAIL_SECONDS
    thumbnails.offer("peg", view(50))
    assert not outbox.messages[-1].jpegs and len(outbox.messages) == 3, "an image that is known is not sent again"
    thumbnails.lose("peg")
    thumbnails.offer("peg", view(1))
    assert outbox.messages[-1].jpegs, "a robot that has come back is another"


def test_who_looks_at_the_fleet_sees_every_robot_and_is_counted_as_its_watcher(join, monkeypatch):
    monkeypatch.setattr(fleet, "THUMBNAIL_SECONDS", 0.0)
    robots = [join(name) for name in ("peg", "screw")]
    client = knowing(join(ClientRole.VIEWER), "peg", "screw")
    for robot in robots:
        assert watchers(robot) == 0
        robot.show(1)
    client.send("fleet", on=True)
    for robot in robots:
        assert watchers(robot) == 1
        robot.show(2)
    seen = {}

    def has_come():
        for robot in robots:
            robot.say(is_paused=robot.name == "screw")
            client.send("seen", robot=robot.name)
        while not client.inbox.empty():
            message = client.inbox.get()
            if message.kind == "thumbnail":
                seen[message.fields["robot"]] = message.fields["frame"], message.fields["state"]
        return seen == {"peg": (2, {"is_paused": False}), "screw": (2, {"is_paused": True})}

    until(has_come)
    client.send("fleet", on=False)
    assert [watchers(robot) for robot in robots] == [0, 0]


def test_the_curves_of_a_run_are_told_to_those_who_come_later_and_do_not_grow(server, join):
    early = join(ClientRole.VIEWER)
    assert early.next("run").fields["rows"] == []
    for step in range(2 * MOST_ROWS):
        server.tell("peg-3", dict.fromkeys(CURVES, 0.5) | {"env_steps": step, "autonomous_success": math.nan})
    last = [2 * MOST_ROWS - 1, 0.5, None, 0.5]
    while (rows := early.next("run").fields["rows"])[-1] != last:
        pass
    assert len(rows) == MOST_ROWS
    late = join(ClientRole.VIEWER).next("run").fields
    assert late == {"name": "peg-3", "curves": [*CURVES], "rows": rows}


def test_the_numbers_of_a_step_travel_with_its_frame_and_are_computed_for_those_who_look(robot):
    asked = []
    robot.env.numbers.values = lambda action: asked.append(action) or {"q": 0.25, "grasp_q": math.nan}
    robot.step()
    assert not asked and robot.view.numbers == {"operator_share": 0.0}
    robot.env.watchers = 1
    robot.step()
    assert robot.view.numbers == {"operator_share": 0.0, "q": 0.25}, "what is not finite is not known"
    np.testing.assert_array_equal(asked, [POLICY])
    with ExitStack() as stack:
        server = stack.enter_context(closing(HubServer()))
        stack.enter_context(closing(Link(robot.env, "peg", server.robots, robot.env.described(None))))
        client = stack.enter_context(closing(HubClient(server.page())))
        assert knowing(client, "peg").watch("peg").fields["numbers"] == {"operator_share": 0.0, "q": 0.25}
        assert client.robots["peg"]["success_threshold"] is None
