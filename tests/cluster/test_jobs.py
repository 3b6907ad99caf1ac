"""A real head with its dashboard on this machine: a job is submitted, followed, stopped, resumed, and its result
fetched."""

import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from serl_ray.cluster.jobs import Package
from serl_ray.rllib.checkpoint import checkpoint_of
from serl_ray.runs.mirror import local_run
from serl_ray.runs.policy import load_policy

ROOT = Path(__file__).parents[2]
TRAIN = [
    *("python", "scripts/train_hybrid.py", "--preset", "tabletop", "--setup_mode", "single-arm-fixed-gripper"),
    *("--num_workers", "1", "--evaluate_every", "0", "--steps_per_iteration", "50", "--evaluation_episodes", "2"),
    *("--control_hz", "20", "--fragment_length", "50"),  # what is under way takes longer than Ray waits for by itself
]  # fmt: skip


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


@pytest.fixture(scope="module")
def head():
    """The address of a dashboard, and the environment of who may use it."""
    port, dashboard, agent, client = free_ports(4)
    folder = tempfile.mkdtemp(prefix="ray")  # a short path, as sockets need
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32), "OMP_NUM_THREADS": "1"}
    environment["PATH"] = os.pathsep.join(
        (str(Path(sys.executable).parent), os.environ["PATH"])
    )  # whose python a job runs
    flags = ["--head", f"--port={port}", f"--dashboard-port={dashboard}", f"--dashboard-agent-listen-port={agent}"]
    flags += [f"--ray-client-server-port={client}", "--num-cpus=4", "--num-gpus=1", f"--temp-dir={folder}", "--block"]
    ray = Path(sys.executable).with_name("ray")
    process = subprocess.Popen(
        [ray, "start", *flags], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    address = f"http://127.0.0.1:{dashboard}"
    ends = time.monotonic() + 120
    while submit((address, environment), None, "true").wait():  # it takes a while until a head takes jobs
        assert process.poll() is None and time.monotonic() < ends
    yield address, environment
    process.terminate()
    process.wait()
    shutil.rmtree(folder, ignore_errors=True)


def submit(head, job, *command, gpus=0):
    address, environment = head
    flags = ["--address", address, "--gpus", str(gpus), *(["--submission_id", job] if job else []), "--", *command]
    return subprocess.Popen(
        [sys.executable, ROOT / "scripts" / "submit.py", *flags],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd="/",
    )


@pytest.mark.slow
def test_a_job_is_followed_stopped_resumed_and_its_result_fetched(head, tmp_path):
    address, environment = head
    run, mirror = str(tmp_path / "run"), (tmp_path / "store").as_uri()
    first = submit(head, "first", *TRAIN, "--max_steps", "100000", "--save_dir", run, "--mirror", mirror)
    lines = []
    while not re.search(r"(?m)^\d+/100000 steps", "".join(lines)):
        lines.append(first.stdout.readline())
        assert lines[-1], "".join(lines)
    assert re.match(r"\d+ files, [01]\.\d MiB go to http", lines[0]), "the size is said before anything travels"
    ray = Path(sys.executable).with_name("ray")
    subprocess.run(
        [ray, "job", "stop", "--address", address, "first"], env=environment, check=True, capture_output=True
    )
    rest, _ = first.communicate()
    assert first.returncode == 1 and "The run is saved in" in rest and "Job first: stopped." in rest
    shutil.rmtree(run)  # the machine is another one
    saved = int(json.loads((checkpoint_of(local_run(mirror)) / "run.json").read_text())["counters"]["env_steps"])
    more = str(saved + 100)
    second = submit(head, "second", *TRAIN, "--max_steps", more, "--save_dir", run, "--mirror", mirror, "--resume")
    output, _ = second.communicate()
    assert second.returncode == 0 and "Job second: succeeded." in output, output
    assert int(re.search(r"after (\d+) env steps", output)[1]) >= saved + 100
    agent, env = load_policy(local_run(mirror))
    assert agent.sample_actions(env.reset()[0], argmax=True).shape == (6,)


@pytest.mark.slow
def test_a_job_that_fails_says_why_and_fails_here_too(head):
    process = submit(head, "wrong", "python", "scripts/train_hybrid.py", "--discuont", "0.9")
    output, _ = process.communicate()
    assert process.returncode == 1 and "--discount" in output and "Job wrong: failed." in output


@pytest.mark.slow
def test_a_learner_has_the_gpu_that_it_asks_for(head):
    process = submit(
        head, "gpu", "python", "-c", "import os; print('devices:', os.environ['CUDA_VISIBLE_DEVICES'])", gpus=1
    )
    output, _ = process.communicate()
    assert process.returncode == 0 and "devices: 0" in output, output


@pytest.mark.slow
def test_a_job_runs_the_code_that_was_sent(head):
    code = "import serl_ray.data.demos, serl_ray; print('code:', serl_ray.__file__)"
    output, _ = submit(head, "code", "python", "-c", code).communicate()
    assert re.search(r"code: \S*/_ray_pkg_\w+/serl_ray/__init__.py", output), output


def test_all_of_the_code_travels():
    code = {path.relative_to(ROOT) for path in (ROOT / "serl_ray").rglob("*.py")}
    assert code <= Package.of(ROOT).sizes.keys()


def test_a_package_that_is_too_large_does_not_travel(tmp_path):
    (tmp_path / ".rayignore").write_text("data/\n")
    (tmp_path / "data").mkdir()
    for name, size in (("data/demos.pkl", 200), ("video.mp4", 150), ("code.py", 0)):
        with (tmp_path / name).open("wb") as file:
            file.truncate(size * 2**20)
    with pytest.raises(ValueError, match=r"150 MiB that would travel, of which 100 may: video.mp4 \(150 MiB\)"):
        Package.of(tmp_path).check()
    assert {str(path) for path in Package.of(tmp_path).sizes} == {".rayignore", "video.mp4", "code.py"}
