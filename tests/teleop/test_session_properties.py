"""Properties of a session, whatever operators, devices and the env do, in any order."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
from expected_session import SIZE, Expected, Gripped, Received, numbers
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as nps
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from stage import ANNA, BEN, EVE, MOUSE, STEP

from serl_ray.teleop.episodes import HELD_SECONDS
from serl_ray.teleop.events import LABELS, Client, Command, Decision, Ending, Press, StepActor
from serl_ray.teleop.hands_off import OF_EVALUATIONS
from serl_ray.teleop.session import LOST_SECONDS
from serl_ray.teleop.twists import TWIST_DIM, Reference, Twist

Motion = Twist | np.ndarray
CLIENTS = st.sampled_from([ANNA, BEN, EVE, MOUSE])
DRIVERS = st.sampled_from([ANNA, BEN, MOUSE])
SECONDS = st.sampled_from([1 / 64, 1 / 8, 1 / 4, 1 / 2, 1.0, 2.0, 4.0])
LAGS = st.sampled_from([0, 0, 0, 1, 2, 9, -1])
"""Frames or leases by which somebody lags behind; -1 is one that there has not been."""
NUMBERS = st.sampled_from([-1.0, -0.3, 0.0, 0.5, 1.0])
ACTIONS = nps.arrays(np.float32, SIZE, elements=NUMBERS)
TWISTS = st.builds(
    Twist, nps.arrays(np.float32, TWIST_DIM, elements=NUMBERS), st.integers(0, 1), st.just(Reference.BASE)
)
MOTIONS = ACTIONS | TWISTS


class Operated(Expected, RuleBasedStateMachine):
    """A session beside what a reader of the table expects of it."""

    @initialize(
        attended=st.booleans(),
        hands_off=st.sampled_from([False, False, False, True]),
        held_seconds=st.sampled_from([HELD_SECONDS, None]),
    )
    def connects(self, attended: bool, hands_off: bool, held_seconds: float | None) -> None:
        self.expect(attended, hands_off, held_seconds)
        self.counts: Counter[str] = Counter()
        self.begins()

    # What the clock and the env do.

    @rule(seconds=SECONDS)
    def waits(self, seconds: float) -> None:
        self.stage.wait(seconds)

    @rule()
    def shows(self) -> None:
        self.stage.show()
        self.taken[self.stage.frame] = self.stage.now

    @rule()
    def begins(self) -> None:
        self.session.begin(self.stage.now)
        self.steps[self.number] = 0
        self.shows()

    @precondition(lambda self: self.is_running)
    @rule(done=st.sampled_from([False, False, False, True]), seconds=st.sampled_from([STEP, STEP, STEP, 1.0]))
    def steps_once(self, done: bool, seconds: float) -> None:
        decision = self.decides()
        self.stage.wait(seconds)
        self.executes(decision, done)

    @precondition(lambda self: self.is_running)
    @rule(press=st.sampled_from([*LABELS, Press.DISCARD, Press.STOP]), done=st.booleans())
    def is_labelled_during_a_step(self, press: Press, done: bool) -> None:
        decision = self.decides()
        self.presses(self.holder or ANNA, press, 0, 0, 0, 1)
        self.executes(decision, done)

    # What people do.

    @rule(client=CLIENTS)
    def is_alive(self, client: Client) -> None:
        self.session.alive(client, self.stage.now)
        self.lives(client)

    @rule(client=CLIENTS)
    def leaves(self, client: Client) -> None:
        self.session.left(client, self.stage.now)
        if client == self.holder:
            self.holder = None

    @rule(client=CLIENTS, clutch=st.booleans(), lag=LAGS, frame_lag=LAGS, motion=MOTIONS, tail=st.booleans())
    def commands(
        self, client: Client, clutch: bool, lag: int, frame_lag: int, motion: Motion, tail: bool = False
    ) -> None:
        epoch, frame, before = self.session.lease.epoch - lag, self.stage.frame - frame_lag, self.session.counts.copy()
        self.stage.command(clutch, client, epoch, frame, motion, tail)
        self.lives(client)
        is_valid = client == self.holder and epoch == self.epoch
        assert self.session.counts["stale"] - before["stale"] == (not is_valid)
        if is_valid:
            command = Command(client, epoch, frame, clutch, motion, "keyboard", tail)
            self.received[epoch] = Received(command, numbers(motion).tobytes(), self.stage.now)
        if self.session.counts["takeovers"] > before["takeovers"]:
            assert is_valid and clutch and not self.is_stopped and not self.is_paused and self.is_running
            assert not self.hands_off
            self.driver_epoch, self.previous = epoch, np.zeros(SIZE, np.float32)

    @rule(
        client=CLIENTS,
        press=st.sampled_from(Press),
        lag=LAGS,
        frame_lag=LAGS,
        gripper=st.integers(0, 2),
        direction=st.sampled_from([-1, 0, 1]),
    )
    def presses(self, client: Client, press: Press, lag: int, frame_lag: int, gripper: int, direction: int) -> None:
        epoch, refused = self.session.lease.epoch - lag, self.session.counts["refused"]
        self.stage.press(press, client, epoch, self.stage.frame - frame_lag, gripper, direction)
        self.lives(client)
        is_valid = client == self.holder and epoch == self.epoch
        is_accepted = self.session.counts["refused"] == refused
        if press not in (Press.STOP, Press.REQUEST):
            assert is_valid or not is_accepted
        assert not (self.hands_off and is_accepted) or press in OF_EVALUATIONS
        self.expects(press, client, is_valid)
        if press is Press.GRIPPER and is_accepted:
            self.grips.append(Gripped(self.session.counts["takeovers"], gripper, direction, self.stage.now))

    @rule(client=DRIVERS, motion=MOTIONS)
    def takes_over(self, client: Client, motion: Motion) -> None:
        """The clutch moves the robot if, and only if, all that it needs is there."""
        self.presses(client, Press.REQUEST, 0, 0, 0, 0)
        self.commands(client, False, 0, 0, motion)
        self.commands(client, True, 0, 0, motion)
        if self.is_running:
            decision = self.decides()
            self.executes(decision, False)
            may_act = not (self.is_stopped or self.is_paused or decision.verdict or self.hands_off)
            assert client != self.holder or (decision.actor is StepActor.PERSON) == may_act

    @rule(client=DRIVERS, motion=MOTIONS)
    def drives_on(self, client: Client, motion: Motion) -> None:
        self.commands(client, True, 0, 0, motion)
        if self.is_running:
            self.steps_once(False, STEP)

    # What is expected.

    def executes(self, decision: Decision, done: bool) -> None:
        if decision.action is not None:
            self.session.executed(done, self.stage.now)
            self.steps[self.number] += 1
            self.endings[self.number] += done
            self.shows()

    def decides(self) -> Decision:
        losses = self.session.counts["losses"]
        decision = self.stage.decide()
        self.lives(EVE)
        self.is_paused |= self.session.counts["losses"] > losses
        if decision.verdict is not None:
            assert decision.actor is StepActor.NOBODY and decision.verdict.steps <= self.steps[self.number]
            self.endings[self.number] += 1
        if self.is_stopped or self.is_paused:
            assert decision.actor is StepActor.NOBODY
        if self.hands_off:
            assert decision.actor in (StepActor.POLICY, StepActor.NOBODY)
            assert decision.verdict is None or decision.verdict.ending is Ending.STOP
        assert (decision.action is None) == (decision.actor is StepActor.NOBODY)
        if decision.actor is StepActor.POLICY:
            assert decision.action is self.stage.policy
        elif decision.actor is StepActor.HOLD:
            assert not decision.action.any()
            assert self.stage.now - self.received[self.driver_epoch].at <= LOST_SECONDS
        elif decision.actor is StepActor.PERSON:
            self.is_a_persons(decision)
        self.previous = decision.action if decision.actor is StepActor.PERSON else np.zeros(SIZE, np.float32)
        return decision

    @invariant()
    def there_is_one_holder(self) -> None:
        assert self.session.lease.epoch == self.epoch
        state = self.session.state(self.stage.now)
        self.lives(EVE)
        assert state["holder"] == (self.holder.name if self.holder else None)
        assert (self.session.is_stopped, self.session.is_paused) == (self.is_stopped, self.is_paused)
        json.dumps(state, allow_nan=False)

    @invariant()
    def counts_never_fall(self) -> None:
        assert self.counts <= self.session.counts
        self.counts = self.session.counts.copy()

    @invariant()
    def arrays_are_left_alone(self) -> None:
        assert all(action.tobytes() == content for action, content in self.executed)
        assert all(numbers(kept.command.motion).tobytes() == kept.numbers for kept in self.received.values())

    @invariant()
    def an_episode_has_one_verdict_which_stays(self) -> None:
        episodes, now = self.session.episodes, self.stage.now
        for number, steps in self.steps.items():
            verdict = episodes.verdict(number)
            assert self.endings[number] <= 1
            if verdict is not None:
                assert 0 <= verdict.steps <= steps
                assert verdict.steps or not steps or verdict.ending not in (*LABELS.values(), Ending.DISCARD)
            if number in self.settled:
                assert episodes.is_settled(number, now)
                assert verdict in (self.settled[number], None)  # only the two that ended last are remembered
            elif episodes.is_settled(number, now):
                self.settled[number] = verdict

    def teardown(self) -> None:
        if not hasattr(self, "stage"):
            return
        if self.is_running:
            self.session.executed(True, self.stage.now)
        self.stage.wait(HELD_SECONDS + 1 / 64)
        self.session.episodes.keep(self.stage.now)
        assert all(self.session.episodes.is_settled(number, self.stage.now) for number in self.steps)


Operated.TestCase.settings = settings(
    max_examples=40, stateful_step_count=40, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)
TestOperated = Operated.TestCase
