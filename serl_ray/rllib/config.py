"""The configuration of `SERL`, in RLlib's accent."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import gymnasium
import ray
from ray.rllib.algorithms.algorithm import Algorithm
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.utils.annotations import override

from serl_ray.files.paths import absolute
from serl_ray.networks.config import TRUNKS
from serl_ray.options.presets import PresetName, preset
from serl_ray.options.sets import HybridOptions, TrainingOptions, options_in
from serl_ray.rllib import checkpoint
from serl_ray.rllib.action_scale import scale_of_run
from serl_ray.rllib.agreement import check_match
from serl_ray.rllib.callbacks import check_callbacks
from serl_ray.rllib.config_keys import READ, check_attributes, check_given, default_of, refuse_replaced, same
from serl_ray.rllib.config_values import check_drawn, check_numbers, is_search_space
from serl_ray.rllib.discount import find_discount
from serl_ray.rllib.normalising import check_has_scale, with_scale_of
from serl_ray.rllib.operators import hub_name, operator_settings
from serl_ray.rllib.refusals import RefusedError
from serl_ray.rllib.resets import between_episodes
from serl_ray.rllib.robots import check_robots
from serl_ray.rllib.rollout_env import RolloutEnv
from serl_ray.rllib.sampling import MAX_IN_FLIGHT
from serl_ray.rllib.user_env import env_options
from serl_ray.rllib.worker import SERLWorker
from serl_ray.types import REMOTE
from serl_ray.utils.device import AUTO, device_named
from serl_ray.utils.options import OptionError, check_names, names_of

EVALUATION = {"explore": False, "num_envs_per_env_runner": 1}
"""Settings in which evaluation workers differ from those that gather experience."""


class WorkerEnvConfig(dict[str, Any]):
    """The `env_config` that follows from the options; any other is a user's."""


class SERLConfig(AlgorithmConfig):
    """`HybridOptions` as attributes beside RLlib's own.

        config = SERLConfig().training(setup_mode="single-arm-learned-gripper", demo_paths=("demos.pkl",))
        algorithm = config.debugging(seed=1).build_algo()

    Rollout workers are RLlib's (`.env_runners(num_env_runners=2)`); with none, the env steps in this process, and runs
    of one seed are equal. RLlib's keys that this algorithm does not read are refused where they differ from their
    defaults: `config_keys.INSTEAD` says what to set in their place.
    """

    options_class: type[TrainingOptions] = HybridOptions

    algorithm_class: ClassVar[type[Algorithm]]

    def __init__(self, algo_class: type[Algorithm] | None = None) -> None:
        super().__init__(algo_class=algo_class or self.algorithm_class)
        self.options_class = type(self).options_class
        self._set(self.options_class().flat())
        self.replay_dir: str | None = None
        self.records_video = False
        self.device = AUTO
        self.shared_demos: dict[str, ray.ObjectRef] | None = None
        self.discount_reason: str | None = None
        self.exploration_config = {"type": "StochasticSampling"}
        self.api_stack(enable_rl_module_and_learner=False, enable_env_runner_and_connector_v2=False)
        self.framework("torch").debugging(log_sys_usage=False)
        super().environment(env=RolloutEnv, disable_env_checking=True)
        self.env_runners(num_env_runners=0, max_requests_in_flight_per_env_runner=MAX_IN_FLIGHT)
        # A worker may wait for its node while others work. Where there are workers, the robot is theirs alone.
        self.env_runners(validate_env_runners_after_construction=False, create_local_env_runner=False)
        self.env_runners(env_runner_cls=SERLWorker)
        self.fault_tolerance(restart_failed_env_runners=True, delay_between_env_runner_restarts_s=0.0)
        self.evaluation(evaluation_interval=None, evaluation_num_env_runners=0)
        self.experimental(_disable_preprocessor_api=True)
        self.model["_disable_preprocessor_api"] = True  # as RLlib's validate() would set these two
        self.simple_optimizer = False

    def __setattr__(self, name: str, value: Any) -> None:
        """Sets an attribute; `num_gpus=0` puts the learner on the CPU, more on the best device (see `learn_on`)."""
        super().__setattr__(name, value)
        if name == "num_gpus":
            self.device = AUTO if value else "cpu"

    @override(AlgorithmConfig)
    def training(self, **options: Any) -> Self:
        """Sets options of training by name; from search spaces, such as `tune.grid_search([...])`, Tune draws values.

        Raises:
            OptionError: a name is unknown, or a value has the wrong type or is out of bounds.
            RefusedError: a name is RLlib's, and something else is to be set here.
        """
        names = names_of(self.options_class)
        refuse_replaced(options, names)
        if self.discount_reason and any(options.get(name, before) != before for name, before in self._deciding()):
            self.discount, self.discount_reason = None, None
        known = {name: getattr(self, name) for name in names}
        searched = {name: value for name, value in {**known, **options}.items() if is_search_space(value)}
        check_names(searched, names)
        fixed = self.options_class.of(**{name: value for name, value in known.items() if not is_search_space(value)})
        values = fixed.replace(**{name: value for name, value in options.items() if name not in searched})
        self._set({**values.flat(), **searched})
        return self

    def preset(self, name: PresetName) -> Self:
        """Sets the options of a preset: hil-serl has the original's hyper-parameters, tabletop makes fewer requests.

        Raises:
            OptionError: there is no such preset.
        """
        return self.training(**preset(name, self.options_class))

    def _set(self, values: Mapping[str, Any]) -> None:
        for name, value in values.items():
            setattr(self, name, value)

    def keep_replay(self, folder: Path) -> Self:
        """Sets the folder for the run's experience; by default it is in the folder that RLlib makes for the run."""
        self.replay_dir = str(folder)
        return self

    def operator(self, **options: Any) -> Self:
        """Lets operators watch, take over and label from a browser; options as for `training`, such as `attended`.

        The address of their page is `algorithm.hub.page`.
        """
        return self.training(operated=True, **options)

    def learn_on(self, device: str) -> Self:
        """Sets the learner's device: auto, cpu, cuda, cuda:1 or mps. Rollout workers act on the CPU."""
        self.device = device
        return self

    @override(AlgorithmConfig)
    def environment(self, *args: Any, env_config: Mapping[str, Any] | None = None, **settings: Any) -> Self:
        """Sets the env in RLlib's way: a class, its path or a gym id, and its arguments; they become options by
        `env_options`."""
        if env_config is not None and not isinstance(env_config, WorkerEnvConfig):
            earlier = {} if isinstance(self.env_config, WorkerEnvConfig) else self.env_config
            self.env_config = {**earlier, **env_config}
        return super().environment(*args, **settings)

    def record_video(self, wanted: bool) -> Self:
        """Sets whether the first episode of each evaluation is recorded, for `evaluator.take_video()`."""
        self.records_video = wanted
        return self

    def share_demos(self, shared: dict[str, ray.ObjectRef]) -> Self:
        """Demonstrations that lie in the object store, read and encoded, so that the run does not read them:
        `buffers.Shared`."""
        self.shared_demos = shared
        return self

    @override(AlgorithmConfig)
    def update_from_dict(self, config_dict: Mapping[str, Any]) -> Self:
        """Updates from a dict; unlike with RLlib's method, an unknown key is a ValueError with the nearest name."""
        names = names_of(self.options_class)
        read = check_given(config_dict, names, default_of(type(self)))
        ours = {name: read.pop(name) for name in names if name in read}
        device = {"device": read.pop("device")} if "device" in read else {}  # counts more than num_gpus
        return super().update_from_dict({**read, **device}).training(**ours)

    @override(AlgorithmConfig)
    def validate(self) -> None:
        """Checks every setting, however it came to its value.

        Raises:
            OptionError: an option is wrong, or unknown.
            RefusedError: a key of RLlib's differs from its default, and is not read here.
        """
        if self.in_evaluation:
            self.explore, self.num_envs_per_env_runner = EVALUATION["explore"], EVALUATION["num_envs_per_env_runner"]
        else:
            self._refuse()
            self._take_env()
        if self.trunk not in TRUNKS:
            self._set({"trunk": absolute(self.trunk)})
        self._find_discount()
        options = options_in(self)
        device_named(self.device)
        is_known = self.in_evaluation  # the config that this one is a copy of has looked
        scale = self.env_config["action_scale"] if is_known else scale_of_run(options, self.shared_demos is not None)
        operators = self._hands_off() if is_known else {}
        self.env_config = WorkerEnvConfig(
            options.env_config() | options.deadlines() | {"action_scale": scale} | operators
        )
        if not self.in_evaluation:
            self._prepare(options)
        self.evaluation_interval = 1 if options.evaluation.evaluate_every and options.env.env_name else None
        super().validate()
        if not self.in_evaluation:
            self.evaluation_interval = None

    def _deciding(self) -> list[tuple[str, Any]]:
        """The options that decide on a discount that `validate` has found."""
        names = ("discount", "reward", "demo_paths", "init_from")
        return [(name, getattr(self, name)) for name in names if hasattr(self, name)]

    def _find_discount(self) -> None:
        """Sets the discount where none is given, and `discount_reason`, why it is this one."""
        if self.discount is None:
            found = find_discount(options_in(self), self.shared_demos)
            self.discount, self.discount_reason = found.value, found.reason

    def _refuse(self) -> None:
        """Raises RefusedError for what is not read."""
        names = names_of(self.options_class)
        check_attributes(self, names, default_of(type(self)))
        check_drawn(self, sorted(READ & vars(self).keys() | {*names}))
        check_numbers(self)
        check_callbacks(self.callbacks_class)
        allowed = {**EVALUATION, "env": self.env}  # RLlib's build_algo(env) adds the env
        given = self.evaluation_config or {}
        if not isinstance(given, dict) or any(
            name not in allowed or not same(given[name], allowed[name]) for name in given
        ):
            raise RefusedError(
                f"evaluation_config is {given!r:.200}, and is refused. Evaluations are of the policy's mode, in the "
                "run's env, one in each worker: set evaluate_every, evaluation_episodes and evaluation_num_env_runners."
            )

    def _take_env(self) -> None:
        """Makes options of an env that was given in RLlib's way."""
        config = {} if isinstance(self.env_config, WorkerEnvConfig) else self.env_config
        name, kwargs, is_given = self.env_name, self.env_kwargs, self.env not in (None, RolloutEnv)
        if config and kwargs and not same(config, kwargs):
            raise RefusedError(f"env_config is {config!r:.100}, and env_kwargs {kwargs!r:.100}: set one of them.")
        if is_given or config:
            given = env_options(self.env if is_given else name, config or kwargs or {})
            if name not in (default_of(type(self)).env_name, given["env_name"]):
                raise RefusedError(f"env is {self.env!r:.100}, and env_name {name!r}: set one of them.")
            self.training(**given)
        super().environment(env=RolloutEnv)

    def _prepare(self, options: HybridOptions) -> None:
        """Adds the part of the config that the evaluation workers must not have."""
        self._check_spaces(None, None)
        check_has_scale(options)
        if options.schedule.init_from:
            path = checkpoint.checkpoint_of(Path(options.schedule.init_from))
            saved = checkpoint.read_run(path)["options"]
            check_match(path, saved, with_scale_of(saved, options))
            self.random_steps = 0
            self.normalise_state = bool(saved.get("normalise_state"))
            if options.agent.objective == "sac":
                self.objective = saved["objective"]
        if options.env.env_name == REMOTE:
            check_robots(options, self.evaluation_num_env_runners, self.num_envs_per_env_runner)
        self.env_config |= self._collecting(options)

    def _hands_off(self) -> dict[str, Any]:
        """The part of an evaluation's `env_config` that is about the run's operators, who may stop it."""
        kept = {name: self.env_config.get(name) for name in ("operators", "asks_at_terminal", "reset_policy")}
        return kept | {"operators": kept["operators"] and {**kept["operators"], "hands_off": True}}

    def _operators(self, options: HybridOptions) -> dict[str, Any] | None:
        """The part of `env_config` that is about operators, with the name of the hub that the run will start."""
        if not options.operator.operated:
            return None
        if options.collecting.expert_interventions:
            raise OptionError(
                f"expert_interventions is {options.collecting.expert_interventions:g}, and the expert would take over "
                "from the operator: leave out one of --expert_interventions and --operator."
            )
        return operator_settings(hub_name(), options)

    def _check_spaces(self, observation_space: gymnasium.Space | None, action_space: gymnasium.Space | None) -> None:
        """Raises RefusedError for spaces that are given and not these."""
        for name, known in (("observation_space", observation_space), ("action_space", action_space)):
            if (given := getattr(self, name)) is not None and given != known:
                raise RefusedError(
                    f"{name} is {given!r:.100}, and is refused. Spaces are the env's or the demonstrations'."
                )

    def _collecting(self, options: HybridOptions) -> dict[str, Any]:
        """The part of `env_config` for workers that gather experience."""
        interventions = {
            "probability": options.collecting.expert_interventions,
            "noise": options.collecting.expert_noise,
        }
        learned_reward, positives_dir = self.env_config["learned_reward"], options.reward.positives_dir
        episodes_dir = options.collecting.episodes_dir
        return {
            "interventions": interventions if options.collecting.expert_interventions else None,
            "learned_reward": learned_reward
            and learned_reward | {"positives_dir": positives_dir and absolute(positives_dir)},
            "episodes_dir": episodes_dir and absolute(episodes_dir),
            "frame_stack": 1,  # the collector stacks what it has encoded
            "operators": self._operators(options),
            **between_episodes(options, self.num_env_runners + self.evaluation_num_env_runners),
            "watch": {"is_dense": options.agent.max_return is None, "has_scale": self.normalise_state},
        }
