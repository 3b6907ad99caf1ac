"""The messages of operators and robots: what each kind holds, checked where it comes in.

From a client to the hub, and on to its robot:

| kind | fields | arrays |
|---|---|---|
| `hello` | `secret`, `role` | |
| `watch` | `robot` | |
| `displayed` | `frame` | |
| `command` | `epoch`, `frame`, `clutch`, `source`, `tail` | `action` (A + G,) float32 |
| or | the same, `arm`, `reference` | `twist` (6,) float32, and perhaps `other` (6,), of the other arm |
| `press` | `epoch`, `frame`, `press`, and for a gripper `gripper`, `direction` | |
| `alive` | | |
| `fleet` | `on` | |
| `seen` | `robot` | |

`tail` is true where a device without a clutch is at rest. From a robot to the hub, and on to its clients: `robot` (its
name, cameras, action, grippers, arms, references), `frame` (its number, whether it is live, the session's state, the
step's `numbers`, JPEGs by camera), `state` (the session's state alone). From the hub to a client: `welcome` (its name
and role, the robots, the tabs of the page that this hub offers), `refused` (a sentence), `gone` (a robot). From the hub
to a robot: `watched` (the number of its `watchers`). `fleet` and `seen` are about thumbnails: the hub sends a
`thumbnail` of every robot (the fields of its newest frame and state, and one JPEG), and the next one a second after it,
once it has been `seen`. A `run` message holds the curves of the run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np

from serl_ray.teleop.events import Client, ClientRole, Command, Press, Pressed
from serl_ray.teleop.twists import TWIST_DIM, Reference, Twist
from serl_ray.teleop.wire import Message, WireError

Tab = Literal["drive", "record", "label", "review", "fleet"]
"""Name of a tab of the page."""
INTERRUPT = "interrupt"
"""Kind of the message that tells a robot that the run ends."""
WATCHED = "watched"
"""Kind of the message that tells a robot how many clients look at it, in its field `watchers`."""
LARGEST = 2**53
"""Greatest whole number that JSON carries without loss."""
MAX_TEXT = 200
ROBOT_HEARTBEAT_SECONDS = 6.0
"""Seconds between pings of a robot and the hub; a connection whose pong fails to come within half of them is closed. A
robot's process may be busy for as long in a step."""


def command_of(message: Message, client: Client, described: Mapping[str, Any]) -> Command:
    """The command in a `command` message for a robot of this description, which fulfils `is_robot`.

    Raises:
        WireError: a field is missing, of another type, or out of range.
    """
    checks: dict[str, Callable[[Any], bool]] = {
        "epoch": is_whole,
        "frame": is_whole,
        "clutch": is_bool,
        "source": is_text,
        "tail": is_bool,
    }
    is_twist = "twist" in message.arrays
    if is_twist:
        checks |= {"arm": is_whole, "reference": is_reference}
    fields = fields_of(message, **checks)
    if message.arrays.keys() not in ({"action"}, {"twist"}, {"twist", "other"}) or message.jpegs:
        blobs = [*message.arrays, *message.jpegs]
        raise WireError(f"A command has the blobs {blobs!r:.200}; it has `action`, or `twist` and perhaps `other`.")
    if not is_twist:
        return Command(client=client, motion=_numbers(message, "action", described["action_dim"]), **fields)
    numbers = _numbers(message, "twist", TWIST_DIM)
    other = _numbers(message, "other", TWIST_DIM) if "other" in message.arrays else None
    arm, reference = fields.pop("arm"), Reference(fields.pop("reference"))
    if arm >= described["arms"]:
        raise WireError(f"A twist is for arm {arm}; this robot has {described['arms']}, counted from 0.")
    if reference not in described["references"]:
        raise WireError(f"A twist is of the frame {reference.value!r}; this robot knows {described['references']}.")
    if other is not None and described["arms"] != 2:
        raise WireError(f"A command is for two arms; this robot has {described['arms']}.")
    return Command(client=client, motion=Twist(numbers, arm, reference, other), **fields)


def _numbers(message: Message, name: str, count: int) -> np.ndarray:
    """An array of a message, which must have `count` numbers in [-1, 1]."""
    array = message.arrays[name]
    if array.dtype != np.float32 or array.shape != (count,):
        raise WireError(
            f"The {name} of a command is {array.dtype} of shape {array.shape}; this robot's is float32 of shape "
            f"({count},)."
        )
    if not np.abs(array).max(initial=0.0) <= 1.0:  # also where one is NaN, in a message that was never packed
        raise WireError(f"The {name} of a command has numbers beyond -1 and 1.")
    return array


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


def is_reference(value: Any) -> bool:
    """True for the name of a frame of reference."""
    return isinstance(value, str) and value in {reference.value for reference in Reference}


def is_role(value: Any) -> bool:
    """True for the role of a client."""
    return isinstance(value, str) and value in {role.value for role in ClientRole}


def is_robot(value: Any) -> bool:
    """True for the description of a robot, by which the commands for it are checked."""
    if not isinstance(value, dict) or not is_whole(value.get("action_dim")) or not is_whole(value.get("arms")):
        return False
    references = value.get("references")
    return value["arms"] > 0 and isinstance(references, list) and all(map(is_reference, references))


def is_press(value: Any) -> bool:
    """True for the name of a key."""
    return isinstance(value, str) and value in {press.value for press in Press}
