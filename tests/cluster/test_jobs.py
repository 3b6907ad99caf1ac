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

import commands
import pytest

from serl_ray.cluster.jobs import Package
from serl_ray.rllib.checkpoint import checkpoint_of
from serl_ray.runs.mirror import local_run
from serl_ray.runs.policy import load_policy

ROOT = Path(__file__).parents[2]
NO_PRESTART = {"RAY_enable_worker_prestart": "0", "RAY_prestart_worker_first_driver": "0"}
"""The head starts a process when there is work for it: not one for each core at once, which imports for seconds."""
TRAIN = [
    *("python", "scripts/train_hybrid.py", "--preset", "tabletop", "--setup_mode", "single-arm-fixed-gripper"),
    *("--num_workers", "1", "--evaluate_every", "0", "--steps_per_iteration", "50", "--evaluation_episodes", "1"),
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
def head(tmp_path_factory):
    """The address of a dashboard, and the environment of who may use it."""
    port, dashboard, agent, client = free_ports(4)
    folder = tempfile.mkdtemp(prefix="ray")  # a short path, as sockets need
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32), "OMP_NUM_THREADS": "1"}
    environment |= NO_PRESTART
    environment["PATH"] = os.pathsep.join(
        (str(Path(sys.executable).parent), os.environ["PATH"])
    )  # whose python a job runs
    flags = ["--head", f"--port={port}", f"--dashboard-port={dashboard}", f"--dashboard-agent-listen-port={agent}"]
    flags += [f"--ray-client-server-port={client}", "--num-cpus=4", "--num-gpus=1", f"--temp-dir={folder}", "--block"]
    ray = Path(sys.executable).with_name("ray")
    process = subprocess.Popen(
        [ray, "start", *flags], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    address, printed = f"http://127.0.0.1:{dashboard}", tmp_path_factory.mktemp("head") / "printed.txt"
    ends = time.monotonic() + 120
    while not is_open(dashboard) or submit((address, environment), printed, None, "true").wait():
        assert process.poll() is None and time.monotonic() < ends, printed.read_text()
        time.sleep(0.2)  # it takes a while until a head takes jobs
    yield address, environment
    process.terminate()
    process.wait()
    shutil.rmtree(folder, ignore_errors=True)


def is_open(port):
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


def submit(head, printed, job, *command, gpus=0):
    """Starts `serl submit` from a folder that is not the project's."""
    address, environment = head
    flags = ["--address", address, "--gpus", str(gpus), *(["--submission_id", job] if job else []), "--", *command]
    return commands.start(["submit", *flags], printed, Path("/"), **environment)


@pytest.mark.slow
def test_a_job_is_followed_stopped_resumed_and_its_result_fetched(head, tmp_path):
    address, environment = head
    run, mirror, printed = str(tmp_path / "run"), (tmp_path / "store").as_uri(), tmp_path / "printed.txt"
    first = submit(head, printed, "first", *TRAIN, "--max_steps", "100000", "--save_dir", run, "--mirror", mirror)
    while not re.search(r"(?m)^\d+/100000 steps", first.printed):
        assert first.returncode is None, first.printed
        time.sleep(0.1)
    said = re.search(r"(?m)^\d+ files, \d+\.\d MiB go to http", first.printed)
    assert said and said.start() < first.printed.index("Job first."), "the size is said before anything travels"
    ray = Path(sys.executable).with_name("ray")
    subprocess.run(
        [ray, "job", "stop", "--address", address, "first"], env=environment, check=True, capture_output=True
    )
    assert first.wait() == 1 and "The run is saved in" in first.printed and "Job first: stopped." in first.printed
    shutil.rmtree(run)  # the machine is another one
    saved = int(json.loads((checkpoint_of(local_run(mirror)) / "run.json").read_text())["counters"]["env_steps"])
    more = str(saved + 100)
    flags = ["--max_steps", more, "--save_dir", run, "--mirror", mirror, "--resume"]
    second = submit(head, tmp_path / "second.txt", "second", *TRAIN, *flags)
    assert second.wait() == 0 and "Job second: succeeded." in second.printed, second.printed
    assert int(re.search(r"after (\d+) env steps", second.printed)[1]) >= saved + 100
    agent, env = load_policy(local_run(mirror))
    assert agent.sample_actions(env.reset()[0], argmax=True).shape == (6,)


@pytest.mark.slow
def test_a_job_that_fails_says_why_and_fails_here_too(head, tmp_path):
    job = submit(head, tmp_path / "printed.txt", "wrong", "python", "scripts/train_hybrid.py", "--discuont", "0.9")
    assert job.wait() == 1 and "--discount" in job.printed and "Job wrong: failed." in job.printed, job.printed


@pytest.mark.slow
def test_a_learner_has_the_gpu_that_it_asks_for(head, tmp_path):
    code = "import os; print('devices:', os.environ['CUDA_VISIBLE_DEVICES'])"
    job = submit(head, tmp_path / "printed.txt", "gpu", "python", "-c", code, gpus=1)
    assert job.wait() == 0 and "devices: 0" in job.printed, job.printed


@pytest.mark.slow
def test_a_job_runs_the_code_that_was_sent(head, tmp_path):
    code = "import serl_ray.data.demos, serl_ray; print('code:', serl_ray.__file__)"
    job = submit(head, tmp_path / "printed.txt", "code", "python", "-c", code)
    job.wait()
    assert re.search(r"code: \S*/_ray_pkg_\w+/serl_ray/__init__.py", job.printed), job.printed


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
