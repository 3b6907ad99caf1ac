"""Robots know how many look at them."""

from __future__ import annotations

from contextlib import ExitStack, closing

import pytest
from hub_peers import FakeRobot, HubClient, until
from operated_robots import Robot

from serl_ray.teleop.events import ClientRole
from serl_ray.teleop.link import Link
from serl_ray.teleop.server import HubServer


@pytest.fixture
def server():
    with closing(HubServer()) as server:
        yield server


@pytest.fixture
def join(server):
    """Robots by their names, and clients by their roles, whose connections end with the test."""
    with ExitStack() as peers:

        def join(who):
            if isinstance(who, ClientRole):
                return peers.enter_context(closing(HubClient(server.page(who))))
            return peers.enter_context(closing(FakeRobot(server.robots(), who)))

        yield join


@pytest.fixture
def robot():
    robot = Robot()
    robot.env.reset(seed=0)
    return robot


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
