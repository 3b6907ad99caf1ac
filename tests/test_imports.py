"""The house: which room may import which, what importing costs, how long things are, and the names at the door."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

import serl_ray
from serl_ray.cluster import ray_private

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "scripts"))
import import_graph  # noqa: E402

sys.path.remove(str(ROOT / "scripts"))
PACKAGE = sorted((ROOT / "serl_ray").rglob("*.py"))
ROBOT = sorted(path for path in (ROOT / "robot" / "serl_robot").rglob("*.py") if not path.is_symlink())
FILES = import_graph.file_graph()
ROOMS = import_graph.room_graph(FILES)
CORE = ("serl_ray.agents.sac", "serl_ray.networks.classifier", "serl_ray.networks.original")
SHARED = {
    "main": "every command has its entry, which serl_ray.cli.main calls by this name",
    "logger": "every module writes into a log of its own",
    "T": "a type variable belongs to the signatures of its module",
}
"""Names that may be defined in several modules, and why."""
HEAVY = ("torch", "ray", "gymnasium", "pyarrow", "matplotlib", "mujoco", "pandas", "scipy")
NOT_FOR_TRAINING = ("torch._dynamo", "torchvision", "sympy", "matplotlib", "mujoco", "aiohttp", "av", "wandb", "mlflow")
"""What would only lengthen the start of a training: no operator, video, tracker or env is there yet."""


def test_no_file_and_no_room_is_in_a_cycle():
    assert import_graph.cycles(FILES) == [] and import_graph.cycles(ROOMS) == []


def test_imports_point_inwards():
    assert import_graph.outward(ROOMS) == []


def test_every_room_has_its_ring_and_there_are_few():
    assert set(ROOMS) <= set(import_graph.RING_OF) and len(ROOMS) <= 18


def names_in(source: str) -> list[str]:
    """The public names that a module defines at its top level: functions, classes, types and constants."""
    found = []
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.append(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found += [
                name.id
                for target in targets
                for name in ast.walk(target)
                if isinstance(name, ast.Name) and isinstance(name.ctx, ast.Store)
            ]
    return [name for name in dict.fromkeys(found) if not name.startswith("_")]


def lengths_in(source: str) -> dict[str, int]:
    """The lines of each function, nested ones and methods too; the longest of those with one name."""
    lengths: dict[str, int] = defaultdict(int)
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lengths[node.name] = max(lengths[node.name], (node.end_lineno or 0) - node.lineno + 1)
    return dict(lengths)


def test_the_names_and_lengths_of_a_module_are_found():
    source = "A, _B = 1, 2\nC: int = 3\nclass D:\n    def e(self):\n        pass\nasync def f(): pass\n"
    assert names_in(source) == ["A", "C", "D", "f"] and lengths_in(source) == {"e": 2, "f": 1}


def test_a_public_name_means_one_thing_in_the_whole_package():
    homes = defaultdict(list)
    for path in PACKAGE:
        for name in names_in(path.read_text(encoding="utf-8")):
            homes[name].append(path.relative_to(ROOT).as_posix())
    shared = {name: places for name, places in homes.items() if len(places) > 1}
    assert not {name: places for name, places in shared.items() if name not in SHARED}, "rename, or import the one"
    assert shared.keys() == SHARED.keys()


@pytest.mark.parametrize("path", [*PACKAGE, *ROBOT], ids=lambda path: path.relative_to(ROOT).as_posix())
def test_functions_and_files_are_short(path):
    source = path.read_text(encoding="utf-8")
    assert not {name: lines for name, lines in lengths_in(source).items() if lines > 40}
    assert len(source.splitlines()) <= 300


def modules_after(code: str) -> set[str]:
    """The modules that a fresh interpreter has loaded after some code."""
    listing = f"import sys\n{code}\nprint(*sorted(sys.modules))"
    return set(
        subprocess.run([sys.executable, "-c", listing], capture_output=True, text=True, check=True).stdout.split()
    )


@pytest.mark.parametrize("module", CORE)
def test_the_core_needs_neither_ray_nor_gymnasium_nor_posix(module):
    blocked = "".join(f"sys.modules[{name!r}] = None\n" for name in ("fcntl", "resource", "ray", "gymnasium"))
    assert not {"ray", "gymnasium"} & modules_after(
        blocked + f"import {module}\ndel sys.modules['ray'], sys.modules['gymnasium']"
    )


@pytest.mark.parametrize("module", ["serl_ray", "serl_ray.cli.main", "serl_ray.cli.train", "serl_ray.cli.evaluate"])
def test_what_only_prints_help_loads_no_heavy_library(module):
    assert not set(HEAVY) & modules_after(f"import {module}")


def test_the_help_of_every_command_loads_no_heavy_library():
    run = """
import contextlib, io
from serl_ray.cli.main import COMMANDS, main
def explained(*words):
    with contextlib.redirect_stdout(io.StringIO()) as shown, contextlib.suppress(SystemExit):
        main([*words, "--help"])
    return shown.getvalue()
texts = [explained()] + [explained(name) for name in COMMANDS]
assert all("usage: serl" in text for text in texts), texts
"""
    assert not set(HEAVY) & modules_after(run)


def test_the_driver_of_a_training_loads_nothing_that_it_may_not_need():
    assert not set(NOT_FOR_TRAINING) & modules_after("import serl_ray.runs.train")


def test_acting_needs_no_posix():
    without = "import signal, asyncio, psutil\n"  # which have another implementation on Windows
    without += "".join(f"sys.modules[{name!r}] = None\n" for name in ("fcntl", "resource", "termios", "pwd", "grp"))
    without += "del signal.SIGHUP, signal.SIGKILL, signal.pthread_sigmask\n"
    rooms = ("agents.checkpoint", "envs.make", "envs.contract", "evaluation.rollouts", "cli.main", "cli.terminal")
    loaded = modules_after(without + "".join(f"import serl_ray.{room}\n" for room in rooms))
    assert not {"ray", "scipy", "matplotlib"} & loaded


def test_an_agent_learns_and_acts_without_a_compiler_and_torchvision():
    learn = (
        f"sys.path.insert(0, {str(ROOT / 'tests')!r})\n"
        + """
import numpy as np
from small_agents import batch, small_config
from serl_ray.agents.make import make_agent
from serl_ray.networks.inputs import ObservationSpec
from serl_ray.types import ActionLayout
spec = ObservationSpec(("front",), state_dim=5)
agent = make_agent(ActionLayout.from_sizes(6, 3), spec, small_config(), device="cpu")
agent.update(batch(np.random.default_rng(0), agent, ("front",)))
"""
    )
    slow = "sys.modules['torchvision'] = sys.modules['torch._dynamo'] = None\n"
    modules_after(slow + learn)


def test_the_public_names_are_there_and_nothing_else():
    assert all(getattr(serl_ray, name) is not None for name in serl_ray.__all__)
    assert set(serl_ray.__all__) == set(serl_ray.HOMES) <= set(dir(serl_ray))
    with pytest.raises(AttributeError, match="no attribute 'Robot'"):
        serl_ray.Robot  # noqa: B018


def test_device_is_where_it_was_promised():
    assert modules_after("from serl_ray.utils.device import DEVICE\nassert DEVICE.type in ('cuda', 'mps', 'cpu')")


def test_private_names_of_ray_are_in_one_file():
    private = re.compile(r"\bray\.[\w.]*\b_\w+|\._worker_manager|\._local_tuner|_WandbLoggingActor")
    found = {path.name for path in (ROOT / "serl_ray").rglob("*.py") if private.search(path.read_text())}
    assert found == {"ray_private.py"}


def test_another_release_of_ray_is_said_to_be_untested(monkeypatch, caplog):
    monkeypatch.setattr("ray.__version__", "3.1.0")
    ray_private.warn_if_untested()
    assert "Ray 3.1.0 is installed; serl_ray is tested with Ray 2.59, 2.60" in caplog.text
