"""What the README and the documentation tell people to type works, from a folder with nothing in it but the sweeps and
what the original HIL-SERL has written."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import pkgutil
import re
import runpy
import subprocess
import sys

import numpy as np
import pytest
from commands import start
from documented import (
    ALREADY_SMALL,
    MAX_STEPS,
    NOT_RUN,
    PAGES,
    ROOT,
    SLOW,
    SMALL,
    STORES,
    Command,
    all_commands,
    files_of_pages,
    python_of,
)
from hil_serl_files import write_lab

from serl_ray import SACHybridAgent
from serl_ray.rllib.metrics import METRICS

COMMANDS = all_commands()
RUN = [command for command in COMMANDS if command.is_run]
OTHERS = re.compile(
    r"(?m)^(RAY_AUTH_MODE=token )?(ray|kubectl|ssh|pip|tensorboard|export|scripts/quickstart|serl-robot(-act)?) .*$"
    r"|(?m:^(serl-robot-lerobot|lerobot-[a-z-]+) .*$)"
    r"|`(ray|mkdocs|pip|serl-robot|tensorboard|python scripts/|scripts/quickstart|train_rlpd)[^`]*`"
    r"|with `--logdir [^`]*`"
)
"""Commands of other programs, with flags of their own."""
TEXT = {page.name: page.read_text() for page in PAGES}


def producer_of(path):
    """The command that writes a path or the folder above it; None if no command does."""
    for command in RUN:
        if any(path == output or path.startswith(f"{output}/") for output in command.outputs):
            return command
    return None


def needed(command):
    """The commands whose results a command takes, each after those that it needs itself."""
    order = []
    for path in sorted(command.inputs):
        producer = producer_of(path)
        if producer and producer != command:
            order += [*needed(producer), producer]
    return list(dict.fromkeys(order))


class Desk:
    """A folder in which commands run once each, after those whose results they take."""

    def __init__(self, folder):
        self.folder = folder
        self.printed = {}
        (folder / "tune_configs").symlink_to(ROOT / "tune_configs")
        write_lab(folder)
        for name, text in files_of_pages().items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(text)

    def run(self, command):
        for each in (*needed(command), command):
            if each.text not in self.printed:
                self.printed[each.text] = self.execute(each.small())
        return self.printed[command.text]

    def execute(self, arguments):
        running = start(arguments, self.folder / "printed.txt", self.folder)
        assert running.wait() == 0, f"serl {' '.join(arguments)}\n{running.printed}"
        return running.printed


@pytest.fixture(scope="module")
def desk(python_path, tmp_path_factory):
    return Desk(tmp_path_factory.mktemp("docs"))


def as_parameter(command):
    slow = any(each.name in SLOW for each in (*needed(command), command))
    return pytest.param(command, id=f"{command.page}: {command.text[:60]}", marks=[pytest.mark.slow] * slow)


@pytest.mark.parametrize("command", [as_parameter(command) for command in RUN if command.words[0] == "serl"])
def test_a_command_works_and_leaves_what_it_names(desk, command):
    printed = desk.run(command)
    for path in command.outputs:
        assert (desk.folder / path).exists(), path
    if command.name == "train":
        assert int(re.search(r"after (\d+) env steps", printed)[1]) >= MAX_STEPS
        is_bundled = "env_name" not in command.given
        for left in ("learning_curve.png", *["policy.mp4"] * is_bundled):
            assert (desk.folder / command.given["save_dir"][0] / left).stat().st_size > 1000
    if command.name == "evaluate":
        assert "in 2 episodes" in printed
    if command.name == "check-env":
        assert "keeps the contract" in printed
    if command.name == "train-offline":
        assert "action error" in printed
        assert "success" in printed or not {"preset", "env_name"} & command.given.keys(), "there is an env to play in"
    if "init_from" in command.given:
        results = desk.folder / command.given["save_dir"][0] / "logs" / "results.jsonl"
        assert json.loads(results.read_text().splitlines()[0])["evaluation/at_step"] == 0, (
            "what was loaded is evaluated first"
        )


@pytest.mark.slow
def test_the_classifier_tells_success_from_failure(desk):
    [train] = [command for command in RUN if command.name == "train-classifier" and command.page == "classifier.md"]
    assert float(re.search(r"AUC ([\d.]+)", desk.run(train))[1]) > 0.9


@pytest.mark.slow
def test_a_documented_run_can_be_resumed(desk):
    train = next(command for command in RUN if command.page == "README.md" and command.name == "train")
    desk.run(train)
    words = train.small()
    words[words.index("--max_steps") + 1] = str(2 * MAX_STEPS)
    printed = desk.execute([*words, "--resume"])
    assert int(re.search(r"after (\d+) env steps", printed)[1]) >= 2 * MAX_STEPS


@pytest.mark.slow
@pytest.mark.parametrize(
    ("page", "check"),
    [
        ("README.md", "'env/success_rate' in result and action.shape == (7,) and abs(action).max() <= 1"),
        ("docs/your_robot.md", "pathlib.Path('reach_in_python/agent').is_dir()"),
    ],
)
def test_the_python_of_a_page_works(desk, page, check):
    code = python_of(page)
    for path in re.findall(r"'([\w/.]+\.pkl)'", code):
        desk.run(producer_of(path))
    (desk.folder / "page.py").write_text(f"{code}\nimport pathlib\nassert algorithm.env_steps >= 120\nassert {check}\n")
    done = subprocess.run([sys.executable, "page.py"], cwd=desk.folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not re.findall(r"INFO|WARNING|\(pid=", done.stderr), "Ray starts and works without a word"


def test_an_agent_in_flax_is_taken_over(desk, monkeypatch):
    monkeypatch.chdir(desk.folder)
    monkeypatch.syspath_prepend(str(desk.folder))
    taken = runpy.run_path("take_over.py")
    loaded = SACHybridAgent.load("usb_agent", device="cpu")
    observation, saved = taken["observation"], taken["saved"]
    expected = taken["agent"].sample_actions(observation, argmax=True)
    np.testing.assert_allclose(loaded.sample_actions(observation, argmax=True), expected, atol=1e-6)
    for networks, params in ((loaded.networks, saved["params"]), (loaded.target, saved["target_params"])):
        kernel = params["modules_actor"]["encoder"]["encoder_side_policy"]["pretrained_encoder"]["conv_init"]["kernel"]
        trunk = networks.encoder.trunk.conv1.weight.detach().numpy()
        np.testing.assert_array_equal(trunk, kernel.transpose(3, 2, 0, 1))


def test_every_command_is_run_small_or_named_as_one_that_is_not():
    for command in COMMANDS:
        if command.is_run:
            assert command.words[0] == "serl", f"{command.page}: add {command.text!r} to NOT_RUN with the reason"
            command.small()
    unused = [start for start in NOT_RUN if not any(command.text.startswith(start) for command in COMMANDS)]
    assert not unused, f"no page has these any more: {unused}"


def test_sizes_are_small_whatever_the_documentation_says():
    for number in ("3000", "99999999"):
        small = Command(f"serl train --max_steps {number} --save_dir x --num_workers 1", "page").small()
        assert number not in small and small[small.index("--max_steps") + 1] == SMALL["train"]["max_steps"]
    assert "--smoke" in Command("serl tune sweep.yaml", "page").small()
    with pytest.raises(KeyError):
        Command("serl dream --nights 7", "page").small()
    assert not set(SLOW) & set(ALREADY_SMALL)


def test_two_commands_do_not_write_to_one_place():
    places = [path for command in RUN for path in command.outputs]
    assert len(places) == len(set(places)), sorted({path for path in places if places.count(path) > 1})
    for command in RUN:
        for flag, folder in STORES.items():
            made = [value for value in command.given.get(flag, ()) if not value.startswith("classifier_data/")]
            assert all(value.endswith(folder) and producer_of(value) for value in made)


def help_of(*words):
    """The flags that the help of a command names."""
    from serl_ray.cli.main import main

    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
        main([*words, "--help"])
    return set(re.findall(r"--\w\w+", printed.getvalue())) | {
        flag.replace("--", "--no_") for flag in switches(printed.getvalue())
    }


def switches(text):
    return set(re.findall(r"--\w\w+", text))


def parts(command):
    """(subcommand and section, flags) of a command, and of the command behind `--` in it."""
    if command.words[0] != "serl":
        return
    own, _, behind = command.text.removeprefix("serl ").partition(" -- serl ")
    for text in filter(None, (own, behind)):
        name, *rest = text.split()
        section = [rest[0]] if name == "benchmark" else []
        yield (name, *section), set(re.findall(r"--\w\w+", text))


def test_every_flag_of_a_command_exists():
    for command in COMMANDS:
        for words, flags in parts(command):
            unknown = flags - help_of(*words)
            assert not unknown, f"{command.page}: {command.text!r} has {sorted(unknown)}"


def test_every_flag_that_a_page_mentions_exists():
    known = set().union(*(help_of(*words) for command in COMMANDS for words, _ in parts(command)))
    for name, text in TEXT.items():
        prose = re.sub(r"<!--.*?-->", "", OTHERS.sub("", text))
        unknown = set(re.findall(r"(?<![\w-])--\w\w+", prose)) - known
        assert not unknown, f"{name} mentions {sorted(unknown)}"


def test_every_metric_is_explained():
    explained = set(re.findall(r"`(\w+/\w+)`", TEXT["not_learning.md"]))
    assert set(METRICS) <= explained, sorted(set(METRICS) - explained)
    groups = {name.split("/")[0] for name in METRICS}
    assert {name for name in explained if name.split("/")[0] in groups} == set(METRICS)


def test_files_that_pages_name_exist():
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#]+?)(?:#[\w-]+)?\)", page.read_text()):
            if not target.startswith("http"):
                assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_python_names_on_pages_exist():
    for page, text in TEXT.items():
        for name in set(re.findall(r"\bserl_ray(?:\.\w+)*\.[A-Za-z]\w+", text)):
            assert pkgutil.resolve_name(name) is not None, f"{page} names {name}"


def test_the_readme_is_short_and_its_picture_small():
    assert len(TEXT["README.md"].splitlines()) <= 150
    assert (ROOT / "docs" / "learning.gif").stat().st_size < 3_000_000


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("mkdocs") is None, reason="needs the extra docs")
def test_the_site_builds(tmp_path):
    words = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "--batch_size" in (tmp_path / "site" / "options" / "index.html").read_text()
