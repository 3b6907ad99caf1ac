"""The link of a robot: whom it dials, how it is taken or refused, and what it does with bytes of anybody's."""

from __future__ import annotations

import numpy as np
import pytest
from fuzzing import EDITS, edited, fuzz
from hypothesis import given
from hypothesis import strategies as st
from robot_trainers import ScriptedTrainer, scripted_trainer, served, wait_until
from serl_robot.dialling import Refused
from serl_robot.orders import FIELDS, check_order
from serl_robot.trainer import UnknownTrainer, robot_token, trainer_urls
from serl_robot.wire import Message, WireError, pack, unpack


def two_ports() -> tuple[ScriptedTrainer, ScriptedTrainer]:
    """Trainers at two ports of which one follows the other."""
    while True:
        first = ScriptedTrainer()
        try:
            return first, ScriptedTrainer(first.port + 1)
        except OSError:
            first.close()


def test_a_lost_link_stops_the_robot_which_goes_on_in_a_new_episode(trainer, arm, caplog):
    with served(arm, trainer.url):
        for lost in range(1, 4):
            talk = trainer.accept().welcome()
            talk.step(answer="fault")  # the old episode is over
            talk.reset()
            talk.step()
            talk.break_off()
            arm.has_been("stop", times=lost)
        trainer.accept()
    assert len(arm.actions) == 3 and caplog.text.count("is lost") >= 3


def test_a_loss_amid_a_step_stops_the_robot_at_once(trainer, arm):
    with served(arm, trainer.url):
        talk = trainer.accept().welcome()
        talk.reset()
        arm.blocked.clear()
        talk.begin_step()
        arm.has_been("step")
        talk.break_off()
        arm.has_been("stop", times=2)
        arm.blocked.set()
        trainer.accept().welcome().reset()


def test_orders_of_a_lost_link_are_not_executed(trainer, arm):
    with served(arm, trainer.url):
        talk = trainer.accept().welcome()
        talk.reset()
        arm.blocked.clear()
        talk.begin_step()
        arm.has_been("step")
        talk.begin_step()
        talk.break_off()
        arm.has_been("stop")
        arm.blocked.set()
        trainer.accept().welcome().reset()
    assert len(arm.actions) == 1


def test_the_end_of_a_run_stops_the_robot_which_waits_for_the_next_one(trainer, arm, caplog):
    with served(arm, trainer.url):
        talk = trainer.accept().welcome()
        talk.reset()
        talk.send("close")
        arm.has_been("stop")
        trainer.accept().welcome().reset()
    assert "The run has ended" in caplog.text and "is lost" not in caplog.text.split("The run has ended")[0]


def test_a_trainer_that_comes_later_is_found_and_said_once_to_be_missing(arm, caplog):
    with scripted_trainer() as gone:
        port = gone.port
    with served(arm, f"ws://127.0.0.1:{port}"):
        wait_until(lambda: "No trainer takes the robot yet" in caplog.text)
        with scripted_trainer(port=port) as trainer:
            trainer.accept().welcome().reset()
    assert caplog.text.count("No trainer takes the robot yet") <= 2  # once more after the trainer has gone


def test_the_next_port_is_dialled_where_another_robot_has_the_worker(arm):
    first, second = two_ports()
    try:
        with served(arm, first.url):
            first.accept().refuse("another robot has this worker", retry=True)
            second.accept().welcome().reset()
    finally:
        first.close()
        second.close()


def test_the_first_port_is_dialled_again_after_the_last_one(trainer, arm, caplog):
    with served(arm, trainer.url):
        for _ in range(3):
            trainer.accept().refuse("another robot has this worker", retry=True)
        trainer.accept().welcome().reset()
    assert caplog.text.count("another robot has this worker") == 1


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (lambda talk: talk.refuse("the setup_mode is another one", retry=False), "the setup_mode is another one"),
        (lambda talk: talk.send("welcome", protocol=2, version="9"), "of protocol 2; this robot speaks 1"),
        (lambda talk: talk.send("hello", protocol=1), "Install the same release"),
    ],
)
def test_a_robot_that_will_never_be_taken_ends_with_the_reason(trainer, arm, answer, text):
    with served(arm, trainer.url) as errors:
        answer(trainer.accept())
        wait_until(lambda: errors)
    assert isinstance(errors[0], Refused) and text in str(errors[0]) and arm.calls[-1] == "close"


def test_a_wrong_token_ends_the_robot_with_what_to_do(arm):
    with scripted_trainer(statuses=[401]) as trainer, served(arm, trainer.url) as errors:
        wait_until(lambda: errors)
    assert "refuses the token. Copy ~/.serl/robot_token" in str(errors[0]) and "a-token" not in str(errors[0])


def test_another_server_at_the_port_is_passed_by(arm, caplog):
    with scripted_trainer(statuses=[404, 503]) as trainer, served(arm, trainer.url):
        trainer.accept().welcome().reset()
    assert "HTTP 404" in caplog.text


BAD = {
    "text": "hello",
    "no message": b"\x00" * 40,
    "unknown kind": pack(Message("fly", {})),
    "missing field": pack(Message("reset", {"number": 1})),
    "one field more": pack(Message("stop", {"hard": True})),
    "number": pack(Message("step", {"number": -1}, {"action": np.zeros(4, np.float32)})),
    "no action": pack(Message("step", {"number": 1})),
    "five numbers": pack(Message("step", {"number": 1}, {"action": np.zeros(5, np.float32)})),
    "float64": pack(Message("step", {"number": 1}, {"action": np.zeros(4)})),
    "too far": pack(Message("step", {"number": 1}, {"action": np.full(4, 1.01, np.float32)})),
}


@pytest.mark.parametrize("name", BAD)
def test_a_message_of_another_form_closes_the_link_with_a_sentence_and_stops_the_robot(trainer, arm, name):
    with served(arm, trainer.url):
        talk = trainer.accept().welcome()
        talk.reset()
        talk.socket.send(BAD[name])
        assert talk.closed().count(" ") > 3
        talk.over.set()
        arm.has_been("stop")
        trainer.accept().welcome().reset()  # a trainer that is sound is taken
    assert not arm.actions


GOOD = [
    pack(Message("step", {"number": 3}, {"action": np.linspace(-1, 1, 4, dtype=np.float32)})),
    pack(Message("reset", {"number": 3, "seed": 9})),
    pack(Message("twist", {"number": 3, "arm": 1, "frame": "base"}, {"twist": np.zeros(6, np.float32)})),
]


@given(raw=st.sampled_from(GOOD), edits=EDITS)
@fuzz(300)
def test_changed_bytes_are_an_order_of_the_form_or_refused(raw, edits):
    try:
        message = unpack(edited(raw, edits))
        check_order(message, 4)
    except WireError as error:
        assert len(str(error)) < 900
    else:
        assert message.fields.keys() == FIELDS[message.kind].keys()
        assert all((np.abs(array) <= 1.0001).all() for array in message.arrays.values())


def test_addresses_have_a_path_and_the_ports_that_follow():
    urls = trainer_urls("ws://gpu-box")
    assert urls[0] == "ws://gpu-box:8765/robot" and urls[-1] == "ws://gpu-box:8780/robot" and len(urls) == 16
    assert trainer_urls("wss://[fe80::1]:9000/lab/")[0] == "wss://[fe80::1]:9000/lab/"
    assert trainer_urls("ws://a:65530")[-1] == "ws://a:65535/robot"


@pytest.mark.parametrize("url", ["gpu-box:8765", "http://gpu-box", "ws://", "ws://a:0x1", "ws://a:70000", "ws://u:p@a"])
def test_an_address_that_cannot_be_right_is_named(url):
    with pytest.raises(UnknownTrainer, match="must look like ws://HOST:8765"):
        trainer_urls(url)


def test_the_token_is_given_or_in_the_environment_or_in_its_file(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SERL_ROBOT_TOKEN", raising=False)
    with pytest.raises(UnknownTrainer, match="Copy ~/.serl/robot_token"):
        robot_token()
    (tmp_path / ".serl").mkdir()
    (tmp_path / ".serl/robot_token").write_text("from-file\n")
    assert robot_token() == "from-file"
    monkeypatch.setenv("SERL_ROBOT_TOKEN", "from-variable")
    assert robot_token() == "from-variable" and robot_token("given") == "given"
    for bad in ("two words", "grün", "a\nb"):
        with pytest.raises(UnknownTrainer, match="printable ASCII") as caught:
            robot_token(bad)
        assert bad not in str(caught.value)


def test_a_trainer_that_says_nothing_is_left(arm, caplog, monkeypatch):
    monkeypatch.setattr("serl_robot.dialling.OPEN_SECONDS", 0.2)
    with scripted_trainer() as trainer, served(arm, trainer.url):
        trainer.accept()
        trainer.accept().welcome().reset()
    assert "no answer" in caplog.text


def test_a_trainer_that_has_died_without_a_word_is_left_and_the_robot_stopped(arm, monkeypatch):
    monkeypatch.setattr("serl_robot.dialling.PING_SECONDS", 0.05)
    monkeypatch.setattr("serl_robot.dialling.PONG_SECONDS", 0.5)
    with scripted_trainer() as trainer, served(arm, trainer.url):
        talk = trainer.accept().welcome()
        talk.reset()
        with talk.socket.protocol_mutex:  # the trainer's end reads no more, and the connection stays
            arm.has_been("stop")
        trainer.accept().welcome().reset()
