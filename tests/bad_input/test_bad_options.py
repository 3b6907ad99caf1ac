"""Options that are wrong: on the command line, through RLlib's config, and of the classifier."""

from __future__ import annotations

import math
import re

import pytest
from cases import Case, assert_refused, script, table

from serl_ray.classifier.train import ClassifierSettings
from serl_ray.rllib import OfflineConfig, SERLConfig
from serl_ray.runs.train import HybridRunOptions
from serl_ray.settings import HybridSettings, OfflineSettings, TrainingSettings


def option(name: str, value, says: str, settings: type[TrainingSettings] = HybridSettings) -> Case:
    return Case(f"{name} {value!r}", lambda _: settings(**{name: value}).check(), ValueError, f"^{name} is {says}")


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
    option("control_hz", 0.0, "0.0; choose steps a second above 0, or None for no limit"),
    option("tau", 1.5, r"1.5; it must lie in \[0, 1\]"),
    option("discount", math.nan, "nan, a float"),
    option("frozen", "no", "'no', a str; it must be True or False"),
    option("compile", 1, "1, a int; it must be True or False"),
    option("image_keys", "wrist", r"'wrist', a str; it must be a tuple such as \('wrist',\)"),
    option("demo_paths", "demos.pkl", r"'demos.pkl', a str; it must be a tuple such as \('demos.pkl',\)"),
    option("state_keys", ("state", 3), r"\('state', 3\), a tuple; it must be a tuple, each part of it a string or None"),
    option("hidden_dims", 256, r"256, a int; it must be a tuple such as \(256,\)"),
    option("hidden_dims", (256, 0), r"\(256, 0\); it must be at least 1"),
    option("setup_mode", "two-arms", "'two-arms', a str; it must be one of single-arm-fixed-gripper, single"),
    option("objective", "ppo", "'ppo', a str; it must be one of sac, bc, awac"),
    option("env_kwargs", ["max_steps", 3], ".*, a list; it must be a dict with strings for keys or None"),
    option("critic_subsample_size", 3, "3 of an ensemble of 2: choose a number from 1"),
    option("success_frames", 0, "0; it must be at least 1"),
    option("max_lead", -1, "-1; it must be at least 0"),
    option("memory_gb", -0.5, "-0.5; it must be at least 0", OfflineSettings),
    option("held_out", 2, r"2; it must lie in \[0, 1\]", OfflineSettings),
]

CONFIGS = [
    Case("unknown option", lambda _: SERLConfig().training(utd_ration=2), ValueError, "'utd_ration'.*mean 'utd_ratio'"),
    Case("unknown key", lambda _: SERLConfig().update_from_dict({"discuont": 0.9}), ValueError, "'discuont'.*mean 'discount'"),
    Case("online option offline", lambda _: OfflineConfig().training(capacity=9), ValueError, "no option 'capacity'"),
    Case("string", lambda _: SERLConfig().training(batch_size="64").validate(), ValueError, "batch_size is '64', a str"),
    Case(
        "one camera", lambda _: SERLConfig().training(image_keys="front").validate(), ValueError, "image_keys is 'front', a str"
    ),
    Case("sweep", lambda _: SERLConfig().update_from_dict({"lr": [1e-3]}).validate(), ValueError, r"lr is \(0.001,\), a tuple"),
]


def classifier(name: str, value, says: str) -> Case:
    def check(_):
        ClassifierSettings(**{"success_dir": "s", "failure_dir": "f", name: value}).check()

    return Case(f"classifier's {name} {value!r}", check, ValueError, f"^{name} is {says}")


CLASSIFIER = [
    classifier("lr", math.nan, "nan, a float; it must be a finite number"),
    classifier("image_keys", "wrist", r"'wrist', a str; it must be a tuple such as \('wrist',\)"),
    classifier("output_dir", "ckpt", "'ckpt', a str; it must be a Path"),
    classifier("held_out", 0.0, "0.0; it must be above 0"),
    classifier("batch_size", 1, "1; it must be at least 2"),
]


def run_option(name: str, value, says: str) -> Case:
    def check(_):
        HybridRunOptions(**{name: value}).check()

    return Case(f"run's {name} {value!r}", check, ValueError, f"^{name} is {says}")


RUN = [
    run_option("checkpoint_every", 0, "0; it must be at least 1"),
    run_option("keep", 0, "0; it must be at least 1"),
    run_option("num_workers", -1, "-1; it must be at least 0"),
    run_option("envs_per_worker", 0, "0; it must be at least 1"),
    run_option("save_dir", "run", "'run', a str; it must be a Path"),
]


@table(OPTIONS + CONFIGS + CLASSIFIER + RUN)
def test_a_wrong_option_is_refused(case, tmp_path):
    assert_refused(case, tmp_path)


FLAGS = {
    "text for a number": (["--lr", "abc"], "Error parsing --lr: could not convert string to float: 'abc'"),
    "a fraction for a whole number": (["--batch_size", "1.5"], "Error parsing --batch_size"),
    "an unknown choice": (["--setup_mode", "one-arm"], "invalid choice 'one-arm'"),
    "an unknown flag": (["--discuont", "0.9"], "Unrecognized options: --discuont.*--discount"),
    "a flag without its value": (["--lr"], "Missing value for argument '--lr'"),
    "an unknown preset": (["--preset", "tabeltop"], "invalid choice 'tabeltop'"),
}


@pytest.mark.parametrize("name", FLAGS)
def test_a_wrong_flag_is_refused(name, capsys):
    arguments, says = FLAGS[name]
    with pytest.raises(SystemExit) as caught:
        script("train_hybrid").parse(arguments)
    assert caught.value.code == 2
    assert re.search(says, " ".join(re.sub(r"[│╭╮╰╯─]", " ", capsys.readouterr().err).split()))


def test_what_is_right_is_let_pass():
    for settings in (HybridSettings(), OfflineSettings(), HybridSettings(image_keys=["a"], lr=1, env_kwargs={"cameras": ("a",)})):
        settings.check()
