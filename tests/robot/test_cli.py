"""The `serl-robot` command."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from robot_trainers import DEADLINE, TOKEN, scripted_trainer
from serl_robot.cli import UnknownEnv, env_kwargs, main, make_env

ROOT = Path(__file__).parents[2]
OPTIONS = ["--hz", "20", "--setup_mode", "single-arm-learned-gripper"]
FILE = """
import os, signal
from robot_trainers import RecordingArm

def make_env(ip, arm="Arm"):
    print({"ip": ip}, flush=True)
    return globals()[arm]()

class Arm(RecordingArm):
    def _note(self, call):
        super()._note(call)
        print(call, flush=True)

class Deaf(Arm):
    def __init__(self):
        super().__init__()
        signal.signal(signal.SIGINT, lambda *_: None)  # as rospy does

class Hasty(Arm):
    def stop(self):
        os.kill(os.getpid(), signal.SIGINT)  # somebody who sees no effect yet presses Ctrl-C again
        os.kill(os.getpid(), signal.SIGTERM)
        super().stop()
"""


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["ws://a", "my_robot:make", *OPTIONS], "There is no module 'my_robot'. Run this command in its folder"),
        (["ws://a", "json:make", *OPTIONS], "The module 'json' has no 'make'"),
        (["ws://a", "my_robot.py", *OPTIONS], "it must be module:function"),
        (["http://a", "robot_trainers:RecordingArm", *OPTIONS], "must look like ws://HOST:8765"),
        (["ws://a", "robot_trainers:RecordingArm", *OPTIONS, "--env_kwargs", "ip"], "give a value to each name"),
        (["ws://a", "robot_trainers:RecordingArm", *OPTIONS, "--hz", "0"], "from 1 to 1000"),
        (
            ["ws://a", "robot_trainers:RecordingArm", *OPTIONS, "--frozen_after", "-1"],
            "frozen_after is -1.0; it must be 0",
        ),
        (["ws://a", "robot_trainers:RecordingArm", *OPTIONS, "--speed", "1"], "give --devices as well"),
        (["ws://a", "robot_trainers:RecordingArm", *OPTIONS, "--devices", "--speed", "2"], "up to 1 for full scale"),
        (["ws://a", "robot_trainers:RecordingArm", *OPTIONS, "--devices", "/dev/none"], "no device '/dev/none'"),
    ],
)
def test_a_mistake_is_one_line(words, text, capsys, monkeypatch):
    monkeypatch.setenv("SERL_ROBOT_TOKEN", TOKEN)
    assert main(words) == 2
    error = capsys.readouterr().err
    assert error.startswith("serl-robot: error: ") and error.count("\n") == 1 and text in error


def test_a_module_that_fails_in_an_import_of_its_own_keeps_its_traceback(tmp_path, monkeypatch):
    (tmp_path / "lacking.py").write_text("import no_such_driver\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="no_such_driver"):
        make_env("lacking:make", {})


def test_values_are_json_or_text():
    words = ["ip", "10.0.0.2", "port", "5000", "cameras", '["front"]', "is_real", "true", "name", '"7"']
    expected = {"ip": "10.0.0.2", "port": 5000, "cameras": ["front"], "is_real": True, "name": "7"}
    assert env_kwargs(words) == expected
    with pytest.raises(UnknownEnv):
        env_kwargs(["ip"])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "code", "arm"),
    [
        (signal.SIGTERM, 0, "Arm"),
        (signal.SIGHUP, 0, "Arm"),
        (signal.SIGINT, 130, "Arm"),
        (signal.SIGINT, 130, "Hasty"),
        (signal.SIGINT, 130, "Deaf"),
    ],
)
def test_a_signal_stops_the_robot_and_ends_the_process(tmp_path, number, code, arm):
    (tmp_path / "my_robot.py").write_text(FILE)
    path = os.pathsep.join(map(str, (ROOT, ROOT / "tests", ROOT / "robot")))
    environment = {**os.environ, "PYTHONPATH": path, "SERL_ROBOT_TOKEN": TOKEN}
    with scripted_trainer() as trainer:
        words = [trainer.url, "my_robot:make_env", *OPTIONS, "--env_kwargs", "ip", "10.0.0.2", "arm", arm]
        process = subprocess.Popen(
            [sys.executable, "-m", "serl_robot.cli", *words],
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),  # tests under nohup ignore a hangup
        )
        try:
            talk = trainer.accept().welcome()
            talk.reset()
            process.send_signal(number)
            output, errors = process.communicate(timeout=DEADLINE)
        finally:
            process.kill()
    lines = output.splitlines()
    assert process.returncode == code and lines[0] == "{'ip': '10.0.0.2'}" and "reset" in lines
    assert "stop" in lines and lines[-1] == "close" and "Traceback" not in errors
