"""The env of a robot with operators: in each step the session says who acts, and the env executes exactly that."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import gymnasium
import numpy as np

from serl_ray.data.episodes import EnvFault, StepResult
from serl_ray.data.observations import Observation
from serl_ray.teleop.described import described_robot
from serl_ray.teleop.events import Decision, Pressed, StepActor, Verdict
from serl_ray.teleop.movement import Movement
from serl_ray.teleop.numbers import StepNumbers
from serl_ray.teleop.report import OperatorReport, actor_in_info
from serl_ray.teleop.session import Session
from serl_ray.teleop.views import View, shown_images

logger = logging.getLogger(__name__)

VERDICT = "serl.verdict"
"""Key of `info` in a step that was not executed, because an operator has ended the episode."""
WAIT_FOR_TICK = "wait_for_tick"
"""Method of an env with a control rate, which is called before the decision on a step."""
WAIT_SECONDS = 0.05
"""Seconds between looks at a session in which nobody acts, in case nothing wakes the env."""


class Interrupted(Exception):
    """The run ends while its robot waits for an operator."""


class OperatedEnv(gymnasium.Wrapper):
    """Wrapper in which operators watch, take over, and label episodes; around a `Guard`, whose deadlines a pause must
    not meet.

    A person's step has `info["intervene_action"]`, `info["intervene_source"]`, `info["intervention"]` and `info[TAIL]`;
    a step in which commands failed to come has `info[HELD_ACTION]`, the motionless action that was executed. Where an
    operator ends the episode between two steps, `step` executes nothing: it returns the newest observation, truncated,
    and `info[VERDICT]`. It does so as well where a stop makes the env's step fail.

    Args:
        env: env to operate.
        session: session of the robot.
        clock: monotonic clock in seconds.
        asks: sentence that asks a person to put the scene in order before each episode; empty where nobody has to.

    Attributes:
        changed: condition that guards the session, and wakes an env that waits for it.
        view: newest view of a step; None before the first reset.
        live: newest live view since then; None without one.
        watchers: number of clients that look at the robot, as the hub has told.
        numbers: numbers beside the views.
        interrupted: event after which a step or a reset that waits raises `Interrupted`.
        recording: progress of a recording as JSON, for the page; empty in a run.
    """

    def __init__(
        self, env: gymnasium.Env, session: Session, clock: Callable[[], float] = time.monotonic, asks: str = ""
    ) -> None:
        super().__init__(env)
        self.session, self.clock, self._asks = session, clock, asks
        self.changed = threading.Condition()
        self.view: View | None = None
        self.live: View | None = None
        self.watchers = 0
        self.recording: dict[str, Any] = {}
        self.numbers = StepNumbers()
        self._observation: Observation = {}
        self.interrupted, self._closed = threading.Event(), threading.Event()
        self._report = OperatorReport()
        self._movement = Movement(env, self.changed, lambda: session.is_stopped)
        self._wait_for_tick = env.get_wrapper_attr(WAIT_FOR_TICK) if env.has_wrapper_attr(WAIT_FOR_TICK) else None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Starts an episode, as soon as the robot may move; again where a stop comes during the env's reset.

        Where a person puts the scene in order, the env is reset once to move the robot out of the way, and once more
        when the person is ready: the episode starts with what is seen then.
        """
        given = {"seed": seed, "options": options}
        if self._asks:
            self._observation, _ = self._moved(given)
            self._wait_for_person()
        self._observation, info = self._moved(given, lambda: self.session.begin(self.clock()))
        self._tell_wrapper("number_episode", self.episode)
        self.numbers.begin()
        self._show()
        return self._observation, info

    def step(self, action: np.ndarray) -> StepResult:
        """Executes the action (A + G,) of whoever acts at the next tick, and waits while nobody does."""
        waits_since = self.clock()
        if self._wait_for_tick:
            self._wait_for_tick()  # before the decision, which is executed at once
        waited = self.clock() - waits_since
        decision = self._decision(action)
        if decision.verdict is not None:
            return self._observation, 0.0, False, True, {VERDICT: decision.verdict}
        assert decision.action is not None
        started = self.clock() - waited
        try:
            result = self._movement.made(partial(self.env.step, decision.action))
            self._observation, reward, terminated, truncated, info = result
        except EnvFault as fault:
            if (verdict := self._verdict_of_stop()) is None:
                raise
            logger.warning("A step was stopped by an operator, and is not stored. %s", fault)
            return self._observation, 0.0, False, True, {VERDICT: verdict}
        with self.changed:
            self.session.executed(bool(terminated or truncated), self.clock())
            self._report.steps += 1
            self._report.operator_seconds += (self.clock() - started) * (decision.actor is StepActor.PERSON)
            loop_age = self.session.loop_ages[-1] if self.session.loop_ages else None
        seconds = self.clock() - started
        numbers = self.numbers.of_step(decision, info, loop_age, bool(self.watchers))
        self._show(decision, action, seconds, numbers)
        return self._observation, reward, terminated, truncated, {**actor_in_info(decision), **info}

    def pressed(self, pressed: Pressed) -> None:
        """A key was pressed; the env's `stop` is called at once, from this thread, also during a step or a reset."""
        with self.changed:
            was_stopped = self.session.is_stopped
            self.session.pressed(pressed, self.clock())
            is_stop = self.session.is_stopped and not was_stopped
            moves = is_stop and self._movement.latch()
            self.changed.notify_all()
        if is_stop:
            self._movement.stop(moves)

    def close(self) -> None:
        """Ends the waiting of a step or a reset, and closes the env."""
        self._closed.set()
        self.env.close()

    @property
    def episode(self) -> int:
        """Number of the newest episode, from 1."""
        return self.session.episodes.number

    def take_report(self) -> OperatorReport:
        """The operators' part in the steps since this was last asked."""
        with self.changed:
            report, self._report = self._report, OperatorReport()
            report.counts, report.loop_ages = self.session.take_counts()
        return report

    def hand_over(self, kept_seconds: float = 0.0) -> int:
        """The steps of the running episode so far are stored, but for those of the last seconds, whose number is
        returned."""
        with self.changed:
            return self.session.episodes.hand_over(self.clock(), kept_seconds)

    def settle(self, episode: int) -> Verdict | None:
        """The verdict of operators on an episode that has ended; it can be labelled no more from now on."""
        with self.changed:
            verdict = self.session.episodes.settle(episode)
        if verdict is not None:
            self._tell_wrapper("label_episode", episode, verdict.steps, verdict.ending)
            paid = self._tell_wrapper("paid_before", episode, verdict.steps)
            verdict = replace(verdict, paid=paid or 0.0)
        return verdict

    def ends_running(self) -> bool:
        """True if an operator has ended the running episode, which is then over without a further step."""
        with self.changed:
            return self.session.episodes.close_ended(self.clock()) is not None

    def is_settled(self, episode: int) -> bool:
        """True if operators can say nothing more of an episode, because they are late or not there."""
        with self.changed:
            now = self.clock()
            is_over = episode != self.session.episodes.number or not self.session.episodes.is_running
            return self.session.episodes.is_settled(episode, now) or (is_over and not self.session.is_attached(now))

    def tell(self, **recording: Any) -> None:
        """Adds to the progress of a recording, or changes it."""
        with self.changed:
            self.recording = {**self.recording, **recording}

    def state(self) -> dict[str, Any]:
        """The state in JSON, for whoever watches."""
        with self.changed:
            state = self.session.state(self.clock())
            return {**state, "recording": self.recording} if self.recording else state

    def is_attached(self) -> bool:
        """True while somebody is there who may act on the robot."""
        with self.changed:
            return self.session.is_attached(self.clock())

    def _decision(self, action: np.ndarray) -> Decision:
        """The decision on the next step, as soon as somebody acts or the episode is over."""
        decision = Decision(StepActor.NOBODY)

        def is_made() -> bool:
            nonlocal decision
            decision = self.session.decide(action, self.clock())
            return self._movement.permit(decision.action is not None) or decision.verdict is not None

        self.wait_until(is_made)
        return decision

    def _moved(self, given: dict[str, Any], then: Callable[[], None] = lambda: None) -> Any:
        """The observation and info of an env's reset that no stop has come into, after which `then` is called."""
        while True:
            self.wait_until(lambda: self._movement.permit(self.session.may_move(self.clock())))
            try:
                outcome = self._movement.made(lambda: self.env.reset(**given))
            except EnvFault as fault:
                if not self._movement.was_stopped:
                    raise
                logger.warning("A reset was stopped by an operator, and is made again. %s", fault)
                continue
            with self.changed:
                if not self._movement.was_stopped:
                    then()
                    return outcome

    def _wait_for_person(self) -> None:
        """Waits until an operator has put the scene in order and says so."""
        self._show()
        since = self.clock()
        with self.changed:
            self.session.asks = self._asks
        try:
            self.wait_until(lambda: not self.session.asks)
        finally:
            with self.changed:
                self.session.asks = ""
                self._report.reset_seconds += self.clock() - since

    def _verdict_of_stop(self) -> Verdict | None:
        """The end of the episode by a stop during the step; None without one."""
        with self.changed:
            return self.session.episodes.close_ended(self.clock()) if self._movement.was_stopped else None

    def wait_until(self, is_true: Callable[[], bool]) -> None:
        """Waits; an env with the method `hold` is told once that no step comes for a while.

        Raises:
            Interrupted: the run ends meanwhile.
        """
        was_told = False
        while True:
            with self.changed:
                if is_true():
                    return
                if self.interrupted.is_set() or self._closed.is_set():
                    raise Interrupted("The run ends while its robot waits for an operator.")
                was_told = was_told and not self.session.is_stopped  # after a stop, which it was told of
                if was_told or self.session.is_stopped:
                    self.changed.wait(WAIT_SECONDS)
                    continue
            was_told = True
            self._movement.tell("hold")  # which may take long, and operators are heard meanwhile

    def _tell_wrapper(self, name: str, *values: Any) -> Any:
        """The result of a method of a wrapper inside this one, such as the learned reward; None where none has it."""
        return self.env.get_wrapper_attr(name)(*values) if self.env.has_wrapper_attr(name) else None

    def _show(
        self,
        decision: Decision | None = None,
        policy: np.ndarray | None = None,
        seconds: float = 0.0,
        numbers: Mapping[str, float] | None = None,
    ) -> None:
        # Rendering takes time; without a policy somebody may come while no step shows the robot anew.
        images = shown_images(self.env, self._observation, bool(self.watchers) or not self.session.has_policy)
        with self.changed:
            frame, self.live = 1 if self.view is None else self.view.frame + 1, None
            if decision is None:
                self.view = View(frame, images)
            else:
                self.view = View(frame, images, decision.actor, decision.action, policy, seconds, numbers or {})
            self.session.episodes.showed(frame, self.clock())
            self.changed.notify_all()

    def show_live(self, frame: int, images: dict[str, np.ndarray]) -> None:
        """Shows images of after the view with this number, unless there is a newer view."""
        with self.changed:
            newest = self.view or View(0, {})
            if newest.frame == frame:
                self.live = replace(newest, images={**newest.images, **images}, is_live=True)
                self.changed.notify_all()

    def described(self, control_hz: float | None) -> dict[str, Any]:
        """The robot in JSON, for clients; see `described_robot`."""
        return described_robot(self.env, self.session, control_hz)
