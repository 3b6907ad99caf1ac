"""The env of a rollout worker, with everything that stands between the collector and the robot."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gymnasium import Space
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.env.env_context import EnvContext

from serl_ray.envs import make_env
from serl_ray.envs.first_episodes import FirstEpisodes
from serl_ray.envs.guard import Guard
from serl_ray.envs.make import BUNDLED_ENVS, used_keys
from serl_ray.envs.wrappers import ExpertIntervention, RecordEpisodes
from serl_ray.options.sets import options_in
from serl_ray.rllib.callbacks import HookedEnv
from serl_ray.rllib.collector import CountedEnv
from serl_ray.rllib.operators import link, operated_env
from serl_ray.rllib.resets import with_reset_policy
from serl_ray.teleop.terminal_resets import TerminalResets
from serl_ray.types import ActionLayout

if TYPE_CHECKING:
    from serl_ray.teleop.link import Link


class RolloutEnv(CountedEnv):
    """The env of a rollout worker, made from its `env_config` (see `HybridOptions.env_config`)."""

    _link: Link | None = None

    def __init__(self, context: EnvContext) -> None:
        config = dict(context)
        interventions, episodes_dir = config.pop("interventions", None), config.pop("episodes_dir", None)
        operators, watch = config.pop("operators", None), config.pop("watch", None)
        asks, reset_policy = config.pop("asks_at_terminal", None), config.pop("reset_policy", None)
        deadlines = {name: config.pop(name) for name in ("step_deadline", "reset_deadline")}
        seed = 1000 * context.worker_index + context.vector_index
        env = make_env(**config)
        resets = with_reset_policy(env, **reset_policy, env_config=config) if reset_policy else None
        env = resets or env
        layout = ActionLayout.from_setup(config["setup_mode"], env.action_space.shape[0])
        if watch:
            keys = used_keys(env, bool(config["learned_reward"]))
            env = FirstEpisodes(env, layout, keys, **watch, control_hz=config.get("control_hz"))
        if interventions:
            env = ExpertIntervention(env, layout, seed=seed, **interventions)
        env = Guard(env, **deadlines)
        kind = "evaluation" if operators and operators["hands_off"] else "worker"
        name = f"{kind}-{context.worker_index}-{context.vector_index}"
        if operators:
            env = operated = operated_env(env, layout, operators)
            if resets:
                resets.is_stopped = lambda: operated.session.is_stopped
            self._link = link(env, name, operators)
        if asks:
            env = TerminalResets(env, asks)
        if episodes_dir:
            env = RecordEpisodes(env, episodes_dir, name, config.get("action_scale"))
        super().__init__(HookedEnv(env))

    def close(self) -> None:
        """Closes the env, and leaves its operators."""
        if self._link:
            self._link.close()
        super().close()


def rollout_env(algorithm_config: AlgorithmConfig, worker_index: int = 0) -> RolloutEnv:
    """The env that a rollout worker of this config steps."""
    return RolloutEnv(EnvContext(algorithm_config.env_config, worker_index))


def spaces_here(algorithm_config: AlgorithmConfig) -> tuple[Space, Space] | None:
    """The spaces of observations and actions that remote workers of this config will have, from an env in this process.

    None without remote workers, and for an env that may be a robot, which is not opened twice.
    """
    options = options_in(algorithm_config)
    has_remote = algorithm_config.num_env_runners or algorithm_config.evaluation_num_env_runners
    if options.env.env_name not in BUNDLED_ENVS or not has_remote:
        return None
    as_workers_have_it = {name: algorithm_config.env_config[name] for name in ("frame_stack", "action_scale")}
    env = make_env(**{**options.env_config(), **as_workers_have_it})
    env.close()
    return env.observation_space, env.action_space
