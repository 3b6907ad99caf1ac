"""Options that are wrong: on the command line, through RLlib's config, and of the classifier."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
from cases import Case, assert_refused, table

from serl_ray.classifier.config import ClassifierOptions
from serl_ray.cli.main import main
from serl_ray.options.sets import HybridRun, OfflineRun
from serl_ray.rllib import OfflineConfig, SERLConfig
from serl_ray.utils.options import OptionError, Options


def option(name: str, value, says: str, options: type[Options] = HybridRun) -> Case:
    return Case(f"{name} {value!r}", lambda _: options.of(**{name: value}), OptionError, f"^{name} is {says}")


OPTIONS = [
    option("lr", -1e-4, r"-0\.0001; it must be at least 0"),
    option("lr", math.nan, "nan, a float; it must be a finite number"),
    option("lr", math.inf, "inf, a float; it must be a finite number"),
    option("lr", "abc", "'abc', a str; it must be a finite number"),
    option("batch_size", 1, "1; it must be at least 2"),
    option("batch_size", 32.0, "32.0, a float; it must be a whole number"),
    option("batch_size", True, "True, a bool; it must be a whole number"),
    option("batch_size", None, "None, a NoneType; it must be a whole number"),
    option("max_return", math.nan, "nan, a float; it must be a finite number or None"),
    option("control_hz", 0.0, "0.0; it must be above 0, or None"),
    option("tau", 1.5, r"1.5; it must lie in \[0, 1\]"),
    option("discount", math.nan, "nan, a float"),
    option("frozen", "no", "'no', a str; it must be True or False"),
    option("compile", 1, "1, a int; it must be True or False"),
    option("image_keys", "wrist", r"'wrist', a str; it must be a tuple such as \('wrist',\)"),
    option("demo_paths", "demos.pkl", r"'demos.pkl', a str; it must be a tuple such as \('demos.pkl',\)"),
    option(
        "state_keys", ("state", 3), r"\('state', 3\), a tuple; it must be a tuple, each part of it a string or None"
    ),
    option("hidden_dims", 256, r"256, a int; it must be a tuple such as \(256,\)"),
    option("hidden_dims", (256, 0), r"\(256, 0\); it must be at least 1"),
    option("setup_mode", "two-arms", "'two-arms', a str; it must be one of single-arm-fixed-gripper, single"),
    option("objective", "ppo", "'ppo', a str; it must be one of sac, bc, awac"),
    option("env_kwargs", ["max_steps", 3], ".*, a list; it must be a dict with strings for keys or None"),
    option("critic_subsample_size", 5, "5 of an ensemble of 4: choose a number from 1"),
    option("success_frames", 0, "0; it must be at least 1"),
    option("max_lead", -1, "-1; it must be at least 0, or None"),
    option("memory_gb", -0.5, "-0.5; it must be at least 0", OfflineRun),
    option("held_out", 2, r"2; it must lie in \[0, 1\]", OfflineRun),
]

CONFIGS = [
    Case("unknown preset", lambda _: SERLConfig().preset("tabeltop"), OptionError, "'tabeltop'.*mean 'tabletop'"),
    Case(
        "unknown option", lambda _: SERLConfig().training(utd_ration=2), OptionError, "'utd_ration'.*mean 'utd_ratio'"
    ),
    Case(
        "unknown key",
        lambda _: SERLConfig().update_from_dict({"discuont": 0.9}),
        OptionError,
        "'discuont'.*mean 'discount'",
    ),
    Case("online option offline", lambda _: OfflineConfig().training(capacity=9), OptionError, "no option 'capacity'"),
    Case(
        "string", lambda _: SERLConfig().training(batch_size="64").validate(), OptionError, "batch_size is '64', a str"
    ),
    Case(
        "one camera",
        lambda _: SERLConfig().training(image_keys="front").validate(),
        OptionError,
        "image_keys is 'front', a str",
    ),
    Case(
        "sweep",
        lambda _: SERLConfig().update_from_dict({"lr": [1e-3]}).validate(),
        OptionError,
        r"lr is \[0.001\], a list",
    ),
]


def classifier(name: str, value, says: str) -> Case:
    def make(_):
        ClassifierOptions(**{"success_dir": "s", "failure_dir": "f", name: value})

    return Case(f"classifier's {name} {value!r}", make, OptionError, f"^{name} is {says}")


CLASSIFIER = [
    classifier("lr", math.nan, "nan, a float; it must be a finite number"),
    classifier("image_keys", "wrist", r"'wrist', a str; it must be a tuple such as \('wrist',\)"),
    classifier("save_dir", 3, "3, a int; it must be a path"),
    classifier("held_out", 0.0, "0.0; it must be above 0"),
    classifier("batch_size", 1, "1; it must be at least 2"),
]


RUN = [
    option("checkpoint_every", 0, "0; it must be at least 1"),
    option("keep", 0, "0; it must be at least 1"),
    option("num_workers", -1, "-1; it must be at least 0"),
    option("envs_per_worker", 0, "0; it must be at least 1"),
    option("save_dir", 3, "3, a int; it must be a path"),
]


@table(OPTIONS + CONFIGS + CLASSIFIER + RUN)
def test_a_wrong_option_is_refused(case, tmp_path):
    assert_refused(case, tmp_path)


FLAGS = {
    "text for a number": (["--lr", "abc"], "lr is 'abc', a str; it must be a finite number"),
    "a fraction for a whole number": (["--batch_size", "1.5"], "batch_size is 1.5, a float; it must be a whole number"),
    "an unknown choice": (
        ["--setup_mode", "one-arm"],
        "setup_mode is 'one-arm', a str; it must be one of single-arm-fixed",
    ),
    "a gate without a classifier": (
        ["--success_gate", "state[6] > 0"],
        "success_gate is .*nothing uses it without --classifier",
    ),
    "positives without a classifier": (["--positives_dir", "p"], "positives_dir is p, and nothing uses it without"),
    "noise of nobody": (["--expert_noise", "0.3"], "expert_noise is .*nothing uses it without --expert_interventions"),
    "resources of no worker": (
        ["--env_runner_resources", "robot", "1"],
        "env_runner_resources is .*nothing uses it without --num_workers",
    ),
    "an amount in words": (
        ["--env_runner_resources", "robot", "one"],
        "env_runner_resources: robot is 'one', a str; it must be a finite",
    ),
    "a flag unlike any": (["--xyzzy", "1"], "There is no option '--xyzzy'. None of the .* is like it"),
    "an unknown flag": (["--discuont", "0.9"], "There is no option '--discuont'. Did you mean '--discount'"),
    "a flag without its value": (["--lr"], "Argument --lr: expected one argument"),
    "an unknown preset": (
        ["--preset", "tabeltop"],
        "There is no preset 'tabeltop'. Did you mean 'tabletop'?",
    ),
    "a stray word": (["demos.pkl"], "'demos.pkl' belongs to no flag"),
    "a camera twice": (
        ["--image_keys", "image", "wrist", "image"],
        "image_keys is .*'image' is there 2 times: name it",
    ),
    "a vector twice": (["--state_keys", "state", "state"], "state_keys is .*'state' is there 2 times: name it once"),
    "an argument twice": (["--env_kwargs", "ip", "a", "ip", "b"], "env_kwargs has 'ip' 2 times: name it once"),
    "workers for no evaluation": (
        ["--evaluation_workers", "1", "--evaluate_every", "0"],
        "evaluation_workers is 1, and nothing uses it without --evaluate_every",
    ),
    "half a pair": (["--env_kwargs", "ip"], "env_kwargs is 'ip'; give a value after each name"),
}


@pytest.mark.parametrize("name", FLAGS)
def test_a_wrong_flag_is_one_line_and_exit_code_2(name, capsys):
    arguments, says = FLAGS[name]
    assert main(["train", *arguments]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert re.match(f"serl train: error: {says}", line), line


def test_what_is_right_is_let_pass():
    given = HybridRun.of(image_keys=["a"], lr=1, env_kwargs={"cameras": ("a",)}, capacity=np.int64(9))
    assert (given.env.image_keys, given.agent.lr, given.learning.capacity) == (("a",), 1.0, 9)
    assert OfflineRun.of() == OfflineRun()
