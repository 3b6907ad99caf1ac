"""A hub over real sockets, and a robot that operators may drive."""

from contextlib import closing

import pytest
from operated_robots import Robot

from serl_ray.teleop.server import HubServer


@pytest.fixture
def server():
    with closing(HubServer()) as server:
        yield server


@pytest.fixture
def robot():
    robot = Robot()
    robot.env.reset(seed=0)
    return robot
