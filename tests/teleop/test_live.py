"""Live frames: seen between steps, numbered as the newest step's view, and no part of any transition."""

from __future__ import annotations

import io
import threading
from contextlib import closing

import numpy as np
import pytest
from hub_peers import HubClient, until
from operated_robots import PUSHED, Robot
from PIL import Image
from stage import ANNA

from serl_ray.teleop.events import Command, Ending, Press, Pressed, StepActor, Verdict
from serl_ray.teleop.link import Link
from serl_ray.teleop.live import SLOW_SECONDS, LiveFrames, checked_live, due_frame
from serl_ray.teleop.server import HubServer
from serl_ray.teleop.session import FRAME_SECONDS
from serl_ray.teleop.wrapper import VERDICT

LIVE = np.full((32, 32, 3), 200, np.uint8)


@pytest.fixture
def robot():
    robot = Robot()
    robot.witness.live_frames = lambda: {"front": LIVE}
    robot.env.reset(seed=0)
    return robot


def watched(robot):
    robot.env.watchers = 1
    robot.clock.now += SLOW_SECONDS
    return robot


def press(robot, key):
    robot.env.pressed(Pressed(ANNA, robot.session.lease.epoch, key, robot.env.live.frame))


def test_they_are_taken_while_somebody_watches_and_no_step_comes(robot):
    assert due_frame(robot.env) is None
    robot.env.watchers = 1
    assert due_frame(robot.env) is None, "the view is new"
    robot.clock.now += SLOW_SECONDS
    assert due_frame(robot.env) == robot.view.frame
    robot.step()
    assert due_frame(robot.env) is None
    robot.clock.now += SLOW_SECONDS
    assert due_frame(robot.env) == robot.view.frame
    robot.env.watchers = 0
    assert due_frame(robot.env) is None


def test_they_are_seen_during_a_reset_before_the_first_view():
    robot = Robot()
    robot.env.watchers = 1
    assert due_frame(robot.env) == 0
    robot.env.show_live(0, {"front": LIVE})
    assert robot.env.live.frame == 0 and robot.env.live.is_live
    robot.env.reset(seed=0)
    assert robot.env.live is None


def test_a_live_view_is_the_newest_steps_with_other_images(robot):
    robot.step()
    robot.env.show_live(robot.view.frame, {"front": LIVE})
    live, view = robot.env.live, robot.view
    assert live.is_live and not view.is_live
    assert (live.frame, live.actor, live.executed) == (view.frame, view.actor, view.executed)
    np.testing.assert_array_equal(live.images["front"], LIVE)
    assert view.images["front"].max() < 200, "the step's own view is as it was"


def test_one_that_is_overtaken_by_a_step_is_not_shown(robot):
    before = robot.view.frame
    robot.step()
    robot.env.show_live(before, {"front": LIVE})
    assert robot.env.live is None


def test_a_label_on_one_is_about_the_newest_transition(robot):
    press(watched(stepped(robot, 3)), Press.REQUEST)
    press(robot, Press.SUCCESS)
    assert robot.step() == {VERDICT: Verdict(Ending.SUCCESS, 3)}


def stepped(robot, steps):
    for _ in range(steps):
        robot.step()
    robot.env.show_live(robot.view.frame, {"front": LIVE})
    return robot


@pytest.mark.parametrize(("steps_later", "actor"), [(0, StepActor.PERSON), (1, StepActor.POLICY)])
def test_a_takeover_on_one_is_as_old_as_its_view(robot, steps_later, actor):
    """A live frame is no newer sight of the robot: once the next view is there it grows old as its step's view does."""
    press(stepped(robot, 2), Press.REQUEST)
    frame, epoch = robot.env.live.frame, robot.session.lease.epoch
    for _ in range(steps_later):
        robot.step()
    robot.clock.now += 2 * FRAME_SECONDS
    for clutch in (False, True):
        robot.say(robot.session.command, Command(ANNA, epoch, frame, clutch, PUSHED, "gamepad"))
    robot.step()
    assert robot.actor() is actor


def test_they_come_from_one_thread_which_is_not_that_of_the_steps(robot):
    threads = []

    def take():
        threads.append(threading.current_thread())
        return {"front": LIVE}

    watched(robot).witness.live_frames = take
    with closing(LiveFrames.of(robot.env)):
        until(lambda: len(threads) > 2)
    assert len(set(threads)) == 1 and threading.current_thread() not in threads


def test_an_env_without_them_has_no_thread_for_them():
    assert LiveFrames.of(Robot().env) is None


@pytest.mark.parametrize("error", [RuntimeError("no camera"), None])
def test_a_failure_is_named_once_and_the_env_asked_no_more(robot, caplog, error):
    calls = []

    def fail():
        calls.append(1)
        if error:
            raise error
        return {"front": LIVE[0]}

    watched(robot).witness.live_frames = fail
    with closing(LiveFrames.of(robot.env)):
        until(lambda: "live frames" not in [thread.name for thread in threading.enumerate()])
    assert len(calls) == 1 and robot.env.live is None
    [record] = [record for record in caplog.records if "live_frames() has failed" in record.message]
    assert str(error or "uint8 of shape (32, 3)") in str(record.exc_info[1])
    robot.step()


@pytest.mark.parametrize(
    ("images", "fault"),
    [
        (None, "returned None"),
        ({}, "returned {}"),
        ([LIVE], "return a dict"),
        ({"back": LIVE}, "shows back; the env's cameras are front"),
        ({"front": LIVE.astype(np.float32)}, "'front' as float32"),
        ({"front": LIVE[..., :2]}, r"shape \(32, 32, 2\)"),
    ],
)
def test_what_is_no_live_frame_is_refused(images, fault):
    with pytest.raises(ValueError, match=fault):
        checked_live(images, ["front"])


def test_arrays_that_the_env_uses_again_are_copied():
    image = LIVE.copy()
    checked = checked_live({"front": image}, ["front"])
    image[:] = 0
    np.testing.assert_array_equal(checked["front"], LIVE)


def test_a_client_sees_the_robot_while_it_is_paused(robot):
    with (
        closing(HubServer()) as server,
        closing(Link(robot.env, "robot", server.robots, robot.env.described(None))),
        closing(HubClient(server.page())) as client,
    ):
        while "robot" not in client.robots:
            client.robots = client.next("welcome").fields["robots"]
        client.watch("robot")
        robot.clock.now += SLOW_SECONDS
        client.display()
        shown = client.next("frame")
        while not shown.fields["is_live"]:
            client.display()
            shown = client.next("frame")
        assert shown.fields["frame"] == robot.view.frame
        assert np.asarray(Image.open(io.BytesIO(shown.jpegs["front"]))).min() > 190
        robot.step()
        client.display()
        while client.frame < robot.view.frame:
            client.display()
            shown = client.next("frame")
        assert not shown.fields["is_live"]
