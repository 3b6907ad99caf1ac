"""Every package that is imported is declared as a dependency, and every declared one is imported."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
USED_BY_OTHERS = {
    "alembic": "MLflow needs it for sqlite: URIs",
    "sqlalchemy": "MLflow needs it for sqlite: URIs",
    "mkdocs-material": "mkdocs.yml names it",
    "mkdocstrings": "mkdocs.yml names it",
    "mypy": "scripts/test runs it",
    "onnx": "torch.onnx needs it",
    "onnxscript": "torch.onnx needs it",
    "pre-commit": "CONTRIBUTING.md names it",
    "pytest-timeout": "pyproject.toml says how long one test may take",
    "pytest-xdist": "scripts/test runs the tests by it",
    "ruff": "scripts/test runs it",
    "websockets": "serl_robot needs it",
}
"""Declared packages that no file imports, and what uses them."""
OF_OTHER_ENVIRONMENTS = {"lerobot"}
"""Packages of tests that are skipped here: LeRobot's run in its own environment."""


def normalized(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def distributions(requirements):
    return {normalized(re.match(r"[\w.-]+", each)[0]) for each in requirements} - {"serl-ray"}


def top_levels(folder):
    """Third-party top-level modules that the files of a folder import, with one of the files."""
    own = {"serl_ray", "serl_robot", *(each.stem for name in ("scripts", "tests") for each in (ROOT / name).rglob("*"))}
    found = {}
    for path in sorted(folder.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module]
            found |= {name.split(".")[0]: path.relative_to(ROOT) for name in names}
    return {
        name: path
        for name, path in found.items()
        if name not in sys.stdlib_module_names and name not in own | OF_OTHER_ENVIRONMENTS
    }


@pytest.fixture(scope="module")
def imported():
    """{folder: {normalized distribution: a file that imports it}}."""
    of_module = packages_distributions()

    def resolved(folder):
        modules = top_levels(ROOT / folder)
        unknown = {name: str(path) for name, path in modules.items() if name not in of_module}
        assert not unknown, f"not installed, so that nothing says who provides them: {unknown}"
        return {name: (path, {normalized(each) for each in of_module[name]}) for name, path in modules.items()}

    return {folder: resolved(folder) for folder in ("serl_ray", "scripts", "tests")}


EXTRAS = {name: distributions(given) for name, given in PROJECT["optional-dependencies"].items()}
REQUIRED = distributions(PROJECT["dependencies"])


@pytest.mark.parametrize("folder", ["serl_ray", "scripts", "tests"])
def test_what_is_imported_is_declared(imported, folder):
    needs_no_test_tools = REQUIRED | set().union(
        *(given for name, given in EXTRAS.items() if name not in ("dev", "docs"))
    )
    declared = needs_no_test_tools if folder == "serl_ray" else needs_no_test_tools | EXTRAS["dev"]
    missing = {name: str(path) for name, (path, providers) in imported[folder].items() if not providers & declared}
    assert not missing, f"add their packages to pyproject.toml: {missing}"


def test_what_is_declared_is_imported(imported):
    package = set().union(*(providers for _, providers in imported["serl_ray"].values()))
    everywhere = set().union(*(providers for each in imported.values() for _, providers in each.values()))
    assert package >= REQUIRED, f"nothing imports {sorted(REQUIRED - package)}: take them out of pyproject.toml"
    unused = set().union(*EXTRAS.values()) - everywhere - USED_BY_OTHERS.keys()
    assert not unused, f"nothing imports {sorted(unused)}"
    assert set(USED_BY_OTHERS) <= set().union(*EXTRAS.values())


def test_the_licence_and_the_command_are_what_the_metadata_says():
    assert PROJECT["license"] == "MIT" and (ROOT / PROJECT["license-files"][0]).read_text().startswith("MIT License")
    assert "urls" not in PROJECT
    module, function = PROJECT["scripts"]["serl"].split(":")
    tree = ast.parse((ROOT / f"{module.replace('.', '/')}.py").read_text())
    assert function in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
