"""What the code may call, what a checkpoint may name, and which ports are open."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from serl_ray.files.digests import write_sealed
from serl_ray.rllib.checkpoint import COUNTERS, FORMAT_VERSION, PARTS

ROOT = Path(__file__).parents[2]
FILES = sorted([*ROOT.glob("serl_ray/**/*.py"), *ROOT.glob("scripts/*.py")])
FORBIDDEN = {
    "eval", "exec", "compile", "__import__", "os.system", "os.popen", "pickle.load", "pickle.loads", "pickle.Unpickler",
    "marshal.loads", "shelve.open", "dill.load", "cloudpickle.load", "cloudpickle.loads", "joblib.load",
    "yaml.unsafe_load", "pd.read_pickle", "torch.jit.load", "torch.jit.script", "torch.jit.trace",
    "torch.export.load", "torch.package.PackageImporter", "torch.hub.load", "tarfile.open", "shutil.unpack_archive",
}  # fmt: skip
IMPORTS = {
    "serl_ray/__init__.py": 1,
    "serl_ray/cli/benchmark.py": 1,
    "serl_ray/cli/main.py": 1,
    "serl_ray/envs/make.py": 1,
    "serl_ray/envs/rendering.py": 2,
}
"""Where a module is imported by its name: the env that the command line names, and mujoco's back ends."""


def calls(path):
    """(name as it is written, keywords, line) of each call in a file."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            yield (
                ast.unparse(node.func),
                {k.arg: ast.unparse(k.value) for k in node.keywords},
                f"{path.relative_to(ROOT)}:{node.lineno}",
            )


def test_nothing_is_called_that_runs_data():
    for path in FILES:
        for name, keywords, where in calls(path):
            assert name not in FORBIDDEN, f"{where} calls {name}"
            assert keywords.get("shell", "False") == "False", f"{where} gives a shell a command"
            assert keywords.get("allow_pickle", "False") == "False", f"{where} lets numpy unpickle"
            assert name != "torch.load" or keywords.get("weights_only") == "True", f"{where} lets torch unpickle"
            assert not name.startswith("subprocess.") or name in ("subprocess.run", "subprocess.Popen"), where
            assert name not in ("pq.ParquetFile", "pq.read_table") or where.startswith("serl_ray/files/tables.py"), (
                where
            )
            assert name != "YAML" or (where.startswith("serl_ray/files/yaml.py") and keywords["typ"] == "'safe'"), where
            assert name != "Image.open" or where.startswith("serl_ray/files/images.py"), where


def test_unpickling_and_importing_by_name_have_their_places():
    imports = {}
    for path in FILES:
        relative = str(path.relative_to(ROOT))
        tree = ast.parse(path.read_text())
        bases = [ast.unparse(base) for node in ast.walk(tree) if isinstance(node, ast.ClassDef) for base in node.bases]
        assert "pickle.Unpickler" not in bases or relative == "serl_ray/files/pickles.py"
        count = sum(name == "importlib.import_module" for name, _, _ in calls(path))
        imports |= {relative: count} if count else {}
        assert not any(
            isinstance(node, ast.Attribute) and ast.unparse(node) == "sys.path" for node in ast.walk(tree)
        ), relative
        names = [alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names]
        assert not {"system", "loads", "Unpickler", "import_module"} & set(names), relative
    assert imports == IMPORTS


@pytest.mark.parametrize(
    ("name", "kwargs"),
    [("os:system", {"command": "touch owned"}), ("subprocess:run", {"args": "touch owned", "shell": True})],
)
@pytest.mark.slow
def test_a_checkpoint_names_no_env_to_import(tmp_path, name, kwargs):
    options = {"env_name": name, "env_kwargs": kwargs, "setup_mode": "single-arm-learned-gripper"}
    state = {"format_version": FORMAT_VERSION} | {part: {} for part in PARTS}
    state |= {"options": options, "counters": dict.fromkeys(COUNTERS, 0)}
    write_sealed(tmp_path / "run.json", state)
    command = [sys.executable, ROOT / "scripts" / "evaluate.py", "--checkpoint", tmp_path]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2 and f"trained in the env {name!r}" in done.stderr and "--env_name" in done.stderr
    assert not (tmp_path / "owned").exists()


PORTS = """
import psutil, ray
from serl_ray.cluster.start import start_ray
start_ray(1, 0.1)
ray.get(ray.remote(lambda: 1).remote())
me = psutil.Process()
processes = [me, *me.children(recursive=True)]
connections = [c for p in processes for c in p.net_connections("inet")]
opened = [c.laddr.ip for c in connections if c.status == "LISTEN"]
print(sum(word.endswith("/dashboard.py") for p in processes for word in p.cmdline()))
print(sum(c.laddr.port == 52365 for c in connections if c.status == "LISTEN"))
print(len(opened), *{ip.removeprefix("::ffff:") for ip in opened})
"""


@pytest.mark.slow
def test_a_training_run_opens_no_port_to_the_outside_nor_the_one_of_another_ray_and_has_no_dashboard():
    done = subprocess.run([sys.executable, "-c", PORTS], cwd=ROOT, capture_output=True, text=True, check=True)
    *_, dashboards, as_another_ray, (number, *addresses) = (line.split() for line in done.stdout.splitlines())
    assert dashboards == ["0"]
    assert as_another_ray == ["0"], "two trainings start at the same time, and neither waits for the port"
    assert int(number) > 4 and addresses == ["127.0.0.1"]
