"""Moments at which a stop could be lost: between two checks, in a wait, under a signal, before a farewell."""

from __future__ import annotations

import os
import signal
import time

import numpy as np
import pytest
from robot_trainers import NoBrakes, RecordingArm, served, wait_until
from serl_robot import signals
from serl_robot.brake import Brake, Braked
from serl_robot.signals import Terminated, unhurried
from websockets.asyncio.client import ClientConnection


def test_no_motion_begins_after_a_stop_and_one_that_was_stopped_is_void():
    calls = []
    brake = Brake(lambda: calls.append("stop"), None)
    brake.mark(3)
    with pytest.raises(Braked, match="before"), brake.moving():
        calls.append("moved")
    assert not calls
    with pytest.raises(Braked):
        brake.release(2)
    brake.release(4)
    with pytest.raises(Braked, match="during"), brake.moving():
        brake.mark(5)
    assert calls == ["stop"]  # at the end of the motion


def test_zeros_hold_a_robot_that_was_stopped_before_its_next_step(trainer):
    arm = NoBrakes()
    with served(arm, trainer.url, hz=1):
        talk = trainer.accept().welcome()
        talk.reset()
        talk.step(1, 1, 1, 1)
        talk.begin_step()
        time.sleep(0.2)  # in which it waits for its tick
        talk.send("stop")
        talk.receive("fault")
        arm.has_been("step", times=2)
    assert len(arm.actions) == 2 and not arm.actions[-1].any()


class Interrupted(NoBrakes):
    """A robot at which somebody presses Ctrl-C in the middle of a reset."""

    def reset(self, seed=None):
        super().reset(seed)
        raise KeyboardInterrupt


@pytest.mark.parametrize("make", [Interrupted, NoBrakes])
def test_zeros_hold_a_robot_whose_reset_was_interrupted_and_none_that_has_never_moved(trainer, make):
    arm = make()
    with served(arm, trainer.url) as errors:
        talk = trainer.accept().welcome()
        if make is Interrupted:
            talk.send("reset", number=1, seed=None)
            wait_until(lambda: errors)
        else:
            talk.send("hold")
            talk.receive("alive")
    assert [action.tolist() for action in arm.actions] == [[0] * 4] * (make is Interrupted)


def test_a_signal_does_not_break_off_a_stop_unless_that_hangs(monkeypatch):
    done = []
    with unhurried():
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.kill(os.getpid(), number)
        done.append(True)
    assert done
    monkeypatch.setattr(signals, "STOP_SECONDS", 0.0)
    for number, error in ((signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminated)):
        with pytest.raises(error), unhurried():
            os.kill(os.getpid(), number)


def test_bytes_of_anybody_stop_the_robot_before_the_trainer_is_told(trainer, monkeypatch):
    arm, close = RecordingArm(), ClientConnection.close

    async def close_after_the_stop(self, *reason):
        arm.has_been("stop")
        await close(self, *reason)

    monkeypatch.setattr(ClientConnection, "close", close_after_the_stop)
    with served(arm, trainer.url) as errors:
        talk = trainer.accept().welcome()
        talk.reset()
        talk.socket.send("text")
        assert "messages are binary" in talk.closed() and not errors


@pytest.mark.parametrize("number", [2, 1, 0])
def test_a_step_is_not_executed_again(trainer, number):
    arm = RecordingArm()
    with served(arm, trainer.url):
        talk = trainer.accept().welcome()
        talk.reset()
        talk.step()
        talk.send("step", {"action": np.zeros(4, np.float32)}, number=number)
        assert f"The trainer sent step {number} after 2" in talk.closed()
        arm.has_been("stop")
    assert len(arm.actions) == 1
