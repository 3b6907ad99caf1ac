"""The commands and code that the README and the documentation ask people to type, and small versions of them."""

from __future__ import annotations

import ast
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
BLOCK = re.compile(r"^```bash\n(.*?)^```", re.M | re.S)
PYTHON = re.compile(r"^```python\n(.*?)^```", re.M | re.S)
FILE = re.compile(r'^```\w+ title="(.*?)"\n(.*?)^```', re.M | re.S)

SMALL_RUN = {"batch_size": "16", "critic_ensemble_size": "2", "evaluation_episodes": "1"}
MAX_STEPS = 70
SMALL = {
    "record": {"episodes": "2"},
    "record --classifier_data": {"episodes": "10"},
    "train": {"max_steps": str(MAX_STEPS), "training_starts": "40", "evaluate_every": "1000", **SMALL_RUN},
    "train-offline": {"max_steps": "40", "steps_per_iteration": "20", **SMALL_RUN},
    "train-classifier": {"num_epochs": "8", "lr": "0.001"},
    "evaluate": {"episodes": "2"},
    "tune": {"smoke": ""},
    "export": {"observations": "20"},
}
"""Flags that make a command small. They take the place of what the documentation has, whatever its numbers are."""
ALREADY_SMALL = ("check-env", "check-robot", "inspect", "convert")
SLOW = ("train", "train-offline", "train-classifier", "tune")
ONE_CROP = {"augment_crops": "1"}
"""For what trains from images, in addition."""
NOT_RUN = {
    "serl benchmark": "measures for minutes or hours; tests/benchmarks/test_benchmarks.py runs small sections",
    "serl record --env_name my_robot.envs:Lift": "needs robosuite, and an env around it",
    "serl train-offline --preset tabletop --env_name my_robot.envs:Lift": "needs robosuite, and an env around it",
    "serl train --preset tabletop --env_name my_robot.envs:Lift": "needs robosuite, and an env around it",
    "serl submit": "needs a cluster; tests/cluster/test_jobs.py submits to one",
    "serl evaluate --checkpoint file:///tmp/peg_store": "plays what the job of `serl submit` has left",
    "serl train --preset tabletop --operator": "serves a person; tests/teleop/test_browser.py drives such a run",
    "serl review": "serves a person; tests/teleop/test_review_page.py reviews a folder in it",
    "serl train-classifier --success_dir data/frames/success --failure_dir data/frames/failure --hard_negatives": (
        "learns from what a person has sorted; tests/teleop/test_review.py reads such a folder"
    ),
    "serl record --driver operator": "waits for a person; tests/teleop/test_recording_page.py drives such a recording",
    "serl record --classifier_data data/frames --driver operator": (
        "waits for a person; tests/teleop/test_recording_page.py drives such a recording"
    ),
    "serl devices": "needs a device; tests/cli/test_devices.py runs it on files of its own",
    "scripts/quickstart": "sets up, and waits for a person with --drive",
    "serl check-env --env_name remote": "waits for a robot; tests/remote has such runs",
    "serl train --operator --env_name remote": "waits for a robot, and a person",
    "serl evaluate --checkpoint remote_ckpt": "waits for a robot; tests/remote has such runs",
    "serl record --driver person --env_name remote": "waits for a robot, and a person",
    "serl record --classifier_data data/grasped": "needs a person; tests/envs/test_stages.py has both stages",
    "serl record --classifier_data data/lifted": "needs a person; tests/envs/test_stages.py has both stages",
    "serl train-classifier --success_dir data/grasped": "learns from what a person has recorded",
    "serl train-classifier --success_dir data/lifted": "learns from what a person has recorded",
    "serl record --stage_classifiers": "needs what people label; tests/envs/test_stages.py records with two",
    "serl train --preset tabletop --stage_classifiers": "needs what people label, as above",
    "serl train --preset tabletop --reset_policy": "needs a policy for the way back; tests/rllib/test_policy_resets.py",
    "serl train-classifier --success_dir data/so101_images": "learns from what a person has recorded on a robot",
    "serl train --env_name remote": "waits for a robot, and a person",
    "serl inspect data/so101.pkl": "reads what a person has recorded on a robot",
    "serl check-robot --env_name remote": "waits for a robot; tests/envs/test_robot_checks.py checks a simulated one",
    "serl export so101_ckpt": "writes what a run on a robot has left; the export of docs/deploy.md is run",
    "serl evaluate --checkpoint so101_ckpt": "waits for a robot; tests/remote has such runs",
    "serl train --preset tabletop --trunk efficientnet": (
        "needs an extra; tests/networks/test_efficientnet.py learns with this trunk where it is installed"
    ),
    "serl-robot-lerobot ": "serves an arm to a run that waits for it; tests/robot/test_lerobot_served.py has such arms",
    "lerobot-": "a command of LeRobot, which needs an arm",
    "serl-robot-act ": "moves a robot; tests/robot/test_acting.py plays on one",
    "serl serve": "serves until it is stopped; tests/runs/test_policy_server.py asks one",
    "serl-robot ": "serves a robot to a run that waits for it; tests/remote has such runs",
    "serl check-env --env_name franka": "needs a Franka arm; tests/envs/test_franka.py checks a fake of its server",
    "serl train --operator --control_hz 10 --env_name franka": "needs a Franka arm, and a person",
    "ray ": "a command of Ray, for a cluster or a cloud",
    "kubectl ": "needs Kubernetes",
    "export RAY_AUTH_TOKEN": "needs Kubernetes",
    "ssh ": "needs another machine",
    "pip install": "changes what is installed; .ci/run installs",
    "scripts/setup": "changes what is installed; .ci/run runs it",
    "scripts/test": "is this test",
    "serl check-robot --env_name franka": "needs a Franka arm; tests/envs/test_checked_franka.py checks a fake",
    "python -m pytest tests/": "are tests",
    "tensorboard ": "serves until it is stopped, and is not a dependency",
}
"""Commands that are not run, by how they begin, and why. Their `serl` flags are checked all the same."""
OUTPUTS = ("save_dir", "output_dir", "output", "classifier_data", "video", "report")
STORES = {"success_dir": "/success", "failure_dir": "/failure"}


@dataclass(frozen=True)
class Command:
    """One line of a command block; `words` without variables in front."""

    line: str
    page: str

    @property
    def words(self) -> list[str]:
        words = shlex.split(self.line.removesuffix(" &"))
        while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
            words.pop(0)
        return words

    @property
    def text(self) -> str:
        return " ".join(self.words)

    @property
    def is_run(self) -> bool:
        return not any(self.text.startswith(start) for start in NOT_RUN)

    @property
    def name(self) -> str:
        """The subcommand of serl."""
        return self.words[1]

    @property
    def given(self) -> dict[str, list[str]]:
        """Values by flag, and those without a flag under the empty name."""
        flags: dict[str, list[str]] = {"": []}
        current = ""
        for word in self.words[2:]:
            if word.startswith("--") and len(word) > 2:
                current = word[2:]
                flags[current] = []
            else:
                flags[current].append(word)
        return flags

    @property
    def outputs(self) -> set[str]:
        """Paths that it writes."""
        given = self.given
        written = {value for flag in OUTPUTS for value in given.get(flag, ())}
        return written | ({given[""][1]} if self.name in ("convert", "export") else set())

    @property
    def inputs(self) -> set[str]:
        """All other words that may be paths."""
        return {
            value for values in self.given.values() for value in values if "/" in value or "_ckpt" in value
        } - self.outputs

    def small(self) -> list[str]:
        """The arguments of `serl` in a small version, with the flags of `SMALL` in place of what is there.

        Raises:
            KeyError: no table says how to make it small.
        """
        given = self.given
        key = f"{self.name} --classifier_data" if "classifier_data" in given else self.name
        changes = {} if self.name in ALREADY_SMALL else SMALL[key]
        if self.name in SLOW and "image_keys" in given:
            changes = changes | ONE_CROP
        flags = given | {flag: value.split() for flag, value in changes.items()}
        return [self.name, *flags.pop(""), *(word for flag, values in flags.items() for word in (f"--{flag}", *values))]


def commands_of(page: Path) -> list[Command]:
    """The lines of a page's command blocks; a backslash goes on in the next line."""
    blocks = BLOCK.findall(page.read_text())
    indented = re.findall(r"(?m)^    ((?:scripts/|serl |python |ray |pip ).*)$", page.read_text())
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()] + indented
    return [Command(line.strip(), page.name) for line in lines if line.strip() and not line.lstrip().startswith("#")]


def all_commands() -> list[Command]:
    """Every command of every page, once."""
    found: dict[str, Command] = {}
    for page in (*PAGES, ROOT / "CONTRIBUTING.md"):
        for command in commands_of(page):
            found.setdefault(command.text, command)
    return list(found.values())


class Smaller(ast.NodeTransformer):
    """Every whole number from 100 on as 120: the sizes of a run, whatever they are."""

    def visit_Constant(self, node: ast.Constant) -> ast.Constant:
        is_size = type(node.value) is int and node.value >= 100
        return ast.copy_location(ast.Constant(120), node) if is_size else node


def python_of(page: str) -> str:
    """The Python of a page, in a small version."""
    [code] = PYTHON.findall((ROOT / page).read_text())
    return ast.unparse(ast.fix_missing_locations(Smaller().visit(ast.parse(code))))


def files_of_pages() -> dict[str, str]:
    """The files that pages ask people to write, by name."""
    return {name: text for page in PAGES for name, text in FILE.findall(page.read_text())}
