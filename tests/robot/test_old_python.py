"""The package on a robot's computer: Python 3.8 with numpy and websockets, without PyTorch and Ray."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from robot_trainers import DEADLINE, MODE, TOKEN

from serl_ray.envs.remote.env import RemoteEnv

ROOT = Path(__file__).parents[2]
SOURCES = ("robot", "serl_ray/teleop", "LICENSE")
"""Parts of the repository that the package is built from."""
MISSING = "There is no Python 3.8 here. Get one by `uv python install 3.8`, or by `pyenv install 3.8`."
MY_ROBOT = """
import numpy as np
from serl_robot import Box, Dict


class Arm:
    observation_space = Dict({"state": Box(-1, 1, (2,)), "front": Box(0, 255, (64, 64, 3), np.uint8)})
    action_space = Box(-1, 1, (4,))

    def reset(self, seed=None):
        self.state = np.zeros(2, np.float32)
        return self.observe(), {}

    def step(self, action):
        self.state = self.state + 0.25 * action[:2]
        return self.observe(), 0.0, False, False, {"intervene_action": action}

    def observe(self):
        return {"state": self.state, "front": np.full((64, 64, 3), 7, np.uint8)}

    def stop(self):
        print("stop", flush=True)
"""


def python38() -> str | None:
    """A Python 3.8: on PATH, of pyenv, or of uv."""
    candidates = [shutil.which("python3.8"), *sorted((Path.home() / ".pyenv/versions").glob("3.8*/bin/python"))]
    candidates += sorted((Path.home() / ".local/share/uv/python").glob("cpython-3.8*/bin/python3.8"))
    for candidate in filter(None, candidates):
        asked = subprocess.run([candidate, "-c", "import sys; print(*sys.version_info[:2])"], capture_output=True)
        if asked.stdout.split() == [b"3", b"8"]:
            return str(candidate)
    return None


def run(*words: object, **kwargs: object) -> str:
    """The output of a command that must succeed, which sees no package of this environment."""
    outside = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL"))}
    done = subprocess.run([*map(str, words)], capture_output=True, text=True, env=outside, timeout=600, **kwargs)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def clone(folder: Path) -> Path:
    """The package's folder in a copy of the repository, whose links are links."""
    skipped = shutil.ignore_patterns("__pycache__", "build", "*.egg-info", "web")
    for name in SOURCES:
        source, target = ROOT / name, folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(source, target, symlinks=True, ignore=skipped) if source.is_dir() else shutil.copy(
            source, target
        )
    return folder / "robot"


@pytest.fixture(scope="session")
def owners_python(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python 3.8 in which the package is installed as its owner does it; it is made once for each state of the
    sources."""
    found = python38()
    if found is None:
        pytest.skip(MISSING)
    digest = hashlib.sha256(found.encode())
    for name in SOURCES:
        for path in sorted((ROOT / name).rglob("*.py*")):
            digest.update(path.read_bytes() if path.suffix in (".py", ".toml") else b"")
    folder = Path(request.config.cache.mkdir("python38")) / digest.hexdigest()[:16]
    python = folder / "bin/python"
    if not (folder / "is_installed").exists():
        shutil.rmtree(folder.parent)  # of other states, too
        run(found, "-m", "venv", folder)
        run(python, "-m", "pip", "install", "--quiet", clone(tmp_path_factory.mktemp("clone")))
        (folder / "is_installed").touch()
    return python


@pytest.mark.slow
def test_the_package_is_whole_and_needs_neither_torch_nor_ray(owners_python, tmp_path):
    code = """
import importlib.util, pkgutil, sys
import serl_robot
for found in pkgutil.walk_packages(serl_robot.__path__, "serl_robot."):
    if not found.name.startswith("serl_robot.lerobot"):  # which is for LeRobot's environment
        importlib.import_module(found.name)
others = ("torch", "ray", "gymnasium", "serl_ray")
print(*sys.version_info[:2], *[name for name in others if importlib.util.find_spec(name)])
"""
    assert run(owners_python, "-W", "error", "-c", code, cwd=tmp_path) == "3 8\n"
    listed = run(owners_python, "-m", "pip", "list", "--format=freeze").split()
    names = {line.split("==")[0].lower().replace("_", "-") for line in listed}
    assert names <= {"serl-robot", "numpy", "websockets", "pip", "setuptools"}


@pytest.mark.slow
def test_a_robot_with_python_38_is_an_env_here(owners_python, tmp_path, monkeypatch):
    (tmp_path / "my_robot.py").write_text(MY_ROBOT)
    monkeypatch.setenv("SERL_ROBOT_TOKEN", TOKEN)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    outside = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    command = [owners_python.parent / "serl-robot", f"ws://127.0.0.1:{port}", "my_robot:Arm", "--hz", "10"]
    robot = subprocess.Popen(
        [*map(str, command), "--setup_mode", MODE],
        cwd=tmp_path,
        env=outside,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        env = RemoteEnv(MODE, port=port, connect_seconds=DEADLINE)
        assert env.observation_space["front"].shape == (64, 64, 3) and env.action_space.shape == (4,) and env.hz == 10
        env.reset(seed=0)
        for number in range(1, 5):
            env.hold()  # so that no step is late, on however slow a computer
            observation, reward, terminated, truncated, info = env.step(np.array([1, -1, 0, 0], np.float32))
            np.testing.assert_array_equal(observation["state"], [0.25 * number, -0.25 * number])
            np.testing.assert_array_equal(info["intervene_action"], [1, -1, 0, 0])
            assert (observation["front"] == 7).all() and (reward, terminated, truncated) == (0.0, False, False)
        env.close()
        robot.send_signal(signal.SIGTERM)
        output, errors = robot.communicate(timeout=DEADLINE)
    finally:
        robot.kill()
    assert robot.returncode == 0 and "stop" in output and "has taken the robot" in errors, errors


@pytest.mark.slow
def test_what_is_built_holds_files_and_no_links(tmp_path):
    folder = clone(tmp_path / "repository")
    code = f"import setuptools.build_meta as b; b.build_sdist({str(tmp_path)!r}); b.build_wheel({str(tmp_path)!r})"
    run(sys.executable, "-c", code, cwd=folder)
    [wheel], [sdist] = tmp_path.glob("*.whl"), tmp_path.glob("*.tar.gz")
    with zipfile.ZipFile(wheel) as archive:
        built = {name: archive.read(name) for name in archive.namelist() if name.startswith("serl_robot/")}
    sources = {str(path.relative_to(folder)): path.read_bytes() for path in folder.glob("serl_robot/**/*.py")}
    assert {name for name in built if name.endswith(".py")} == sources.keys()
    assert all(built[name] == content for name, content in sources.items())
    with tarfile.open(sdist) as archive:
        members = {member.name.split("/", 1)[-1]: member for member in archive.getmembers()}
        assert all(member.isfile() or member.isdir() for member in members.values())
        assert sources.keys() | {"LICENSE", "README.md", "pyproject.toml"} <= members.keys()
