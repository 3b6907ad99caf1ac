"""The page for those who come from RLlib, row by row: what it says of a setting, a hook or a call is what happens."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch
from line_envs import LineEnv
from ray import tune
from ray.rllib.algorithms.algorithm import Algorithm
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.callbacks.callbacks import RLlibCallback
from ray.rllib.policy.policy import Policy
from recording_callbacks import CALLS, Recording, calls
from small_runs import SMALL

from serl_ray.envs.guard import Guard
from serl_ray.options.sets import options_in
from serl_ray.rllib import SERL, OfflineConfig, SERLConfig
from serl_ray.rllib.callbacks import REFUSED_HOOKS
from serl_ray.rllib.checkpoint import read_run
from serl_ray.rllib.config_keys import INSTEAD, OTHERWISE, READ
from serl_ray.rllib.distribution import TanhGaussianWithGrippers
from serl_ray.rllib.policy import SERLPolicy
from serl_ray.rllib.refusals import RefusedError
from serl_ray.rllib.worker import SERLWorker
from serl_ray.runs.policy import load_policy
from serl_ray.utils.options import names_of

PAGE = (Path(__file__).parents[2] / "docs" / "from_rllib.md").read_text()
OPTIONS = {*names_of(SERLConfig.options_class), *names_of(OfflineConfig.options_class)}


def rows_of(section):
    """The rows of a section's table: the names in the first cell, what happens, and what is to be used instead."""
    [text] = re.findall(rf"(?ms)^## {section}$(.*?)(?=^## |\Z)", PAGE)
    lines = [
        line.strip("|").split(" | ") for line in text.splitlines() if line.startswith("| ") and "| RLlib |" not in line
    ]
    return [
        (re.findall(r"`([^`]+)`", first), here.strip(), instead.replace("`", "").strip())
        for first, here, instead in lines
    ]


SETTINGS = [row for row in rows_of("Settings") if row[0] != ["AlgorithmConfig"]]
HOOKS, CALLED, WORKS = rows_of("Callbacks"), rows_of("Calls"), rows_of("What works")


def test_the_page_names_every_setting_hook_and_call_once():
    assert {name: text for names, _, text in SETTINGS for name in names} == dict(INSTEAD)
    assert {name: text for names, here, text in HOOKS if here == "refused" for name in names} == REFUSED_HOOKS
    hooks = {name for names, _, _ in HOOKS for name in names}
    assert hooks == {name for name in dir(RLlibCallback) if name.startswith("on_")}
    assert rows_of("Settings")[-1] == (["AlgorithmConfig"], "refused", OTHERWISE)
    refused = {f"{word}.{name}" for word, cls in CLASSES.items() for name in dir(cls) if is_refused(cls, name)}
    assert refused <= {name for names, _, _ in CALLED for name in names}


@pytest.mark.parametrize(
    ("names", "here", "instead"), SETTINGS, ids=lambda given: given[0] if isinstance(given, list) else ""
)
def test_a_setting_is_refused_with_its_replacement(names, here, instead):
    assert here == "refused"
    for name in names:
        with pytest.raises(RefusedError, match=rf"^{name} .*is refused\. {re.escape(instead)}$"):
            SERLConfig().update_from_dict({name: object()})
        with pytest.raises(RefusedError, match=rf"^{name} is refused\. {re.escape(instead)}$"):
            SERLConfig().training(**{name: 1})
    for option in re.findall(r"(?<=[sS]et )[a-z_]+|(?<=and )[a-z]+_[a-z_]+", instead):
        assert option in {*OPTIONS, *READ}, f"{option} is no option"


CLASSES = {
    "Algorithm": SERL,
    "Policy": SERLPolicy,
    "RolloutWorker": SERLWorker,
    "ActionDistribution": TanhGaussianWithGrippers,
}


def is_refused(cls, name):
    method = inspect.getattr_static(cls, name)
    return inspect.isfunction(method) and method.__qualname__.startswith("_refused")


@pytest.mark.parametrize(
    ("names", "here", "instead"), CALLED, ids=lambda given: given[0] if isinstance(given, list) else ""
)
def test_a_call_is_refused_with_what_to_call(names, here, instead):
    assert here == "refused"
    for name in names:
        word, method = name.split(".")
        called = inspect.getattr_static(CLASSES[word], method)
        called = called.fget if isinstance(called, property) else called
        with pytest.raises((ValueError, AttributeError)) as caught:
            called(*[None] * len([p for p in inspect.signature(called).parameters.values() if p.kind < 2]))
        said = instead.split(", ") if is_refused(CLASSES[word], method) is False else [instead[1:]]
        assert any(part in str(caught.value) for part in said), caught.value


@pytest.fixture(scope="module")
def saved(shared_ray, tmp_path_factory):
    """An algorithm whose env was given in RLlib's way, after two results, and its checkpoint."""
    CALLS.clear()
    options = {**SMALL, "steps_per_iteration": 30, "evaluate_every": 30, "evaluation_episodes": 2}
    config = SERLConfig().environment(LineEnv, env_config={"horizon": 7}).training(**options)
    algorithm = (
        config.callbacks(Recording).debugging(seed=3).reporting(metrics_num_episodes_for_smoothing=2).build_algo()
    )
    results = [algorithm.train() for _ in range(2)]
    folder = tmp_path_factory.mktemp("saved")
    algorithm.save(str(folder))
    yield algorithm, results, folder
    algorithm.stop()


def runs(saved):
    algorithm, results, _ = saved
    assert [result["env/steps"] for result in results] == [30, 60] and algorithm.learner_steps == 40


def takes_every_option(saved):
    options = options_in(SERLConfig()).flat()
    assert options_in(SERLConfig().training(**options)).flat() == options


def takes_dicts(saved):
    config = SERLConfig().update_from_dict({"batch_size": 32, "num_workers": 1, "seed": 4, "env": LineEnv})
    config.validate()
    assert (config.batch_size, config.num_env_runners, config.seed, config.env_name) == (32, 1, 4, "line_envs:LineEnv")


def goes_through_the_wrappers_and_into_the_checkpoint(saved):
    algorithm, _, folder = saved
    env, chain = algorithm.env_runner.env, []
    while isinstance(env, gymnasium.Wrapper):
        chain.append(type(env))
        env = env.env
    assert Guard in chain and type(env) is LineEnv and env.horizon == 7
    described = read_run(folder)["options"]
    assert (described["env_name"], described["env_kwargs"]) == ("line_envs:LineEnv", {"horizon": 7})
    _, played_in = load_policy(folder, env_name="line_envs:LineEnv")
    assert played_in.unwrapped.horizon == 7


def refuses_registered_names(saved):
    tune.register_env("registered", lambda config: LineEnv())
    with pytest.raises(RefusedError, match="give the class, or its path"):
        SERLConfig().environment("registered").validate()


def has_each_argument(call):
    """Every named argument of a call on the page is a setting that is read."""

    def check(saved):
        setter, arguments = re.match(r"config\.(\w+)\((.*)\)", call).groups()
        names = re.findall(r"(\w+)=\.\.\.", arguments)
        assert {*names} <= READ and {*names} <= {*inspect.signature(getattr(AlgorithmConfig, setter)).parameters}
        config = SERLConfig()
        getattr(config, setter)(**{name: getattr(config, name) for name in names})
        config.validate()

    return check


def refuses_other_evaluations(saved):
    SERLConfig().evaluation(evaluation_config={"explore": False}).validate()
    with pytest.raises(RefusedError, match="set evaluate_every, evaluation_episodes"):
        SERLConfig().evaluation(evaluation_config={"explore": True}).validate()


def calls_every_hook(saved):
    [names] = [names for names, here, _ in HOOKS if here == "called"]
    algorithm, _, folder = saved
    algorithm.restore(str(folder))
    assert all(calls(name) for name in names)


def takes_the_environment_of_python(saved):
    SERLConfig().python_environment(extra_python_environs_for_worker={"A": "1"}).validate()


def evaluates(saved):
    assert saved[0].evaluate()["env_runners"]["num_episodes"] == 2


def acts(saved):
    batch = {"state": np.zeros((3, 4), np.float32)}
    assert saved[0].compute_single_action({"state": batch["state"][0]}).shape == (7,)
    assert saved[0].compute_actions({"a": {"state": batch["state"][0]}})["a"].shape == (7,)
    assert saved[0].policy.compute_actions(batch)[0].shape == (3, 7)


def tells_the_policy(saved):
    policy, batch = saved[0].policy, {"state": np.zeros((3, 4), np.float32)}
    with torch.no_grad():
        inputs, _ = policy.model({"obs": batch})
    distribution = policy.dist_class(inputs, policy.model)
    mode = distribution.deterministic_sample().cpu().numpy()
    np.testing.assert_allclose(policy.compute_actions(batch, explore=False)[0], mode, atol=1e-6)
    torch.testing.assert_close(
        policy.compute_log_likelihoods(mode, batch), distribution.sampled_action_logp(), atol=1e-3, rtol=1e-4
    )


def restores(saved):
    restored = SERL.from_checkpoint(saved[2], env_name="line_envs:LineEnv")
    assert (restored.env_steps, len(restored.online)) == (60, 60) and not list(saved[2].rglob("*.pkl"))
    restored.stop()


def names_serl(saved):
    for theirs in (Algorithm, Policy):
        with pytest.raises(ValueError, match=r"SERL\.from_checkpoint"):
            theirs.from_checkpoint(str(saved[2]))


def calls_functions(saved):
    assert saved[0].env_runner_group.foreach_env_runner(lambda worker: worker.worker_index) == [0]


def has_rllib_s_names(saved):
    _, (_, result), _ = saved
    played, learnt = result["env_runners"], result["info"]["learner"]["default_policy"]["learner_stats"]
    assert (
        played["num_env_steps_sampled_lifetime"]
        == result["num_env_steps_sampled_lifetime"]
        == result["env/steps"]
        == 60
    )
    assert (
        played["num_episodes"] == result["episodes_this_iter"] >= 2 and result["num_env_steps_sampled_this_iter"] == 30
    )
    assert played["episode_return_mean"] == np.mean(played["hist_stats"]["episode_reward"])
    assert learnt["critic/loss"] == result["critic/loss"] and result["num_env_steps_trained_lifetime"] == 40 * 2 * 16
    assert result["evaluation"]["env_runners"]["episode_return_mean"] == result["evaluation/success_rate"]


def requests_resources(saved):
    assert len(SERL.default_resource_request({"env_name": "line_envs:LineEnv", "evaluate_every": 0}).bundles) == 1


def keeps_search_spaces_for_tune(saved):
    config = SERLConfig().training(lr=tune.grid_search([1e-3, 1e-4]))
    assert config.to_dict()["lr"] == {"grid_search": [1e-3, 1e-4]}
    with pytest.raises(RefusedError, match="lr is a search space"):
        config.build_algo()


CHECKS = {
    "config.build_algo()": runs,
    "config.training(...)": takes_every_option,
    "config.update_from_dict(...)": takes_dicts,
    "config.training(lr=tune.grid_search([...]))": keeps_search_spaces_for_tune,
    "config.environment(env, env_config=...)": goes_through_the_wrappers_and_into_the_checkpoint,
    'config.environment("registered")': refuses_registered_names,
    "config.evaluation(evaluation_config=...)": refuses_other_evaluations,
    "config.callbacks(MyCallbacks)": calls_every_hook,
    "config.python_environment(...)": takes_the_environment_of_python,
    "algorithm.evaluate()": evaluates,
    "algorithm.compute_single_action(...)": acts,
    "policy.compute_log_likelihoods(...)": tells_the_policy,
    "algorithm.save(...)": restores,
    "Algorithm.from_checkpoint(...)": names_serl,
    "algorithm.env_runner_group.foreach_env_runner(...)": calls_functions,
    'result["env_runners"]["episode_return_mean"]': has_rllib_s_names,
    "Tuner": requests_resources,
}


@pytest.mark.parametrize("call", [names[0] for names, _, _ in WORKS])
def test_what_works_works(call, saved):
    CHECKS.get(call, has_each_argument(call))(saved)


def test_every_check_has_its_row():
    assert CHECKS.keys() <= {names[0] for names, _, _ in WORKS}
