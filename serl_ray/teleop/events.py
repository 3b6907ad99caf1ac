"""Words of an operator, and the decisions of a session on them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from serl_ray.teleop.twists import Twist


class ClientRole(StrEnum):
    """The rights of a client of the hub."""

    VIEWER = "viewer"
    """Watch, and stop."""
    OPERATOR = "operator"
    """Also hold control of a robot."""
    DEVICE = "device"
    """Hold control from the robot's own computer, before any other."""


class Press(StrEnum):
    """A key that was pressed once."""

    REQUEST = "request"
    """Ask for control of the robot."""
    RELEASE = "release"
    """Give control back."""
    SUCCESS = "success"
    FAILURE = "failure"
    VETO = "veto"
    """Call a success of the reward classifier a failure."""
    DISCARD = "discard"
    """Drop the episode."""
    KEEP = "keep"
    """Make final what was said of the episode that has ended."""
    MARK = "mark"
    """Begin to mark frames as successes, in a recording of labelled images."""
    UNMARK = "unmark"
    """Mark no more of them."""
    PAUSE = "pause"
    RESUME = "resume"
    RESET = "reset"
    """End the episode where it is."""
    READY = "ready"
    """The scene is in order again, and the next episode may begin."""
    GRIPPER = "gripper"
    """Close or open a gripper."""
    STOP = "stop"
    REARM = "rearm"
    """Allow motion again after a stop."""


@dataclass(frozen=True)
class Client:
    """Somebody who is connected to the hub.

    Attributes:
        name: unique name, given by the hub.
        role: what it may do.
    """

    name: str
    role: ClientRole


@dataclass(frozen=True, eq=False)
class Command:
    """The state of a device, sent many times a second; the newest counts.

    Attributes:
        client: who holds the device.
        epoch: number of the lease of control under which it is sent.
        frame: number of the newest frame that the client has displayed.
        clutch: whether the dead-man's switch is held.
        motion: a twist of one arm, or the action (A + G,) in [-1, 1] of a device that knows the robot, such as a leader
            arm; an action's gripper dimensions are not used, since grippers are pressed.
        source: kind of device, such as `keyboard`.
        tail: whether the device has no clutch of its own and is at rest, so that the intervention may be over.
    """

    client: Client
    epoch: int
    frame: int
    clutch: bool
    motion: Twist | np.ndarray
    source: str
    tail: bool = False


@dataclass(frozen=True)
class Pressed:
    """A press of a key.

    Attributes:
        client: who pressed it.
        epoch: number of the lease under which it is sent; 0 without one.
        press: the key.
        frame: number of the newest frame that the client had displayed.
        gripper: index of the gripper, for `Press.GRIPPER`.
        direction: -1 to close, 1 to open, for `Press.GRIPPER`.
    """

    client: Client
    epoch: int
    press: Press
    frame: int
    gripper: int = 0
    direction: int = 0


class StepActor(StrEnum):
    """The actor of a step."""

    POLICY = "policy"
    PERSON = "person"
    HOLD = "hold"
    """Nobody: the robot makes a step without motion, since commands have failed to come."""
    NOBODY = "nobody"
    """Nobody, and there is no step."""


class Ending(StrEnum):
    """The reason for which an operator's session ends or relabels an episode."""

    SUCCESS = "success"
    FAILURE = "failure"
    VETO = "veto"
    DISCARD = "discard"
    RESET = "reset"
    STOP = "stop"
    LOST = "lost"
    """The commands of an intervention failed to come."""


LABELS = {
    Press.SUCCESS: Ending.SUCCESS,
    Press.FAILURE: Ending.FAILURE,
    Press.VETO: Ending.VETO,
    Press.DISCARD: Ending.DISCARD,
}
"""The presses that label a transition, which is then an episode's last one."""
JUDGEMENTS = (*LABELS, Press.KEEP, Press.MARK, Press.UNMARK)
"""The presses about an episode and its frames."""
COUNT_OF = {
    Ending.SUCCESS: "successes",
    Ending.FAILURE: "failures",
    Ending.VETO: "vetoes",
    Ending.DISCARD: "discards",
}
"""Names under which these endings are counted."""
LABELLED = tuple(COUNT_OF)
"""The endings that an operator may also give to an episode that has ended."""


@dataclass(frozen=True)
class Verdict:
    """The fate of an episode by an operator's word.

    Attributes:
        ending: why.
        steps: number of its transitions, from the first one on, that count; none of a discarded episode is kept.
        paid: rewards for the stages of the task that the transitions before the last of these have reached.
    """

    ending: Ending
    steps: int
    paid: float = 0.0


@dataclass(frozen=True, eq=False)
class Decision:
    """The actor of the next step.

    Attributes:
        actor: who.
        action: action (A + G,) to execute; None without a step.
        intervention: number of the intervention in its episode, from 1; 0 where no person acts.
        source: kind of device of the person; otherwise the actor.
        tail: whether the person's device, which has no clutch, is at rest.
        verdict: end of the episode, which takes no further step; None where it goes on.
    """

    actor: StepActor
    action: np.ndarray | None = None
    intervention: int = 0
    source: str = ""
    tail: bool = False
    verdict: Verdict | None = None
