"""Which checkpoint of a run is played or started from, and the command that comes next."""

from __future__ import annotations

import json
import shlex

import pytest

from serl_ray.cli import train, train_offline
from serl_ray.cli.parser import parse_layers
from serl_ray.rllib.checkpoint import CHECKPOINTS, RUN_FILE
from serl_ray.runs.folder import choose_checkpoint


def run_with(folder, steps, success):
    """A run folder as far as the choice looks at it."""
    for step in steps:
        checkpoint = folder / CHECKPOINTS / f"step-{step:09d}"
        checkpoint.mkdir(parents=True)
        (checkpoint / RUN_FILE).write_text("{}")
    (folder / "logs").mkdir()
    results = [{"evaluation/at_step": step, "evaluation/success_rate": rate} for step, rate in success.items()]
    (folder / "logs" / "results.jsonl").write_text("".join(json.dumps(result) + "\n" for result in results))
    return folder


CHOICES = {
    "the best": ({2000: 0.55, 3000: 0.1}, False, 2000, "of step 2,000, which had the best evaluation: 0.55."),
    "the newer of equals": ({2000: 0.5, 3000: 0.5}, False, 3000, "which had the best evaluation: 0.50."),
    "one that is not kept": ({1000: 0.9, 2000: 0.4}, False, 2000, "which had the best evaluation: 0.40."),
    "none evaluated": ({}, False, 3000, "of step 3,000, the newest, as none was evaluated."),
    "the newest": ({2000: 0.55, 3000: 0.1}, True, 3000, "of step 3,000, the newest."),
}


@pytest.mark.parametrize("name", CHOICES)
def test_the_best_is_chosen_and_why_is_said(name, tmp_path):
    success, newest, step, says = CHOICES[name]
    path, sentence = choose_checkpoint(run_with(tmp_path, (0, 2000, 3000), success), newest)
    assert path.name == f"step-{step:09d}" and sentence.startswith("Playing the checkpoint") and sentence.endswith(says)


def test_what_comes_after_hybrid_training_names_ones_own_env(tmp_path):
    flags = ["--env_name", "a.b:C", "--save_dir", str(tmp_path / "a run")]
    options = parse_layers("serl train", train.Train, flags)
    assert "--video" not in train.evaluation_command(options), "an env without a video in training has none afterwards"
    (tmp_path / "a run" / "videos").mkdir(parents=True)
    (tmp_path / "a run" / "videos" / "000001000.mp4").touch()
    words = shlex.split(train.evaluation_command(options))
    assert "--video" in words and words[:4] == ["serl", "evaluate", "--checkpoint", str(tmp_path / "a run")]
    assert words[words.index("--env_name") + 1] == "a.b:C"
    assert "--env_name" not in train.evaluation_command(parse_layers("serl train", train.Train, []))
    assert "--env_name MyRobot-v0" in train.evaluation_command(
        parse_layers("serl train", train.Train, ["--env_name", "MyRobot-v0"])
    )


def test_what_comes_after_offline_training_has_all_its_options(tmp_path):
    given = [
        "--preset",
        "tabletop",
        "--demo_paths",
        "my demos/a.pkl",
        "b.pkl",
        "--image_keys",
        "image",
        "--no_frozen",
        "--lr",
    ]
    given += [
        "1e-4",
        "--hidden_dims",
        "8",
        "8",
        "--max_return",
        "None",
        "--env_name",
        "a.b:C",
        "--env_kwargs",
        "size",
        "3",
    ]
    given += ["--state_keys", "tcp", "--objective", "bc", "--max_steps", "7", "--save_dir", str(tmp_path / "off line")]
    offline = parse_layers("serl train-offline", train_offline.TrainOffline, given)
    command = shlex.split(train_offline.hybrid_command(offline))
    goes_on = parse_layers("serl train", train.Train, command[2:])
    common = (
        "demo_paths",
        "image_keys",
        "state_keys",
        "frozen",
        "lr",
        "hidden_dims",
        "max_return",
        "env_name",
        "env_kwargs",
    )
    assert {name: goes_on.flat()[name] for name in common} == {name: offline.flat()[name] for name in common}
    assert goes_on.learning.batch_size == 128 and goes_on.schedule.max_steps == train.Train().schedule.max_steps
    assert goes_on.schedule.init_from == str(tmp_path / "off line") and goes_on.run.save_dir != offline.run.save_dir
