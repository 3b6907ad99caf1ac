"""A network that stalls for five seconds while a person drives: nothing that comes late moves the robot."""

from __future__ import annotations

from contextlib import closing

import numpy as np
import pytest
from hub_peers import ROBOT, HubClient, until
from operated_robots import PUSHED, Robot
from stalling import StallingProxy

from serl_ray.data.episodes import HELD_ACTION
from serl_ray.teleop import hub
from serl_ray.teleop.events import Ending, Verdict
from serl_ray.teleop.intervention import COMMAND_SECONDS
from serl_ray.teleop.link import Link
from serl_ray.teleop.server import HubServer
from serl_ray.teleop.session import LOST_SECONDS
from serl_ray.teleop.wrapper import VERDICT

STALL_SECONDS = 5.0

LATE = 5
"""Commands that the person sends in the stall."""


@pytest.fixture(autouse=True)
def patient_hub(monkeypatch):
    monkeypatch.setattr(hub, "HEARTBEAT_SECONDS", 60.0)  # it would close the connection, and late commands with it


def driving(page, robot):
    """A client who drives the robot."""
    client = HubClient(page)
    while "robot" not in client.robots:
        client.robots = client.next("welcome").fields["robots"]
    client.watch("robot")
    client.request()
    while client.frame < robot.view.frame:
        client.display()
        client.next("frame")
    client.command(False, PUSHED)
    client.command(True, PUSHED)
    until(lambda: robot.session.counts["takeovers"] == 1)
    return client


@pytest.mark.parametrize("stalled", ["client", "robot"])
def test_a_stall_holds_the_robot_at_once_and_then_ends_the_episode(stalled):
    robot = Robot()
    robot.env.reset(seed=0)
    with closing(HubServer()) as server, StallingProxy(server.port) as proxy:
        port = {stalled: proxy.port}
        url = server.robots()["url"].replace(f":{server.port}", f":{port.get('robot', server.port)}")
        link = Link(robot.env, "robot", lambda: {**server.robots(), "url": url}, ROBOT)
        page = server.page().replace(f":{server.port}", f":{port.get('client', server.port)}")
        with closing(link), closing(driving(page, robot)) as client:
            assert "intervene_action" in robot.step()
            proxy.stall()
            robot.clock.now += COMMAND_SECONDS
            np.testing.assert_array_equal(robot.step()[HELD_ACTION], np.zeros(7))
            robot.clock.now += LOST_SECONDS
            assert robot.step() == {VERDICT: Verdict(Ending.LOST, 2)}
            for _ in range(LATE):
                client.command(True, PUSHED)
            client.press("stop")
            robot.clock.now += STALL_SECONDS - COMMAND_SECONDS - LOST_SECONDS
            proxy.flow()
            until(lambda: robot.session.is_stopped)  # and so all that was sent before it has come
    assert robot.session.counts["stale"] >= 1 and robot.session.counts["takeovers"] == 1
    assert robot.session.is_paused and robot.session.lease.holder is None
    assert len(robot.witness.executed) == 2
