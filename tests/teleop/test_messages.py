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
from serl_ray.teleop.wire import Message, WireError, pack, unpack

COUNTS = st.integers(0, LARGEST)
COMMAND = Message(
    "command",
    {"epoch": 3, "frame": 41, "clutch": True, "source": "keyboard"},
    {"action": np.array([0.5, -1.0, 1.0], np.float32)},
)
PRESS = Message("press", {"epoch": 3, "frame": 41, "press": "success"})
GRIP = Message("press", {"epoch": 3, "frame": 41, "press": "gripper", "gripper": 1, "direction": -1})
COUNT_FAULTS = [-1, LARGEST + 1, 1.0, True, None, "1", [1], {"a": 1}]
WRONG = {
    "epoch": COUNT_FAULTS,
    "frame": COUNT_FAULTS,
    "clutch": [0, 1, None, "true", [True], {}],
    "source": ["", "a" * (MAX_TEXT + 1), "a\nb", "\x1b[31m", "\ud800", 1, None, ["keyboard"]],
}
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
    source=st.text("abc é🙂-_", min_size=1, max_size=MAX_TEXT),
    action=nps.arrays(np.float32, st.integers(1, 14), elements=st.floats(-1, 1, width=32)),
)
@fuzz(60)
def test_a_command_comes_back(epoch, frame, clutch, source, action):
    fields = {"epoch": epoch, "frame": frame, "clutch": clutch, "source": source}
    command = command_of(unpack(pack(Message("command", fields, {"action": action}))), ANNA, len(action))
    assert isinstance(command, Command) and command.client == ANNA
    assert {name: getattr(command, name) for name in fields} == fields
    assert command.action.dtype == np.float32 and command.action.tobytes() == action.tobytes()


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
        command_of(changed(COMMAND, **{name: value}), ANNA, 3)


@pytest.mark.parametrize(("name", "value"), cases(WRONG_PRESS))
def test_a_wrong_field_of_a_press_is_named(name, value):
    with pytest.raises(WireError, match=f"'{name}' of a 'press' message is"):
        pressed_of(changed(PRESS, **{name: value}), ANNA)


@pytest.mark.parametrize(("name", "value"), cases(WRONG_GRIP))
def test_a_wrong_field_of_a_grip_is_named(name, value):
    with pytest.raises(WireError, match=f"'{name}' of a 'press' message is"):
        pressed_of(changed(GRIP, **{name: value}), ANNA)


@pytest.mark.parametrize("name", COMMAND.fields)
def test_a_command_without_a_field_is_refused(name):
    with pytest.raises(WireError, match="has the fields"):
        command_of(without(COMMAND, name), ANNA, 3)


@pytest.mark.parametrize("name", GRIP.fields)
def test_a_press_without_a_field_is_refused(name):
    with pytest.raises(WireError, match="has the fields"):
        pressed_of(without(GRIP, name), ANNA)


@pytest.mark.parametrize("more", [{"client": "ben"}, {"gripper": 0}, {"gripper": 0, "direction": 1}, {"": None}])
def test_a_field_that_is_not_known_is_refused(more):
    with pytest.raises(WireError, match="has the fields"):
        command_of(changed(COMMAND, **more), ANNA, 3)
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
        command_of(replace(COMMAND, arrays={"action": action}), ANNA, 3)


@pytest.mark.parametrize("number", [1.0000001, -1.5, 3e38, np.inf, -np.inf, np.nan])
def test_an_action_out_of_range_is_refused(number):
    with pytest.raises(WireError, match="beyond -1 and 1"):
        command_of(replace(COMMAND, arrays={"action": np.array([0, number, 0], np.float32)}), ANNA, 3)


@pytest.mark.parametrize(
    "blobs",
    [
        {"arrays": {}},
        {"arrays": {"twist": np.zeros(3, np.float32)}},
        {"arrays": {**COMMAND.arrays, "more": np.zeros(3, np.float32)}},
        {"jpegs": {"more": b"\xff\xd8\xff"}},
    ],
)
def test_a_command_has_one_array(blobs):
    with pytest.raises(WireError, match="it has one, `action`"):
        command_of(replace(COMMAND, **blobs), ANNA, 3)


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
KEYS = st.sampled_from(["epoch", "frame", "clutch", "source", "press", "gripper", "direction", "more"])


@given(kind=st.text(max_size=9), fields=st.dictionaries(KEYS, VALUES), base=st.sampled_from([COMMAND, PRESS, GRIP]))
@fuzz(200)
def test_any_fields_are_understood_or_refused(kind, fields, base):
    message = replace(base, kind=kind, fields={**base.fields, **fields})
    for read in (lambda: command_of(message, ANNA, 3), lambda: pressed_of(message, ANNA)):
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


@pytest.mark.parametrize("value", [{}, {"action_dim": -1}, {"action_dim": 7.0}, {"action_dim": True}, [], None, "7"])
def test_what_describes_no_robot(value):
    assert is_robot({"action_dim": 7, "cameras": ["front"]}) and not is_robot(value)
