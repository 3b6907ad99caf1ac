"""RLlib's configuration keys: those that this algorithm reads, and what to set in place of the others."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.tune.result import STDERR_FILE, STDOUT_FILE, TRIAL_INFO
from ray.tune.search.repeater import TRIAL_INDEX

from serl_ray.cluster.ray_private import current_key
from serl_ray.rllib.refusals import RefusedError
from serl_ray.utils.options import check_names

_READ = """algo_class extra_python_environs_for_driver extra_python_environs_for_worker placement_strategy num_gpus
    num_cpus_for_main_process custom_resources_for_main_process num_env_runners num_envs_per_env_runner
    num_cpus_per_env_runner custom_resources_per_env_runner callbacks_class explore env env_config
    evaluation_num_env_runners evaluation_config
    metrics_num_episodes_for_smoothing keep_per_episode_custom_metrics log_level log_sys_usage seed lr in_evaluation
    observation_space action_space options_class replay_dir records_video device shared_demos
    discount_reason"""
READ = frozenset(_READ.split())
"""Keys of a config, beside the options, that are read."""
TUNES = frozenset({TRIAL_INFO, STDOUT_FILE, STDERR_FILE, TRIAL_INDEX})
"""Keys that Tune adds to the config of a trial."""
WRITTEN = frozenset({"_is_frozen", "worker_index", "class"})
"""Keys that RLlib writes itself, when it checks, copies and freezes a config."""

_ROWS = {
    "enable_rl_module_and_learner enable_env_runner_and_connector_v2": "SERL is an algorithm of RLlib's classic stack.",
    "gamma": "Set discount.",
    "train_batch_size train_batch_size_per_learner _train_batch_size_per_learner minibatch_size": "Set batch_size.",
    "num_epochs training_intensity": "Set utd_ratio and cta_ratio.",
    "optimizer optimization_config actor_lr critic_lr alpha_lr": "Adam is the optimiser of every loss: set lr.",
    "grad_clip grad_clip_by": "Gradients are not clipped: set lr, and max_return for the critics' targets.",
    "model _model_config _rl_module_spec policy_model_config q_model_config": (
        "The networks are fixed but for their options: set hidden_dims, trunk and image_latent_dim."
    ),
    "twin_q": "Set critic_ensemble_size.",
    "initial_alpha": "Set init_temperature.",
    "target_network_update_freq": "Targets follow at every update: set tau.",
    "replay_buffer_config buffer_size": "There are two replays, drawn from uniformly: set capacity and demo_fraction.",
    "learning_starts num_steps_sampled_before_learning_starts": "Set training_starts.",
    "learner_config_dict _learner_class num_learners num_gpus_per_learner num_cpus_per_learner local_gpu_idx": (
        "There is one learner, in the algorithm's process: call learn_on(device)."
    ),
    "num_gpus_per_env_runner num_gpus_per_worker": "Rollout workers act on the CPU: call learn_on(device) for the "
    "learner.",
    "clip_rewards": "Rewards are not clipped: set max_return, or scale them in the env.",
    "normalize_actions clip_actions": "Actions lie in [-1, 1]: scale them in the env.",
    "observation_filter preprocessor_pref": "Observations reach the networks as the env gives them: scale them there.",
    "disable_env_checking": "RLlib's check would step the env: call check_env before the run.",
    "render_env": "Call record_video(True): the first episode of each evaluation is recorded.",
    "rollout_fragment_length batch_mode": "Set fragment_length.",
    "exploration_config": "Set random_steps, target_entropy and init_temperature.",
    "sample_timeout_s": "Set step_deadline and reset_deadline.",
    "max_requests_in_flight_per_env_runner": "Set max_lead.",
    "remote_worker_envs": "Set num_env_runners.",
    "create_env_on_local_worker create_local_env_runner": "Where there are remote workers, the env is theirs alone.",
    "env_runner_cls worker_cls sample_collector": "The worker stores what was executed; RLlib's would store what was "
    "chosen.",
    "restart_failed_env_runners ignore_env_runner_failures max_num_env_runner_restarts "
    "delay_between_env_runner_restarts_s": (
        "Lost workers are replaced as long as the run lasts: set max_faults for episodes that an env spoils."
    ),
    "evaluation_interval": "Set evaluate_every, in steps.",
    "evaluation_duration evaluation_duration_unit": "Set evaluation_episodes.",
    "evaluation_parallel_to_training": "Set evaluation_num_env_runners: remote workers always play beside the "
    "training.",
    "custom_evaluation_function": "Define on_evaluate_start or on_evaluate_end in callbacks_class.",
    "offline_evaluation_interval num_offline_eval_runners": "Set held_out and evaluate_every of OfflineConfig.",
    "min_time_s_per_iteration min_train_timesteps_per_iteration min_sample_timesteps_per_iteration "
    "timesteps_per_iteration": ("Set steps_per_iteration."),
    "input_ input_config offline_data_class": "Set demo_paths; OfflineConfig learns from them alone.",
    "output output_config": "Set episodes_dir: it keeps every episode as Parquet.",
    "policies policy_mapping_fn policies_to_train count_steps_by multiagent": "A run has one policy.",
    "framework_str": "The networks are PyTorch's.",
    "torch_compile_learner torch_compile_worker": "Set compile.",
    "export_native_model_files": "Call save_agent.",
    "callbacks_on_algorithm_init callbacks_on_train_result callbacks_on_evaluate_start callbacks_on_evaluate_end"
    " callbacks_on_checkpoint_loaded callbacks_on_episode_created callbacks_on_episode_start callbacks_on_episode_step"
    " callbacks_on_episode_end callbacks_on_sample_end": "Define the hook of this name in callbacks_class.",
    "callbacks_on_evaluate_offline_start callbacks_on_evaluate_offline_end": (
        "Define on_evaluate_start or on_evaluate_end in callbacks_class: held-out episodes are judged there, too."
    ),
}
INSTEAD = MappingProxyType({name: text for names, text in _ROWS.items() for name in names.split()})
"""Advice for a key that is not read: the replacement by name."""
OTHERWISE = "This algorithm does not read it: leave it out."
"""Advice for every other key of RLlib's."""


def check_given(given: Mapping[str, Any], options: Iterable[str], default: AlgorithmConfig) -> dict[str, Any]:
    """The keys of a config's dict that are read, under their current names; others must be as they are by default, or
    Tune's.

    Raises:
        OptionError: a name is unknown.
        RefusedError: a key is not read, and differs from the default.
    """
    named = {current_key(name): value for name, value in given.items() if name not in TUNES}
    read = {*options, *READ}
    values = vars(default) | {current_key(name): value for name, value in default.to_dict().items()}
    unread = {name: value for name, value in values.items() if name not in read}
    for name in (*INSTEAD, *named):  # where one setter has changed several, the one of which most can be said
        if name in named and name not in read:
            refuse_changed(name, named[name], unread)
    check_names(named.keys() - unread.keys(), (read & {*vars(default), *options}) - WRITTEN)
    return {name: value for name, value in named.items() if name in read}


def check_attributes(config: AlgorithmConfig, options: Iterable[str], default: AlgorithmConfig) -> None:
    """Checks every attribute, however it came to its value; see `check_given`."""
    known = vars(config).keys() - WRITTEN
    given = {name: value for name, value in config.to_dict().items() if current_key(name) in known}
    check_given(given, options, default)


def refuse_replaced(names: Iterable[str], options: Iterable[str]) -> None:
    """Raises RefusedError for the first name that has something in its place here."""
    for name in names:
        if name not in options and (text := INSTEAD.get(name)):
            raise RefusedError(f"{name} is refused. {text}")


def refuse_changed(name: str, value: Any, unread: Mapping[str, Any]) -> None:
    """Raises RefusedError for a key that is not read, where its value is not the default."""
    if (name in unread and same(value, unread[name])) or (name not in unread and name not in INSTEAD):
        return
    raise RefusedError(f"{name} is {value!r:.100}, and is refused. {INSTEAD.get(name, OTHERWISE)}")


def same(value: Any, other: Any) -> bool:
    """True for equal values, also of types whose comparison is no truth value."""
    try:
        return value is other or bool(value == other)
    except ValueError:
        return False


@functools.cache
def default_of(config: type[AlgorithmConfig]) -> AlgorithmConfig:
    """A config of this class as nobody has changed it."""
    return config()
