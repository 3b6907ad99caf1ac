"""The session of a robot with its operators: a state machine that says who acts, and what becomes of an episode.

It has neither sockets nor a clock: every call is given the time, in seconds of any monotonic clock, in rising order.
"""

from __future__ import annotations

from collections import Counter, deque
from typing import Any

import numpy as np

from serl_ray.teleop.episodes import SessionEpisodes
from serl_ray.teleop.events import (
    COUNT_OF,
    JUDGEMENTS,
    LABELS,
    Client,
    ClientRole,
    Command,
    Decision,
    Ending,
    Press,
    Pressed,
    StepActor,
)
from serl_ray.teleop.intervention import FRAME_SECONDS, Intervention
from serl_ray.teleop.lease import LEASE_SECONDS, Lease
from serl_ray.teleop.limits import Limits
from serl_ray.teleop.motion import PersonMotion
from serl_ray.teleop.twists import TwistError, TwistMap
from serl_ray.types import ActionLayout

LOST_SECONDS = 2.0
"""Time without a command of an intervention on a frame that is not outdated, from which its episode is over."""
KEPT_REFUSALS = 20
"""Refusals that are remembered, newest last."""


class Session:
    """The session of one robot with its operators.

    The env's wrapper calls `begin`, `episodes.showed`, `decide` and `executed`, in this order in every step; `command`,
    `pressed`, `alive` and `left` come from operators at any time between them.

    Args:
        layout: layout of the action.
        limits: limits of a person's motion.
        attended: whether the robot takes steps only while an operator is there.
        has_policy: whether a policy acts where no person does; otherwise no steps are taken then, as in a recording.
        twist_map: makes actions of twists; by default the twist of a robot of one arm is the action.
        episodes: episodes, before the first one; None for those of a run.

    Attributes:
        lease: control of the robot.
        episodes: episodes, and what operators say of them.
        is_stopped: whether a stop is latched.
        is_paused: whether steps wait for `Press.RESUME`.
        asks: sentence that asks for `Press.READY`; empty where nothing waits for it.
        counts: numbers of takeovers, holds, stale commands and others, by name.
        refusals: sentences on the last presses that were refused.
        loop_ages: ages in seconds of the frames that a person has acted on, newest last, until they are taken; those of
            before a takeover count from it, since the robot may have waited for the person for long.
    """

    hands_off = False  # nobody but the policy acts

    def __init__(
        self,
        layout: ActionLayout,
        limits: Limits | None = None,
        attended: bool = False,
        has_policy: bool = True,
        twist_map: TwistMap | None = None,
        episodes: SessionEpisodes | None = None,
    ) -> None:
        self.layout, self.limits = layout, limits or Limits()
        self.attended, self.has_policy = attended, has_policy
        self.twist_map = twist_map or TwistMap(layout)
        self.lease, self.episodes = Lease(), episodes or SessionEpisodes()
        self.is_stopped, self.is_paused, self.asks = False, False, ""
        self.counts: Counter[str] = Counter()
        self._taken: Counter[str] = Counter()
        self.refusals: deque[str] = deque(maxlen=KEPT_REFUSALS)
        self.loop_ages: deque[float] = deque(maxlen=1000)
        self._alive: dict[Client, float] = {}
        self._intervention: Intervention | None = None
        self._armed_epoch: int | None = None
        self._held_epoch: int | None = None
        self._motion = PersonMotion(self.limits, self.twist_map)

    def is_attached(self, now: float) -> bool:
        """True while somebody is there who may act on the robot."""
        return any(
            client.role is not ClientRole.VIEWER and now - at <= LEASE_SECONDS for client, at in self._alive.items()
        )

    def may_move(self, now: float) -> bool:
        """True if the robot may move at all, also in a reset."""
        return not (self.is_stopped or self.is_paused or (self.attended and not self.is_attached(now)))

    def begin(self, now: float) -> None:
        """An episode has begun: whoever holds a clutch must release it before the next takeover."""
        self.episodes.begin()
        self._end_intervention()

    def decide(self, policy_action: np.ndarray, now: float) -> Decision:
        """The actor of the next step, with its action."""
        self.lease.expire(now)
        if self._intervention and now - self._intervention.sighted > LOST_SECONDS:
            self.counts["losses"] += 1
            self.is_paused = True
            self.episodes.end(Ending.LOST)
        if verdict := self.episodes.close_ended(now):
            self._end_intervention()
            return Decision(StepActor.NOBODY, source=StepActor.NOBODY, verdict=verdict)
        if not self.may_move(now) or (self._intervention is None and not self.has_policy):
            return Decision(StepActor.NOBODY, source=StepActor.NOBODY)
        if self._intervention is None:
            return self._decided(StepActor.POLICY, policy_action)
        command, action = self._intervention.command, self._person_action(self._intervention, now)
        if action is None:
            self.counts["holds"] += 1
            return self._decided(StepActor.HOLD, np.zeros(self.layout.action_dim, np.float32))
        self.loop_ages.append(now - max(self.episodes.taken(command.frame), self._intervention.began))
        return Decision(StepActor.PERSON, action, self._intervention.number, command.source, command.tail)

    def executed(self, done: bool, now: float) -> None:
        """The step of the last decision has been executed; `done` where the env has ended its episode with it."""
        self.episodes.executed(done, now)
        if done:
            self._end_intervention()

    def command(self, command: Command, now: float) -> None:
        """The state of a device has come."""
        self.alive(command.client, now)
        if not self.lease.is_held_by(command.client, command.epoch, now):
            self.counts["stale"] += 1
            return
        self._held_epoch = command.epoch if command.clutch else None
        is_own = self._intervention is not None and self._intervention.command.epoch == command.epoch
        if not command.clutch:
            self._armed_epoch = command.epoch
            if is_own:
                self.counts["hand-backs"] += 1
                self._intervention = None
        elif self._intervention and is_own:
            self._intervention.command, self._intervention.received = command, now
            if self.episodes.outdated(command.frame, now) <= FRAME_SECONDS:
                self._intervention.sighted = now
        elif self._armed_epoch == command.epoch:
            self._armed_epoch = None
            self._take_over(command, now)

    def pressed(self, pressed: Pressed, now: float) -> None:
        """A key was pressed."""
        client, press = pressed.client, pressed.press
        self.alive(client, now)
        if press is Press.STOP:
            self._stop()
        elif press is Press.REQUEST:
            if not self.lease.request(client, now) and client != self.lease.holder:
                self._refuse(press, "somebody else has control, or a viewer asks for it")
        elif press is Press.READY:
            self._take_ready(client, now)
        elif not self.lease.is_held_by(client, pressed.epoch, now):
            self._refuse(press, "it comes from somebody who does not have control")
        elif press is Press.GRIPPER:
            self._grip(pressed, now)
        elif press in JUDGEMENTS:
            self._judge(pressed, now)
        else:
            self._act(press)

    def alive(self, client: Client, now: float) -> None:
        """A client has given a sign of life, which renews its lease."""
        self._alive[client] = now
        self.lease.renew(client, now)

    def left(self, client: Client, now: float) -> None:
        """A client's connection is closed: what it had is gone."""
        self._alive.pop(client, None)
        if client == self.lease.holder:
            self.lease.release()

    def take_counts(self) -> tuple[Counter[str], list[float]]:
        """The counts and the ages of frames acted on since this was last asked."""
        counts, ages = self.counts - self._taken, [*self.loop_ages]
        self._taken = Counter(self.counts)
        self.loop_ages.clear()
        return counts, ages

    def state(self, now: float) -> dict[str, Any]:
        """The session in JSON, for whoever watches."""
        self.lease.expire(now)
        return {
            "holder": self.lease.holder.name if self.lease.holder else None,
            "epoch": self.lease.epoch,
            "is_intervening": self._intervention is not None,
            "is_stopped": self.is_stopped,
            "is_paused": self.is_paused,
            "asks": self.asks,
            "may_move": self.may_move(now),
            "has_policy": self.has_policy,
            "hands_off": self.hands_off,
            "counts": dict(self.counts),
            "refusals": list(self.refusals),
            **self.episodes.state(now),
        }

    def _take_over(self, command: Command, now: float) -> None:
        if not self.may_move(now) or not self.episodes.is_running:
            self._refuse("clutch", "the robot does not move now")
        elif self.episodes.outdated(command.frame, now) > FRAME_SECONDS:
            self._refuse("clutch", f"the displayed frame has been outdated for more than {FRAME_SECONDS} s")
        else:
            self.counts["takeovers"] += 1
            self._intervention = Intervention(self.episodes.next_intervention(), command, now, now, now)
            self._motion.rest()
            self._motion.grips.clear()  # those of the intervention before it, which may be somebody else's

    def _person_action(self, intervention: Intervention, now: float) -> np.ndarray | None:
        """The action (A + G,) of the person's newest command; None where the robot holds instead."""
        command = intervention.command
        has_control = self.lease.is_held_by(command.client, command.epoch, now)
        if not has_control or intervention.is_old(self.episodes.outdated(command.frame, now), now):
            return None
        try:
            action, expired = self._motion.action(intervention.command.motion, now)
        except TwistError as error:
            if intervention.fault != str(error):  # once, and not in every step
                intervention.fault = str(error)
                self._refuse("motion", intervention.fault)
            return None
        if expired:
            self._refuse(Press.GRIPPER, f"{expired} came too late")
        return action

    def _decided(self, actor: StepActor, action: np.ndarray) -> Decision:
        """A step in which no person acts."""
        self._motion.rest()
        return Decision(actor, action, source=actor)

    def _grip(self, pressed: Pressed, now: float) -> None:
        if self._intervention is None or self._intervention.command.epoch != pressed.epoch:
            self._refuse(pressed.press, "the clutch is not held")
        elif not self._motion.grips.add(pressed.gripper, pressed.direction, now):
            self._refuse(pressed.press, f"there are {self.layout.num_grippers} grippers, which close (-1) and open (1)")

    def _judge(self, pressed: Pressed, now: float) -> None:
        if refusal := self.episodes.judge(pressed, now):
            self._refuse(pressed.press, refusal)
        elif pressed.press in LABELS:
            self.counts[COUNT_OF[LABELS[pressed.press]]] += 1

    def _act(self, press: Press) -> None:
        """The presses of a holder that are about motion."""
        match press:
            case Press.RELEASE:
                self.counts["hand-backs"] += self._intervention is not None
                self._end_intervention()
                self.lease.release()
            case Press.PAUSE:
                self.is_paused = True
                self._end_intervention()
            case Press.RESUME:
                self.is_paused = False
            case Press.RESET:
                self.episodes.end(Ending.RESET)
            case Press.REARM:
                self._rearm()

    def _take_ready(self, client: Client, now: float) -> None:
        """The scene is in order, says whoever has control, or any operator where nobody has it."""
        if client.role is ClientRole.VIEWER or self.lease.holder not in (None, client):
            self._refuse(Press.READY, "somebody else has control, or a viewer says it")
        elif not (self.asks and self.may_move(now)):
            self._refuse(Press.READY, "nothing waits for it, or the robot is stopped or paused")
        else:
            self.asks = ""

    def _stop(self) -> None:
        self.counts["stops"] += not self.is_stopped
        self.is_stopped = True
        self._end_intervention()
        self.episodes.end(Ending.STOP)

    def _rearm(self) -> None:
        if self._held_epoch == self.lease.epoch:
            self._refuse(Press.REARM, "the clutch is held: release it first")
        else:
            self.is_stopped = False

    def _end_intervention(self) -> None:
        self._intervention, self._armed_epoch = None, None
        self._motion.grips.clear()

    def _refuse(self, press: str, reason: str) -> None:
        self.counts["refused"] += 1
        self.refusals.append(f"{press} is refused: {reason}.")
