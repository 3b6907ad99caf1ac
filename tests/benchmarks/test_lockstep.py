"""A robot and its operator in lock-step: every frame is answered, in simulated time."""

from __future__ import annotations

from contextlib import closing, contextmanager

import numpy as np
import pytest

from serl_ray.benchmarks.lockstep import LockstepSession, person_at
from serl_ray.benchmarks.person import STEP_SECONDS, Person
from serl_ray.envs.guard import Guard
from serl_ray.envs.make import make_env
from serl_ray.teleop.link import Link
from serl_ray.teleop.server import HubServer
from serl_ray.teleop.session import Session
from serl_ray.teleop.wrapper import OperatedEnv
from serl_ray.types import ActionLayout

PICK_UP = "single-arm-learned-gripper"
LAYOUT = ActionLayout.from_setup(PICK_UP, 7)
REST = np.zeros(7, np.float32)


@contextmanager
def operated_by(rule):
    """The pick-up task in lock-step with a person who follows a rule."""
    env = OperatedEnv(Guard(make_env("tabletop", setup_mode=PICK_UP), None, None), Session(LAYOUT))
    session = LockstepSession(env, PICK_UP)
    env.session, env.clock = session, session.clock
    person = Person(rule, LAYOUT, 0.0, np.random.default_rng(0))
    with (
        closing(env),
        closing(HubServer()) as server,
        closing(Link(env, "robot", server.robots, env.described(None))),
        person_at(server.page(), "robot", session, person),
    ):
        yield env


def test_a_person_who_drives_from_the_second_frame_picks_the_cube_up_in_every_episode():
    with operated_by(lambda sight, drives: sight.step > 0) as env:
        for seed in range(3):
            env.reset(seed=seed)
            executed, is_over = [], False
            while not is_over:
                *_, terminated, truncated, info = env.step(REST)
                executed.append("intervene_action" in info)
                is_over = terminated or truncated
            assert terminated and executed == [False, *[True] * (len(executed) - 1)]
        assert env.session.counts["holds"] == env.session.counts["refused"] == env.session.counts["stale"] == 0
        assert env.clock() == pytest.approx(STEP_SECONDS * (env.view.frame - 3))


def test_an_error_of_the_person_is_the_robot_s_which_would_wait_for_ever():
    def fails(sight, drives):
        raise ArithmeticError("this person cannot count")

    with operated_by(fails) as env:
        env.reset(seed=0)
        with pytest.raises(ArithmeticError, match="cannot count"):
            env.step(REST)
