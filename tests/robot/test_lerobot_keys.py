"""Keys of the robot's terminal."""

from __future__ import annotations

import os
import pty
import termios
import time

import pytest
from serl_robot.lerobot.keys import Keys


@pytest.fixture
def terminal(monkeypatch):
    """The person's side of a terminal, and the program's, in whose foreground it runs."""
    person, program = pty.openpty()
    monkeypatch.setattr(os, "tcgetpgrp", lambda file: os.getpgrp())
    with os.fdopen(program) as stream:
        yield person, stream
    os.close(person)


def test_single_keys_are_read_and_the_terminal_is_given_back(terminal):
    person, stream = terminal
    before = termios.tcgetattr(stream)
    keys = Keys(stream)
    assert keys.is_there and keys.read() == ""
    os.write(person, b" s")
    pressed, ends_at = "", time.monotonic() + 60
    while len(pressed) < 2 and time.monotonic() < ends_at:
        pressed += keys.read()
    assert pressed == " s"
    keys.close()
    assert termios.tcgetattr(stream) == before and keys.read() == ""


def test_a_program_in_the_background_leaves_the_terminal_alone(terminal, monkeypatch):
    _, stream = terminal
    before = termios.tcgetattr(stream)
    monkeypatch.setattr(os, "tcgetpgrp", lambda file: -1)
    assert not Keys(stream).is_there
    assert termios.tcgetattr(stream) == before


def test_a_file_has_no_keys(tmp_path):
    path = tmp_path / "input"
    path.write_text("sss")
    with path.open() as stream:
        keys = Keys(stream)
    assert not keys.is_there and keys.read() == ""
