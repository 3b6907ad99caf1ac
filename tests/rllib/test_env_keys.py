"""Envs in RLlib's way: what `environment()` is given becomes our options, and what no worker could make is refused."""

from __future__ import annotations

import pytest
from line_envs import LineEnv
from ray import tune

from serl_ray.envs.make import make_env
from serl_ray.options.sets import options_in
from serl_ray.rllib import SERLConfig
from serl_ray.rllib.refusals import RefusedError
from serl_ray.rllib.rollout_env import RolloutEnv

ENVS = {
    "class": (LineEnv, {"horizon": 7}, {"env_name": "line_envs:LineEnv", "env_kwargs": {"horizon": 7}}),
    "class alone": (LineEnv, None, {"env_name": "line_envs:LineEnv", "env_kwargs": None}),
    "path": ("line_envs:LineEnv", {"horizon": 7}, {"env_name": "line_envs:LineEnv", "env_kwargs": {"horizon": 7}}),
    "RLlib's path": ("line_envs.LineEnv", {}, {"env_name": "line_envs:LineEnv", "env_kwargs": None}),
    "whole": ("rllib_envs:TakesConfig", {"horizon": 7}, {"env_kwargs": {"config": {"horizon": 7}}}),
    "whole and empty": ("rllib_envs:TakesConfig", None, {"env_kwargs": {"config": {}}}),
    "gym id": ("Pendulum-v1", {"g": 9.81}, {"env_name": "Pendulum-v1", "env_kwargs": {"g": 9.81}}),
    "bundled": ("tabletop", {"horizon": 7}, {"env_name": "tabletop", "env_kwargs": {"horizon": 7}}),
}


@pytest.mark.parametrize("case", ENVS)
def test_an_env_in_rllib_s_way_becomes_options_that_make_it(case, monkeypatch):
    env, env_config, expected = ENVS[case]
    settings = {} if env_config is None else {"env_config": env_config}
    by_setter = SERLConfig().environment(env, **settings)
    by_dict = SERLConfig().update_from_dict({"env": env, **settings})
    by_attribute = SERLConfig()
    by_attribute.env = env
    if env_config:
        by_attribute.env_config = dict(env_config)
    for config in (by_setter, by_dict, by_attribute):
        config.validate()
        config.validate()
        assert config.env is RolloutEnv and expected.items() <= options_in(config).flat().items()
    made = config.env_config
    assert (made["env"], made["env_kwargs"]) == (config.env_name, config.env_kwargs)
    if case.startswith(("class", "whole", "path")):
        horizon = make_env(**options_in(config).env_config()).unwrapped.horizon
        assert horizon == (7 if env_config else 20)


def local_class():
    class Inner(LineEnv):
        pass

    return Inner


REFUSED_ENVS = {
    "move it to the top level of a module": local_class(),
    "give the class, or its path": "mine",
    "give a class": lambda config: LineEnv(),
}


@pytest.mark.parametrize("text", REFUSED_ENVS)
def test_an_env_that_no_other_process_could_make_is_refused(text, shared_ray):
    tune.register_env("mine", lambda config: LineEnv())
    with pytest.raises(RefusedError, match=text):
        SERLConfig().environment(REFUSED_ENVS[text]).validate()


def test_two_ways_to_say_the_env_must_agree():
    with pytest.raises(RefusedError, match="env_name 'line_envs:SplitEnv': set one"):
        SERLConfig().training(env_name="line_envs:SplitEnv").environment(LineEnv).validate()
    with pytest.raises(RefusedError, match=r"env_kwargs \{'horizon': 8\}: set one"):
        SERLConfig().training(env_kwargs={"horizon": 8}).environment(LineEnv, env_config={"horizon": 7}).validate()
    config = SERLConfig().training(env_kwargs={"horizon": 8}).environment(LineEnv)
    config.validate()
    assert config.env_kwargs == {"horizon": 8}
