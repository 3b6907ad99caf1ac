"""A run goes on without what it does not need any more, and with the options that it began with."""

from __future__ import annotations

import shutil

import pytest

from serl_ray.options.sets import HybridOptions, HybridRun, OfflineRun
from serl_ray.rllib import SERL, SERLConfig
from serl_ray.rllib.checkpoint import checkpoint_of, read_run
from serl_ray.runs.train import train
from serl_ray.runs.warnings import doubts
from serl_ray.utils.options import OptionError

SMALL = {
    "env_name": "line_envs:LineEnv",
    "setup_mode": "single-arm-learned-gripper",
    "hidden_dims": (8,),
    "batch_size": 8,
    "training_starts": 10,
    "evaluate_every": 0,
    "steps_per_iteration": 20,
}


@pytest.mark.slow
def test_a_run_goes_on_without_the_run_whose_policy_it_began_with(shared_ray, tmp_path, capsys):
    first, second = (HybridRun.of(**SMALL, max_steps=20, save_dir=tmp_path / name) for name in ("first", "second"))
    train(first)
    with pytest.raises(ValueError, match=r"init_from is 'x', and the run in .*first did not begin with another"):
        train(first.replace(resume=True, init_from="x"))
    began_with = str(checkpoint_of(tmp_path / "first"))
    second = second.replace(init_from=str(tmp_path / "first"))
    train(second)
    shutil.rmtree(tmp_path / "first")
    for max_steps, resumed in ((40, second), (60, second.replace(init_from=None))):
        train(resumed.replace(resume=True, max_steps=max_steps))
        saved = read_run(checkpoint_of(tmp_path / "second"))
        assert saved["counters"]["env_steps"] == max_steps
        assert (saved["options"]["init_from"], saved["options"]["random_steps"]) == (began_with, 0)
    assert capsys.readouterr().out.count("Starting from the policy in") == 1


UNUSED = {
    "expert_noise is 0.3, and nothing uses it without --expert_interventions.": {"expert_noise": 0.3},
    "evaluation_workers is 2, and nothing uses it without --evaluate_every.": {
        "evaluation_workers": 2,
        "evaluate_every": 0,
    },
    "success_frames is 2, and nothing uses it without --classifier.": {"success_frames": 2},
}


@pytest.mark.parametrize("sentence", UNUSED)
def test_what_nothing_uses_is_refused_at_the_start_and_said_where_a_run_goes_on(sentence):
    with pytest.raises(OptionError) as caught:
        HybridRun.of(**UNUSED[sentence])
    assert str(caught.value) == sentence
    assert list(doubts(HybridRun.of(**UNUSED[sentence], resume=True))) == [sentence]


def test_offline_evaluations_need_an_env():
    with pytest.raises(OptionError, match="evaluation_workers is 1, and nothing uses it without --env_name"):
        OfflineRun.of(evaluation_workers=1)
    assert OfflineRun.of(evaluation_workers=1, env_name="tabletop").evaluating.evaluation_workers == 1


def test_an_older_checkpoint_with_an_option_that_nothing_uses_goes_on(shared_ray, tmp_path, caplog):
    algorithm = SERLConfig().training(**SMALL, expert_noise=0.3).build_algo()
    algorithm.save_checkpoint(str(tmp_path))
    algorithm.stop()
    restored = SERL.from_checkpoint(tmp_path, env_name=SMALL["env_name"])
    restored.stop()
    [line] = [record.getMessage() for record in caplog.records if "nothing uses it" in record.getMessage()]
    assert line == f"{tmp_path}: {next(iter(UNUSED))}"
    assert list(HybridOptions.of(expert_noise=0.3, expert_interventions=0.1).unused()) == []
