"""The messages of operators and robots: what each kind holds, checked where it comes in.

From a client to the hub, and on to its robot:

| kind | fields | arrays |
|---|---|---|
| `hello` | `secret`, `role` | |
| `watch` | `robot` | |
| `displayed` | `frame` | |
| `command` | `epoch`, `frame`, `clutch`, `source` | `action` (A + G,) float32 |
| `press` | `epoch`, `frame`, `press`, and for a gripper `gripper`, `direction` | |
| `alive` | | |

From a robot to the hub, and on to its clients: `robot` (name, cameras, action, grippers), `frame` (its number, the
session's state, JPEGs by camera), `state` (the session's state alone). From the hub to a client: `welcome` (its name
and role, the robots, the tabs of the page that this hub offers), `refused` (a sentence), `gone` (a robot).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np

from serl_ray.teleop.events import Client, ClientRole, Command, Press, Pressed
from serl_ray.teleop.wire import Message, WireError

Tab = Literal["drive", "record", "label", "review", "fleet"]
"""Name of a tab of the page."""
INTERRUPT = "interrupt"
"""Kind of the message that tells a robot that the run ends."""
LARGEST = 2**53
"""Greatest whole number that JSON carries without loss."""
MAX_TEXT = 200
ROBOT_HEARTBEAT_SECONDS = 6.0
"""Seconds between pings of a robot and the hub; a connection whose pong fails to come within half of them is closed. A
robot's process may be busy for as long in a step."""


def command_of(message: Message, client: Client, action_dim: int) -> Command:
    """The command in a `command` message, whose action has `action_dim` numbers.

    Raises:
        WireError: a field is missing, of another type, or out of range.
    """
    fields = fields_of(message, epoch=is_whole, frame=is_whole, clutch=is_bool, source=is_text)
    if message.arrays.keys() != {"action"} or message.jpegs:
        raise WireError(f"A command has the blobs {[*message.arrays, *message.jpegs]!r:.200}; it has one, `action`.")
    action = message.arrays["action"]
    if action.dtype != np.float32 or action.shape != (action_dim,):
        raise WireError(
            f"The action of a command is {action.dtype} of shape {action.shape}; this robot's is float32 of shape "
            f"({action_dim},)."
        )
    if not np.abs(action).max(initial=0.0) <= 1.0:  # also where one is NaN, in a message that was never packed
        raise WireError("The action of a command has numbers beyond -1 and 1.")
    return Command(client=client, action=action, **fields)


def pressed_of(message: Message, client: Client) -> Pressed:
    """The press in a `press` message.

    Raises:
        WireError: a field is missing, of another type, or out of range.
    """
    checks: dict[str, Callable[[Any], bool]] = {"epoch": is_whole, "frame": is_whole, "press": is_press}
    if message.fields.get("press") == Press.GRIPPER:
        checks |= {"gripper": is_whole, "direction": is_direction}
    fields = fields_of(message, **checks)
    if message.arrays or message.jpegs:
        raise WireError("A press has no blobs.")
    return Pressed(client=client, **{**fields, "press": Press(fields["press"])})


def fields_of(message: Message, **checks: Callable[[Any], bool]) -> dict[str, Any]:
    """The fields of a message, which must be these, each of which fulfils its check.

    Raises:
        WireError: a field is missing, unknown or wrong.
    """
    fields: Mapping[str, Any] = message.fields
    if fields.keys() != checks.keys():
        raise WireError(f"A {message.kind!r:.40} message has the fields {[*fields]!r:.200}; it has {[*checks]}.")
    for name, check in checks.items():
        if not check(fields[name]):
            raise WireError(f"Field {name!r} of a {message.kind!r:.40} message is {fields[name]!r:.60}.")
    return dict(fields)


def is_whole(value: Any) -> bool:
    """True for a whole number from 0."""
    return type(value) is int and 0 <= value <= LARGEST


def is_bool(value: Any) -> bool:
    """True for a truth value."""
    return type(value) is bool


def is_text(value: Any) -> bool:
    """True for a short text that can be printed."""
    return isinstance(value, str) and 0 < len(value) <= MAX_TEXT and value.isprintable()


def is_direction(value: Any) -> bool:
    """True for -1, which closes a gripper, and 1, which opens it."""
    return type(value) is int and value in (-1, 1)


def is_role(value: Any) -> bool:
    """True for the role of a client."""
    return isinstance(value, str) and value in {role.value for role in ClientRole}


def is_robot(value: Any) -> bool:
    """True for the description of a robot, by which the commands for it are checked."""
    return isinstance(value, dict) and is_whole(value.get("action_dim"))


def is_press(value: Any) -> bool:
    """True for the name of a key."""
    return isinstance(value, str) and value in {press.value for press in Press}
