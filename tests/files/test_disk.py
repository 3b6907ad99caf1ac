"""Files that are whole or not there, and that one process alone holds."""

import fcntl
import os
import signal
import subprocess
import sys

import pytest

from serl_ray.files import atomic
from serl_ray.files.atomic import locked, write_json
from serl_ray.options.sets import HybridRun
from serl_ray.runs.folder import RunFolder
from serl_ray.runs.train import train

HOLD = """
import sys
from pathlib import Path
from serl_ray.files.atomic import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_file_that_cannot_be_written_leaves_the_one_before(tmp_path, monkeypatch):
    write_json(tmp_path / "tracks.json", {"wandb": "first"})

    def full(descriptor):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space left"):
        patch.setattr(atomic.os, "fsync", full)
        write_json(tmp_path / "tracks.json", {"wandb": "second"})
    assert atomic.read_json(tmp_path / "tracks.json", "run") == {"wandb": "first"}
    assert os.listdir(tmp_path) == ["tracks.json"]


def test_a_second_process_in_a_run_s_folder_is_refused_until_the_first_has_died(tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    unfinished = run / "checkpoints" / ".step-000000050.new"
    unfinished.mkdir(parents=True)
    first = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(run / ".lock")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert first.stdout.readline() == "held\n"
        with pytest.raises(
            FileExistsError, match=f"Another process runs in {run}. Wait .* or choose another --save_dir"
        ):
            train(HybridRun.of(save_dir=run))
        assert unfinished.exists(), "it may be the first's"
    finally:
        first.send_signal(signal.SIGKILL)
        first.communicate()
    with RunFolder(run, keep=1).held():
        pass


def test_a_folder_on_a_file_system_without_locks_is_still_one_process_s(tmp_path, monkeypatch):
    def without(file, operation):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", without)
    with locked(tmp_path / "lock"), pytest.raises(BlockingIOError), locked(tmp_path / "lock"):
        pass
