"""Messages of operators: every field is there, of its type and in its range, or the message is refused by its name."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from fuzzing import fuzz
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as nps
from stage import ANNA

from serl_ray.teleop.events import ClientRole, Command, Press, Pressed
from serl_ray.teleop.messages import LARGEST, MAX_TEXT, command_of, fields_of, is_bool, is_robot, is_role, pressed_of
from serl_ray.teleop.twists import TWIST_DIM, Reference, Twist
from serl_ray.teleop.wire import Message, WireError, pack, unpack

COUNTS = st.integers(0, LARGEST)
COMMAND = Message(
    "command",
    {"epoch": 3, "frame": 41, "clutch": True, "source": "keyboard", "tail": False},
    {"action": np.array([0.5, -1.0, 1.0], np.float32)},
)
TWIST = Message(
    "command",
    {**COMMAND.fields, "arm": 1, "reference": "tool"},
    {"twist": np.array([0.5, -1.0, 1.0, 0.0, 0.25, -0.125], np.float32)},
)
ROBOT = {"action_dim": 3, "arms": 2, "references": ["base", "tool"]}
PRESS = Message("press", {"epoch": 3, "frame": 41, "press": "success"})
GRIP = Message("press", {"epoch": 3, "frame": 41, "press": "gripper", "gripper": 1, "direction": -1})
COUNT_FAULTS = [-1, LARGEST + 1, 1.0, True, None, "1", [1], {"a": 1}]
WRONG = {
    "epoch": COUNT_FAULTS,
    "frame": COUNT_FAULTS,
    "clutch": [0, 1, None, "true", [True], {}],
    "tail": [0, 1, None, "false", [False], {}],
    "source": ["", "a" * (MAX_TEXT + 1), "a\nb", "\x1b[31m", "\ud800", 1, None, ["keyboard"]],
}
WRONG_TWIST = {"arm": COUNT_FAULTS, "reference": ["", "BASE", "camera", 1, None, True, ["base"], {"base": 1}]}
WRONG_PRESS = {
    "epoch": COUNT_FAULTS,
    "frame": COUNT_FAULTS,
    "press": ["", "SUCCESS", "jump", 1, None, True, ["success"], {"success": 1}],
}
WRONG_GRIP = {"gripper": COUNT_FAULTS, "direction": [0, 2, -2, 1.0, -1.0, True, None, "1", [1]]}


def cases(wrong: dict[str, list[Any]]) -> list[tuple[str, Any]]:
    return [(name, value) for name, values in wrong.items() for value in values]


def changed(message: Message, **fields: Any) -> Message:
    return replace(message, fields={**message.fields, **fields})


def without(message: Message, name: str) -> Message:
    return replace(message, fields={key: value for key, value in message.fields.items() if key != name})


@given(
    epoch=COUNTS,
    frame=COUNTS,
    clutch=st.booleans(),
    tail=st.booleans(),
    source=st.text("abc é🙂-_", min_size=1, max_size=MAX_TEXT),
    action=nps.arrays(np.float32, st.integers(1, 14), elements=st.floats(-1, 1, width=32)),
)
@fuzz(60)
def test_a_command_comes_back(epoch, frame, clutch, tail, source, action):
    fields = {"epoch": epoch, "frame": frame, "clutch": clutch, "source": source, "tail": tail}
    command = command_of(
        unpack(pack(Message("command", fields, {"action": action}))), ANNA, ROBOT | {"action_dim": len(action)}
    )
    assert isinstance(command, Command) and command.client == ANNA
    assert {name: getattr(command, name) for name in fields} == fields
    assert command.motion.dtype == np.float32 and command.motion.tobytes() == action.tobytes()


@given(
    twist=nps.arrays(np.float32, TWIST_DIM, elements=st.floats(-1, 1, width=32)),
    arm=st.integers(0, 1),
    reference=st.sampled_from(Reference),
)
@fuzz(60)
def test_a_twist_comes_back(twist, arm, reference):
    message = Message("command", {**TWIST.fields, "arm": arm, "reference": reference.value}, {"twist": twist})
    command = command_of(unpack(pack(message)), ANNA, ROBOT)
    assert (command.motion.arm, command.motion.reference) == (arm, reference)
    assert isinstance(command.motion.reference, Reference)
    assert command.motion.numbers.dtype == np.float32 and command.motion.numbers.tobytes() == twist.tobytes()


@given(epoch=COUNTS, frame=COUNTS, press=st.sampled_from(Press), gripper=COUNTS, direction=st.sampled_from([-1, 1]))
@fuzz(60)
def test_a_press_comes_back(epoch, frame, press, gripper, direction):
    more = {"gripper": gripper, "direction": direction} if press is Press.GRIPPER else {}
    message = unpack(pack(Message("press", {"epoch": epoch, "frame": frame, "press": press.value, **more})))
    pressed = pressed_of(message, ANNA)
    assert pressed == Pressed(ANNA, epoch, press, frame, **more)
    assert isinstance(pressed.press, Press)


@pytest.mark.parametrize(("name", "value"), cases(WRONG))
def test_a_wrong_field_of_a_command_is_named(name, value):
    with pytest.raises(WireError, match=f"'{name}' of a 'command' message is"):
        command_of(changed(COMMAND, **{name: value}), ANNA, ROBOT)


@pytest.mark.parametrize(("name", "value"), cases(WRONG_PRESS))
def test_a_wrong_field_of_a_press_is_named(name, value):
    with pytest.raises(WireError, match=f"'{name}' of a 'press' message is"):
        pressed_of(changed(PRESS, **{name: value}), ANNA)


@pytest.mark.parametrize(("name", "value"), cases(WRONG_GRIP))
def test_a_wrong_field_of_a_grip_is_named(name, value):
    with pytest.raises(WireError, match=f"'{name}' of a 'press' message is"):
        pressed_of(changed(GRIP, **{name: value}), ANNA)


@pytest.mark.parametrize("message", [COMMAND, TWIST], ids=["action", "twist"])
@pytest.mark.parametrize("name", TWIST.fields)
def test_a_command_without_a_field_is_refused(message, name):
    if name not in message.fields:
        command_of(message, ANNA, ROBOT)
        return
    with pytest.raises(WireError, match="has the fields"):
        command_of(without(message, name), ANNA, ROBOT)


@pytest.mark.parametrize(("name", "value"), cases(WRONG_TWIST))
def test_a_wrong_field_of_a_twist_is_named(name, value):
    with pytest.raises(WireError, match=f"'{name}' of a 'command' message is"):
        command_of(changed(TWIST, **{name: value}), ANNA, ROBOT)


def test_a_twist_is_of_an_arm_and_a_frame_that_the_robot_has():
    with pytest.raises(WireError, match="A twist is for arm 1; this robot has 1,"):
        command_of(TWIST, ANNA, ROBOT | {"arms": 1})
    with pytest.raises(WireError, match=r"A twist is of the frame 'tool'; this robot knows \['base'\]"):
        command_of(TWIST, ANNA, ROBOT | {"references": ["base"]})


@pytest.mark.parametrize("twist", [np.zeros(5, np.float32), np.zeros(7, np.float32), np.zeros(6), np.full(6, 2.0)])
def test_a_twist_of_another_form_is_refused(twist):
    with pytest.raises(WireError, match="The twist of a command"):
        command_of(replace(TWIST, arrays={"twist": twist}), ANNA, ROBOT)


@pytest.mark.parametrize("name", GRIP.fields)
def test_a_press_without_a_field_is_refused(name):
    with pytest.raises(WireError, match="has the fields"):
        pressed_of(without(GRIP, name), ANNA)


@pytest.mark.parametrize("more", [{"client": "ben"}, {"gripper": 0}, {"gripper": 0, "direction": 1}, {"": None}])
def test_a_field_that_is_not_known_is_refused(more):
    with pytest.raises(WireError, match="has the fields"):
        command_of(changed(COMMAND, **more), ANNA, ROBOT)
    with pytest.raises(WireError, match="has the fields"):
        pressed_of(changed(PRESS, **more), ANNA)


@pytest.mark.parametrize(
    "action",
    [
        np.zeros(2, np.float32),
        np.zeros(4, np.float32),
        np.zeros((), np.float32),
        np.zeros((1, 3), np.float32),
        np.zeros(0, np.float32),
        np.zeros(3, np.float64),
        np.zeros(3, np.int8),
        np.zeros(3, bool),
    ],
    ids=lambda action: f"{action.dtype}{action.shape}",
)
def test_an_action_of_another_form_is_refused(action):
    with pytest.raises(WireError, match=r"this robot's is float32 of shape \(3,\)"):
        command_of(replace(COMMAND, arrays={"action": action}), ANNA, ROBOT)


@pytest.mark.parametrize("number", [1.0000001, -1.5, 3e38, np.inf, -np.inf, np.nan])
def test_an_action_out_of_range_is_refused(number):
    with pytest.raises(WireError, match="beyond -1 and 1"):
        command_of(replace(COMMAND, arrays={"action": np.array([0, number, 0], np.float32)}), ANNA, ROBOT)


@pytest.mark.parametrize(
    "blobs",
    [
        {"arrays": {}},
        {"arrays": {"motion": np.zeros(3, np.float32)}},
        {"arrays": {**COMMAND.arrays, "more": np.zeros(3, np.float32)}},
        {"jpegs": {"more": b"\xff\xd8\xff"}},
    ],
)
def test_a_command_has_one_array(blobs):
    with pytest.raises(WireError, match="it has `action`, or `twist` and perhaps `other`"):
        command_of(replace(COMMAND, **blobs), ANNA, ROBOT)


@pytest.mark.parametrize("blobs", [{"arrays": COMMAND.arrays}, {"jpegs": {"more": b"\xff\xd8\xff"}}])
def test_a_press_has_no_blobs(blobs):
    with pytest.raises(WireError, match="no blobs"):
        pressed_of(replace(PRESS, **blobs), ANNA)


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=5)
    | st.sampled_from(Press),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=4,
)
KEYS = st.sampled_from(["epoch", "frame", "clutch", "source", "press", "gripper", "direction", "tail", "arm", "more"])


@given(
    kind=st.text(max_size=9), fields=st.dictionaries(KEYS, VALUES), base=st.sampled_from([COMMAND, TWIST, PRESS, GRIP])
)
@fuzz(200)
def test_any_fields_are_understood_or_refused(kind, fields, base):
    message = replace(base, kind=kind, fields={**base.fields, **fields})
    for read in (lambda: command_of(message, ANNA, ROBOT), lambda: pressed_of(message, ANNA)):
        try:
            assert isinstance(read(), Command | Pressed)
        except WireError as error:
            assert len(str(error)) < 400


def test_fields_are_checked_by_name():
    assert fields_of(Message("x", {"a": True}), a=is_bool) == {"a": True}
    assert fields_of(Message("x")) == {}
    with pytest.raises(WireError, match="has the fields"):
        fields_of(Message("x", {"b": True}), a=is_bool)


@pytest.mark.parametrize("role", [*ClientRole, "viewer"])
def test_a_role_is_known_by_its_name(role):
    assert is_role(role)


@pytest.mark.parametrize("value", ["robot", "", "Viewer", None, 1, ["viewer"], {}])
def test_what_is_no_role(value):
    assert not is_role(value)


WRONG_ROBOT = {
    "action_dim": [None, -1, 7.0, True],
    "arms": [None, 0, -1, 1.0, True],
    "references": [None, "base", ["camera"], [1], {"base": 1}],
}


@pytest.mark.parametrize("value", [{}, [], None, "7", *(ROBOT | {name: value} for name, value in cases(WRONG_ROBOT))])
def test_what_describes_no_robot(value):
    assert is_robot({**ROBOT, "cameras": ["front"]}) and not is_robot(value)


def test_a_command_of_two_devices_has_the_twist_of_the_other_arm_too():
    numbers = {"twist": np.full(6, 0.25, np.float32), "other": np.full(6, -0.5, np.float32)}
    fields = {"epoch": 1, "frame": 2, "clutch": True, "source": "spacemouse", "tail": False}
    message = Message("command", fields | {"arm": 1, "reference": "base"}, numbers)
    two_arms = {"action_dim": 14, "arms": 2, "references": ["base"]}
    motion = command_of(message, ANNA, two_arms).motion
    assert isinstance(motion, Twist)
    by_arm = motion.by_arm()
    np.testing.assert_array_equal(by_arm[1], numbers["twist"])
    np.testing.assert_array_equal(by_arm[0], numbers["other"])
    with pytest.raises(WireError, match="for two arms; this robot has 1"):
        command_of(replace(message, fields=message.fields | {"arm": 0}), ANNA, two_arms | {"arms": 1})
    with pytest.raises(WireError, match="The other of a command is float32 of shape"):
        command_of(replace(message, arrays=numbers | {"other": np.zeros(3, np.float32)}), ANNA, two_arms)
