"""From flags to options and back."""

from __future__ import annotations

import re

import pytest

from serl_ray.classifier.config import ClassifierOptions
from serl_ray.cli.benchmark import SECTIONS
from serl_ray.cli.main import COMMANDS, main
from serl_ray.cli.parser import as_flags, given_options, parse_layers, parse_over_file
from serl_ray.options.presets import PRESETS, preset
from serl_ray.options.sets import HybridRun, OfflineRun
from serl_ray.utils.options import OptionError, names_of

GIVEN = {
    "--lr 1e-4": {"lr": 1e-4},
    "--lr=1e-4 --tau 1": {"lr": 1e-4, "tau": 1},
    "--image-keys front wrist": {"image_keys": ("front", "wrist")},
    "--image_keys": {"image_keys": ()},
    "--image_keys 7": {"image_keys": ("7",)},
    "--skip_bad": {"skip_bad": True},
    "--no_frozen": {"frozen": False},
    "--no-record-video": {"record_video": False},
    "--max_return None": {"max_return": None},
    "--state_keys None": {"state_keys": None},
    "--env_name None": {"env_name": None},
    "--hidden_dims 64 32": {"hidden_dims": (64, 32)},
    "--save_dir run-a_b": {"save_dir": "run-a_b"},
    "--env_kwargs ip 10.0.0.2 port 80 rate 1e-3 rewards false": {
        "env_kwargs": {"ip": "10.0.0.2", "port": 80, "rate": 1e-3, "rewards": False}
    },
}


@pytest.mark.parametrize("words", GIVEN)
def test_flags_are_options(words):
    assert given_options("serl train", words.split(), HybridRun) == GIVEN[words]


def test_nested_values_are_yaml():
    words = ["--env_kwargs", "cameras", '["front", "wrist"]', "limits", "{x: [0, 1.5]}", "name", "a: b: c"]
    given = given_options("serl train", words, HybridRun)["env_kwargs"]
    assert given == {"cameras": ["front", "wrist"], "limits": {"x": [0, 1.5]}, "name": "a: b: c"}


def test_options_and_flags_are_each_other_s_reverse():
    options = HybridRun.of(
        lr=1e-3,
        image_keys=("a", "b"),
        frozen=False,
        skip_bad=True,
        max_return=None,
        env_kwargs={"a": [1, "x"], "b": True},
    )
    changed = {name: value for name, value in options.flat().items() if value != HybridRun().flat()[name]}
    given = given_options("serl train", as_flags(HybridRun, changed), HybridRun)
    assert HybridRun.of(**given) == options


def test_a_preset_lies_below_a_file_and_a_file_below_flags(tmp_path):
    (tmp_path / "best.yaml").write_text("preset: tabletop\nlr: 1e-4\ntau: 0.02\n")
    options = parse_layers("serl train", HybridRun, ["--config", str(tmp_path / "best.yaml"), "--lr", "0.001"])
    assert (options.agent.lr, options.agent.tau, options.learning.batch_size) == (0.001, 0.02, 128)
    options = parse_layers("serl train", HybridRun, ["--preset", "hil-serl", "--config", str(tmp_path / "best.yaml")])
    assert (options.agent.discount, options.learning.batch_size) == (0.97, 256), "the preset of the flags counts"


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("options", [HybridRun, OfflineRun])
def test_presets_name_options_that_there_are(name, options):
    assert set(PRESETS[name]) <= set(names_of(HybridRun))
    assert options.of(**preset(name, options)).flat().items() >= preset(name, options).items()


def test_the_words_behind_two_dashes_are_a_command():
    from serl_ray.cli.submit import Submit

    given = given_options("serl submit", ["--gpus", "1", "--", "serl", "train", "--lr", "1"], Submit)
    assert given == {"gpus": 1, "command": ("serl", "train", "--lr", "1")}
    with pytest.raises(OptionError, match="'-- x' belongs to no flag"):
        given_options("serl train", ["--", "x"], HybridRun)


def test_a_mistake_in_a_nested_value_is_no_text():
    for word in ("[front, wrist", "('front', 'wrist')", "{ip: 1", "'front"):
        with pytest.raises(OptionError, match="env_kwargs: the value of cameras, .*, is not YAML. Write lists as"):
            given_options("serl train", ["--env_kwargs", "cameras", word], HybridRun)
    assert given_options("serl train", ["--env_kwargs", "cameras", "'front'"], HybridRun)["env_kwargs"] == {
        "cameras": "front"
    }


def test_a_classifier_has_no_presets():
    with pytest.raises(OptionError, match="There is no option '--preset'"):
        parse_over_file("serl train-classifier", ClassifierOptions, ["--preset", "tabletop"])


def test_names_of_other_libraries_are_understood_in_suggestions():
    pairs = (("--learning_rate", "--lr"), ("--learning-starts", "--training_starts"), ("--env", "--env_name"))
    pairs += (("--exp_name", "--env_name"), ("--demo_path", "--demo_paths"), ("--learner", "--num_workers"))
    pairs += (("--checkpoint_path", "--save_dir"),)
    for given, ours in pairs:
        with pytest.raises(OptionError, match=f"Did you mean '{ours}'"):
            given_options("serl train", [given, "1"], HybridRun)


def test_none_is_none_in_nested_values_too():
    words = as_flags(HybridRun, {"env_kwargs": {"port": None}})
    assert given_options("serl train", words, HybridRun)["env_kwargs"] == {"port": None}


TWICE = {
    "--lr 1 --lr 2": "--lr is given twice, as 1 and 2: give it once.",
    "--lr=1 --lr 1": "--lr is given twice, as 1 and 1: give it once.",
    "--skip_bad --no-skip-bad": "--skip_bad is given twice, as true and false: give it once.",
    "--image_keys front --tau 1 --image-keys wrist": (
        "--image_keys is given twice, as 'front' and 'wrist': name all of its values behind one flag."
    ),
    "--env_kwargs a 1 --env_kwargs b 2": (
        "--env_kwargs is given twice, as 'a 1' and 'b 2': name all of its values behind one flag."
    ),
}


@pytest.mark.parametrize("words", TWICE)
def test_a_flag_is_given_once(words):
    with pytest.raises(OptionError, match=re.escape(TWICE[words])):
        given_options("serl train", words.split(), HybridRun)


@pytest.mark.parametrize(
    "command", [*(name for name in COMMANDS if name != "benchmark"), *map("benchmark {}".format, SECTIONS)]
)
def test_no_flag_of_any_command_can_be_given_twice(command, capsys):
    words = command.split()
    with pytest.raises(SystemExit):
        main([*words, "--help"])
    flags = re.findall(r"^  (--\w+)( \S+)?", capsys.readouterr().out, re.M)
    assert flags
    for flag, value in flags:
        value = ["a", "b"] if "NAME VALUE" in value else ["1"] * bool(value)
        assert main([*words, flag, *value, flag, *value]) == 2
        assert f"{flag} is given twice" in capsys.readouterr().err, flag
