"""The `serl` command: help, and what a mistake looks like in every subcommand."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from serl_ray.cli.main import COMMANDS, main

SCRIPTS = Path(__file__).parents[2] / "scripts"
DOORS = {
    "record_demos": "record",
    "check_env": "check-env",
    "inspect_demos": "inspect",
    "convert_demos": "convert",
    "train_classifier": "train-classifier",
    "train_offline": "train-offline",
    "train_hybrid": "train",
    "evaluate": "evaluate",
    "tune": "tune",
    "submit": "submit",
    "benchmark": "benchmark",
}
MISTAKES = {
    "record": (["--output", "demos.mp4"], r"demos.mp4 ends in '.mp4'"),
    "check-env": (["--env_name", "nowhere"], "Unknown env 'nowhere'"),
    "inspect": (["missing.pkl"], "missing.pkl: no demonstrations there"),
    "convert": (["a.pkl", "b.pkl", "--to", "parquet"], "target is b.pkl, and to is parquet"),
    "train-classifier": (["--success_dir", "s"], "failure_dir is missing: Failure images"),
    "review": (["nowhere"], "nowhere: there is no such folder"),
    "train-offline": (["--demo_paths", "missing.pkl"], "missing.pkl: no demonstrations there"),
    "train": (["--demo_paths", "missing.pkl"], "missing.pkl: no demonstrations there"),
    "evaluate": (["--checkpoint", "nowhere"], "nowhere holds no checkpoint"),
    "tune": (["sweep.yaml"], "sweep.yaml: there is no such file"),
    "submit": (["--gpus", "1"], "command is missing"),
    "devices": (["--robot", "peg"], "robot is peg, and nothing uses it without --drive"),
    "benchmark": (["lerner"], "There is no section 'lerner'. Did you mean 'learner'"),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_help_is_printed_and_each_line_has_its_sentence(command, capsys):
    arguments = [command, "learner", "--help"] if command == "benchmark" else [command, "--help"]
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    text = capsys.readouterr().out
    assert caught.value.code == 0 and text.startswith(f"usage: serl {command}")
    for flag in re.findall(r"^  (--\w+)", text, flags=re.MULTILINE):
        assert re.search(rf"^  {flag}\b[^\n]*?(?:\n\s+|\s\s+)[A-Z]", text, flags=re.MULTILINE), flag


def test_an_env_without_an_expert_is_a_mistake_too(capsys, tmp_path):
    assert main(["record", "--env_name", "peoples_envs:Contract", "--output", str(tmp_path / "demos.pkl")]) == 2
    printed = capsys.readouterr()
    assert "has no scripted expert" in printed.err and "Go on with" not in printed.out


@pytest.mark.parametrize("command", MISTAKES)
def test_a_mistake_is_one_line_and_exit_code_2(command, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments, says = MISTAKES[command]
    assert main([command, *arguments]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert re.match(f"serl {command}: error: .*{says}", line), line


def test_an_unknown_command_is_named_with_the_nearest(capsys):
    assert main(["trian"]) == 2
    assert "There is no command 'trian'. Did you mean 'train'?" in capsys.readouterr().err


def test_a_fault_of_ours_keeps_its_traceback(monkeypatch):
    monkeypatch.setattr("serl_ray.cli.check_env.main", lambda argv: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        main(["check-env"])


def test_without_a_command_there_is_an_overview(capsys):
    assert main([]) == 0
    text = capsys.readouterr().out
    assert all(f"  {name} " in text for name in COMMANDS)


@pytest.mark.parametrize("script", DOORS)
def test_the_scripts_are_doors_to_the_commands(script):
    assert f'main(["{DOORS[script]}", *sys.argv[1:]])' in (SCRIPTS / f"{script}.py").read_text()


def test_the_promised_flags_of_a_script_are_understood(tmp_path):
    flags = [
        "--success_dir",
        "s",
        "--failure_dir",
        "f",
        "--image_keys",
        "image",
        "--output_dir",
        "out",
        "--batch_size",
        "8",
    ]
    command = [sys.executable, str(SCRIPTS / "train_classifier.py"), *flags, "--num_epochs", "0"]
    run = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert (
        run.returncode == 2 and run.stderr == "serl train-classifier: error: num_epochs is 0; it must be at least 1.\n"
    )
