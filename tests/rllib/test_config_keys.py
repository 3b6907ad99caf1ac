"""RLlib's configuration keys: those that are not read are refused, wherever they come from, and say what to set."""

from __future__ import annotations

import re

import gymnasium
import numpy as np
import pytest
from ray import tune
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.algorithms.ppo import PPOConfig
from ray.tune.result import STDERR_FILE, STDOUT_FILE, TRIAL_INFO
from ray.tune.search.repeater import TRIAL_INDEX
from ray.tune.search.variant_generator import generate_variants

from serl_ray.options.sets import options_in
from serl_ray.rllib import SERL, OfflineConfig, SERLConfig
from serl_ray.rllib.config_keys import INSTEAD, OTHERWISE, READ, check_attributes, default_of
from serl_ray.rllib.config_values import is_search_space
from serl_ray.rllib.refusals import RefusedError
from serl_ray.rllib.rollout_env import RolloutEnv
from serl_ray.utils.options import OptionError, names_of

OPTIONS = names_of(SERLConfig.options_class)
RLLIBS = {*vars(AlgorithmConfig())} - {"_is_frozen", "algo_class"}
UNREAD = sorted(RLLIBS - READ - {*OPTIONS})


def another(value):
    """A value of the same kind, where that is possible."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    return value + "x" if isinstance(value, str) else {"x": 1} if isinstance(value, dict) else object()


@pytest.mark.parametrize("key", UNREAD)
def test_a_key_that_is_not_read_is_refused_as_an_attribute_and_in_a_dict(key):
    text = re.escape(INSTEAD.get(key, OTHERWISE))
    config = SERLConfig()
    value = another(getattr(config, key))
    with pytest.raises(RefusedError, match=rf"^{key} is .*, and is refused\. {text}$"):
        SERLConfig().update_from_dict({key: value})
    setattr(config, key, value)
    with pytest.raises(RefusedError, match=rf"^{key} is .*, and is refused\. {text}$"):
        check_attributes(config, OPTIONS, default_of(SERLConfig))


SETTERS = {
    "discount": lambda c: c.training(gamma=0.99),
    "batch_size": lambda c: c.training(train_batch_size=512),
    "hidden_dims": lambda c: c.training(model={"fcnet_hiddens": [64]}),
    "lr, and max_return": lambda c: c.training(grad_clip=1.0),
    "init_temperature": lambda c: c.training(initial_alpha=0.1),
    "training_starts": lambda c: c.training(num_steps_sampled_before_learning_starts=100),
    "capacity and demo_fraction": lambda c: c.training(replay_buffer_config={"capacity": 10}),
    "fragment_length": lambda c: c.env_runners(rollout_fragment_length=5),
    "scale them there": lambda c: c.env_runners(observation_filter="MeanStdFilter"),
    "random_steps": lambda c: c.env_runners(exploration_config={"type": "Random"}),
    "on the CPU": lambda c: c.env_runners(num_gpus_per_env_runner=1),
    "max_return": lambda c: c.environment(clip_rewards=True),
    "scale them in the env": lambda c: c.environment(clip_actions=True),
    "evaluate_every": lambda c: c.evaluation(evaluation_interval=1),
    "evaluation_episodes": lambda c: c.evaluation(evaluation_duration=5),
    "of the policy's mode": lambda c: c.evaluation(evaluation_config={"explore": True}),
    "on_evaluate_start": lambda c: c.evaluation(custom_evaluation_function=print),
    "Define the hook of this name": lambda c: c.callbacks(on_episode_end=print),
    "judged there, too": lambda c: c.callbacks(on_evaluate_offline_end=print),
    "steps_per_iteration": lambda c: c.reporting(min_time_s_per_iteration=5),
    "learn_on": lambda c: c.learners(learner_config_dict={"a": 1}),
    "demo_paths": lambda c: c.offline_data(input_="file"),
    "episodes_dir": lambda c: c.offline_data(output="folder"),
    "one policy": lambda c: c.multi_agent(policies={"a", "b"}),
    "classic stack": lambda c: c.api_stack(enable_rl_module_and_learner=True, enable_env_runner_and_connector_v2=True),
    "PyTorch's": lambda c: c.framework("tf2"),
    "compile": lambda c: c.framework(torch_compile_learner=True),
    "max_faults": lambda c: c.fault_tolerance(restart_failed_env_runners=False),
    "Spaces are": lambda c: c.environment(observation_space=gymnasium.spaces.Box(0, 1, (3,))),
    "set at most 1": lambda c: c.resources(num_gpus=2),
    "trunk": lambda c: c.rl_module(model_config={"a": 1}),
    "leave it out": lambda c: c.experimental(_validate_config=False),
}


@pytest.mark.parametrize("replacement", SETTERS)
def test_chained_setters_are_refused_with_what_to_set(replacement):
    with pytest.raises(RefusedError, match=re.escape(replacement)):
        SETTERS[replacement](SERLConfig()).validate()


def set_in_place(config):
    config.model["fcnet_hiddens"] = [64]


def set_as_item(config):
    config["gamma"] = 0.5


@pytest.mark.parametrize(("change", "text"), [(set_in_place, "hidden_dims"), (set_as_item, "Set discount")])
def test_what_no_setter_sees_is_refused_too(change, text):
    config = SERLConfig()
    change(config)
    with pytest.raises(RefusedError, match=text):
        config.validate()


def test_tune_s_param_space_is_refused_before_a_trial_starts():
    with pytest.raises(RefusedError, match=r"^gamma is 0\.9, and is refused\. Set discount\.$"):
        SERL.default_resource_request({"env_name": "line_envs:LineEnv", "gamma": 0.9})
    with pytest.raises(RefusedError, match="of the policy's mode"):
        SERL.default_resource_request({"evaluation_config": {"explore": True}})
    with pytest.raises(OptionError, match="'utd_ration'.*'utd_ratio'"):
        SERL.default_resource_request({"utd_ration": 2})
    for unknown in ("__hello", "trial_info", "__trial__"):
        with pytest.raises(OptionError, match=f"There is no option '{unknown}'"):
            SERL.default_resource_request({unknown: 1})
    workers = {
        "num_workers": 2,
        "seed": 3,
        "callbacks": SERLConfig().callbacks_class,
        **dict.fromkeys((TRIAL_INFO, STDOUT_FILE, STDERR_FILE, TRIAL_INDEX)),
    }
    assert (
        len(SERL.default_resource_request({"env_name": "line_envs:LineEnv", "evaluate_every": 0, **workers}).bundles)
        == 3
    )


@pytest.mark.parametrize(
    "name", ["gama", "train_batchsize", "rollout_fragment_len", "grad_clipp", "evaluation_intervall", "modell"]
)
def test_a_key_that_is_refused_is_never_suggested(name):
    for refuse in (lambda: SERLConfig().update_from_dict({name: 1}), lambda: SERLConfig().training(**{name: 1})):
        with pytest.raises(OptionError, match=f"no option {name!r}. ") as caught:
            refuse()
        suggested = set(re.findall(r"mean '(\w+)'\?", str(caught.value)))
        assert suggested <= {*OPTIONS, *READ} - {*INSTEAD}


def test_options_that_go_together_may_be_set_one_after_the_other():
    config = SERLConfig().training(expert_noise=0.3).training(expert_interventions=0.1)
    assert (config.expert_noise, config.expert_interventions) == (0.3, 0.1)


def test_an_attribute_that_nobody_reads_is_refused_with_the_nearest_name():
    config = SERLConfig()
    config.batch_sise = 3
    with pytest.raises(OptionError, match="no option 'batch_sise'. Did you mean 'batch_size'"):
        config.validate()


@pytest.mark.parametrize("cls", [SERLConfig, OfflineConfig])
def test_a_whole_config_passes_through_a_dict_and_through_validation_twice(cls, tmp_path):
    (tmp_path / "demos.pkl").touch()
    demo_paths = (str(tmp_path / "demos.pkl"),)
    for config in (cls(), cls().training(env_name="line_envs:LineEnv", batch_size=32, demo_paths=demo_paths)):
        again = cls().update_from_dict(config.to_dict())
        assert options_in(again) == options_in(config)
    config.validate()
    config.validate()
    again = cls().update_from_dict(config.copy(copy_frozen=False).to_dict())
    again.validate()
    assert options_in(again) == options_in(config) and again.env is RolloutEnv
    evaluation = again.get_evaluation_config_object()
    evaluation.validate()
    assert evaluation.explore is False and evaluation.evaluation_interval == 1 and again.evaluation_interval is None


SPACES = {
    "lr": lambda: SERLConfig().training(lr=tune.grid_search([1e-3, 1e-4])),
    "discount": lambda: SERLConfig().training(discount=tune.uniform(0.9, 0.99)).training(reward="dense", batch_size=8),
    "env_kwargs": lambda: SERLConfig().training(env_kwargs={"horizon": tune.choice([5, 6])}),
    "seed": lambda: SERLConfig().debugging(seed=tune.randint(0, 9)),
    "num_env_runners": lambda: SERLConfig().update_from_dict({"num_env_runners": tune.grid_search([0, 1])}),
}


@pytest.mark.parametrize("name", SPACES)
def test_a_search_space_is_for_tune_to_draw_from(name):
    config = SPACES[name]()
    with pytest.raises(RefusedError, match=rf"^{name} is a search space .* give the config to Tuner"):
        config.validate()
    for _, drawn in generate_variants(config.to_dict()):
        trial = SERLConfig().update_from_dict(drawn)
        trial.validate()
    assert not is_search_space(getattr(trial, name)) and (name != "discount" or 0.9 <= trial.discount < 0.99)


def test_a_search_space_is_replaced_by_a_value_and_has_a_known_name():
    config = SERLConfig().training(lr=tune.loguniform(1e-4, 1e-3)).training(lr=1e-3)
    config.validate()
    with pytest.raises(OptionError, match="no option 'lrr'. Did you mean 'lr'"):
        SERLConfig().training(lrr=tune.grid_search([1e-3]))


NUMBERS = {
    "num_env_runners is -1": lambda c: c.env_runners(num_env_runners=-1),
    "num_env_runners is 1.5": lambda c: c.env_runners(num_env_runners=1.5),
    "num_env_runners is '1'": lambda c: c.env_runners(num_env_runners="1"),
    "num_envs_per_env_runner is 0.5": lambda c: c.env_runners(num_envs_per_env_runner=0.5),
    "num_cpus_per_env_runner is -1": lambda c: c.env_runners(num_cpus_per_env_runner=-1),
    r"custom_resources_per_env_runner\['robot'\] is -1": lambda c: c.env_runners(
        custom_resources_per_env_runner={"robot": -1}
    ),
    "num_gpus is -1": lambda c: c.resources(num_gpus=-1),
    "num_gpus is nan": lambda c: c.resources(num_gpus=float("nan")),
    "num_cpus_for_main_process is -1": lambda c: c.resources(num_cpus_for_main_process=-1),
    "evaluation_num_env_runners is -1": lambda c: c.evaluation(evaluation_num_env_runners=-1),
    "metrics_num_episodes_for_smoothing is 0": lambda c: c.reporting(metrics_num_episodes_for_smoothing=0),
    "seed is -3": lambda c: c.debugging(seed=-3),
}


@pytest.mark.parametrize("text", NUMBERS)
def test_a_number_below_its_limit_is_refused(text):
    with pytest.raises(RefusedError, match=rf"^{text}, and is refused\. Set a (whole|finite) number, at least [01]\.$"):
        NUMBERS[text](SERLConfig()).validate()


def test_what_is_read_is_not_refused():
    given = {"explore": False, "num_envs_per_env_runner": 1}
    config = SERLConfig().evaluation(evaluation_config=given, evaluation_num_env_runners=1).env_runners(explore=False)
    config.reporting(keep_per_episode_custom_metrics=True).resources(num_gpus=0.5, num_cpus_for_main_process=2)
    config.debugging(seed=1, log_level="ERROR").python_environment(extra_python_environs_for_driver={"A": "1"})
    config.validate()
    assert config.device == "auto" and SERLConfig().update_from_dict({"num_gpus": 0}).device == "cpu"
    config = SERLConfig()
    config.num_gpus = 0
    assert config.device == "cpu"


def test_a_config_of_another_algorithm_is_refused():
    with pytest.raises(RefusedError, match="refused"):
        SERL(config=PPOConfig())


def test_arrays_among_settings_are_compared():
    with pytest.raises(RefusedError, match="is refused"):
        SERLConfig().update_from_dict({"output_config": np.zeros(3)})
