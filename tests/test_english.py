"""The English of docstrings and of the options' help, and one word for one thing everywhere."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest

import serl_ray
from serl_ray.classifier.config import ClassifierOptions
from serl_ray.options.sets import HybridRun, OfflineRun
from serl_ray.sweeps.config import Sweep
from serl_ray.utils.options import Options, options_of

FOLDER = Path(serl_ray.__file__).parent
OPENINGS = re.compile(r"(Of|Likewise|That|Which|Where|Beside|As|What|How|Who|Whose)\b|In the folder|Whether (?!to\b)")
ENTRY_OPENINGS = re.compile(r"(of|likewise|that|which|where|beside|as of)\b", re.IGNORECASE)
PREPOSITIONS = re.compile(r"(About|After|As|At|Before|Between|By|For|From|In|Of|On|Over|To|Under|Until|With|Within)\b")
ENTRY = re.compile(r"\s+[\w, *]+: (.*)")
SYNONYMS = {r"film(s|ed|ing)?": "video", r"pictures?": "image, or plot", "human": "operator"}
"""Words for which DESIGN has another one, and that one; names are read by their parts."""
TITLES = re.compile(r"title *= .*")
"""Titles of papers, which have their own words."""
ROOT = FOLDER.parent
ROBOT = [path for path in (ROOT / "robot" / "serl_robot").rglob("*.py") if not path.is_symlink()]
"""Modules of serl_robot; links lead to modules of serl_ray."""
SOURCES = sorted([*FOLDER.rglob("*.py"), *ROBOT])
PAGES = sorted([ROOT / "README.md", ROOT / "robot" / "README.md", *(ROOT / "docs").glob("*.md"), *SOURCES])
MODULES = sorted(path.relative_to(FOLDER).as_posix() for path in FOLDER.rglob("*.py"))


def name_of(path: Path) -> str:
    """The path within the repository."""
    return path.relative_to(ROOT).as_posix()


def docstrings(tree: ast.Module) -> list[str]:
    """All docstrings, of modules, classes, functions and assignments."""
    bodies = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    statements = [statement for node in ast.walk(tree) if isinstance(node, bodies) for statement in node.body]
    expressions = [statement.value for statement in statements if isinstance(statement, ast.Expr)]
    return [value.value for value in expressions if isinstance(value, ast.Constant) and isinstance(value.value, str)]


def fault_of(text: str) -> str | None:
    """The line of a docstring that opens wrongly."""
    if OPENINGS.match(text.lstrip()):
        return text.strip().splitlines()[0]
    section = re.search(r"\n\s*(Args|Attributes):\n(.*)", text, re.DOTALL)
    for line in section[2].split("\n\n")[0].splitlines() if section else []:
        if (entry := ENTRY.match(line)) and ENTRY_OPENINGS.match(entry[1]):
            return line.strip()
    return None


def faults_in(source: str) -> list[str]:
    return [fault for text in docstrings(ast.parse(source)) if (fault := fault_of(text))]


@pytest.mark.parametrize(
    "bad",
    [
        '"""Of a module."""',
        'RATE = 1\n"""Whether it is good."""',
        'def is_good():\n    """Whether it is good."""',
        '"""What a module does."""',
        'def rate():\n    """Where it goes."""',
        'def rate():\n    """The rate.\n\n    Args:\n        seed: of the noise.\n    """',
    ],
)
def test_a_bad_docstring_is_found(bad):
    assert len(faults_in(bad)) == 1


def test_a_good_docstring_is_not_a_fault():
    good = 'def rate():\n    """True if it is good.\n\n    Args:\n        seed: seed of the noise.\n    """'
    assert faults_in(good) == []


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_docstrings_open_with_a_noun_or_a_verb(path):
    assert faults_in(path.read_text(encoding="utf-8")) == []


def synonyms_in(text: str) -> list[str]:
    """The words of a text, and the parts of its names, for which there is another word."""
    words = re.findall(r"[A-Z]?[a-z]+|[A-Z]+", TITLES.sub("", text))
    return sorted({word for word in words if re.fullmatch("|".join(SYNONYMS), word, re.IGNORECASE)})


def test_a_synonym_is_found():
    assert synonyms_in("class FilmWriter: ... # PICTURES, is_human, humane, a filmed title = ...") == [
        "Film",
        "PICTURES",
        "filmed",
        "human",
    ]


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_there_is_one_word_for_one_thing(path):
    assert synonyms_in(path.read_text(encoding="utf-8")) == [], SYNONYMS


def option_classes() -> list[type[Options]]:
    """The sets of options of runs and of the classifier, and all options of commands and benchmarks."""
    classes: set[type[Options]] = {HybridRun, OfflineRun, ClassifierOptions, Sweep}
    for package in ("serl_ray.cli", "serl_ray.benchmarks"):
        for found in pkgutil.iter_modules(importlib.import_module(package).__path__, f"{package}."):
            if not found.name.endswith("__main__"):
                values = vars(importlib.import_module(found.name)).values()
                classes |= {value for value in values if isinstance(value, type) and issubclass(value, Options)}
    return sorted(classes - {Options}, key=lambda cls: f"{cls.__module__}.{cls.__name__}")


def fault_of_help(text: str) -> str | None:
    """What is wrong with the help of an option."""
    if not text[:1].isupper():
        return "does not start with a capital letter"
    if not text.endswith((".", ")")):
        return "does not end with a full stop"
    if len(text.split()) < 3:
        return "has fewer than three words"
    if OPENINGS.match(text) or PREPOSITIONS.match(text):
        return "does not start with a noun or a verb"
    return None


@pytest.mark.parametrize(
    "bad", ["of the noise.", "Seed of the noise", "The seed.", "Of the noise and more.", "Whether it is."]
)
def test_a_bad_help_is_found(bad):
    assert fault_of_help(bad) is not None


@pytest.mark.parametrize("options", option_classes(), ids=lambda cls: cls.__name__)
def test_the_help_of_every_option_can_be_read_alone(options):
    faults = {
        option.name: (fault, option.help) for option in options_of(options) if (fault := fault_of_help(option.help))
    }
    assert not faults


def declared_in(source: str) -> list[tuple[str, str]]:
    """The names and helps of the options that the classes of a module declare."""
    found = []
    for cls in (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ClassDef)):
        for statement, after in pairwise(cls.body):
            is_field = isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name)
            if is_field and isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
                found.append((statement.target.id, " ".join(str(after.value.value).split())))
    return found


def test_an_option_of_several_commands_is_declared_once():
    """Options of one name that mean different things have another help. Sections of benchmarks stand for
    themselves."""
    modules = [module for module in MODULES if not module.startswith("benchmarks/")]
    declared = Counter(option for module in modules for option in declared_in((FOLDER / module).read_text()))
    assert len(declared) > 100
    assert not [option for option, times in declared.items() if times > 1]
