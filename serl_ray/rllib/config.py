"""The configuration of `SERL`, in RLlib's accent."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import ray
from ray.rllib.algorithms.algorithm import Algorithm
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.utils.annotations import override

from serl_ray.options.presets import PresetName, preset
from serl_ray.options.sets import HybridOptions, TrainingOptions, options_in
from serl_ray.rllib import checkpoint
from serl_ray.rllib.sampling import MAX_IN_FLIGHT, RolloutEnv
from serl_ray.rllib.worker import SERLWorker
from serl_ray.utils.device import AUTO, device_named
from serl_ray.utils.options import check_names, names_of

OVERRULED = ("model", "optimizer", "replay_buffer_config")
"""RLlib's keys for what is made from our options; a whole config, as Tune passes it on, brings them along."""


class SERLConfig(AlgorithmConfig):
    """`HybridOptions` as attributes beside RLlib's own.

        config = SERLConfig().training(setup_mode="single-arm-learned-gripper", demo_paths=("demos.pkl",)).debugging(seed=1)
        algorithm = config.build_algo()

    Rollout workers are RLlib's (`.env_runners(num_env_runners=2)`); with none, the env steps in this process, and runs of one
    seed are equal.
    """

    options_class: type[TrainingOptions] = HybridOptions

    algorithm_class: ClassVar[type[Algorithm]]

    def __init__(self, algo_class: type[Algorithm] | None = None) -> None:
        super().__init__(algo_class=algo_class or self.algorithm_class)
        self.options_class = type(self).options_class
        self._set(self.options_class())
        self.replay_dir: str | None = None
        self.films = False
        self.device = AUTO
        self.shared_demos: dict[str, ray.ObjectRef] | None = None
        self.exploration_config = {"type": "StochasticSampling"}
        self.api_stack(enable_rl_module_and_learner=False, enable_env_runner_and_connector_v2=False)
        self.framework("torch").debugging(log_sys_usage=False)
        self.environment(env=RolloutEnv, disable_env_checking=True)
        self.env_runners(num_env_runners=0, max_requests_in_flight_per_env_runner=MAX_IN_FLIGHT)
        self.env_runners(validate_env_runners_after_construction=False)  # a worker may wait for its node while others work
        self.env_runners(env_runner_cls=SERLWorker)
        self.env_runners(create_local_env_runner=False)  # where there are workers, the robot is theirs alone
        self.fault_tolerance(restart_failed_env_runners=True, delay_between_env_runner_restarts_s=0.0)
        self.evaluation(evaluation_interval=None, evaluation_num_env_runners=0)
        self.experimental(_disable_preprocessor_api=True)

    @override(AlgorithmConfig)
    def training(self, **options: Any) -> Self:
        """Sets options of training by name.

        Raises:
            OptionError: a name is unknown, or a value has the wrong type or is out of bounds.
        """
        self._set(options_in(self).replace(**options))
        return self

    def preset(self, name: PresetName) -> Self:
        """Sets the options of a preset: hil-serl has the original's hyper-parameters, tabletop is for the simulator.

        Raises:
            OptionError: there is no such preset.
        """
        return self.training(**preset(name, self.options_class))

    def _set(self, options: TrainingOptions) -> None:
        for name, value in options.flat().items():
            setattr(self, name, value)

    def keep_replay(self, folder: Path) -> Self:
        """Sets the folder for the run's experience; by default it is in the folder that RLlib makes for the run."""
        self.replay_dir = str(folder)
        return self

    def learn_on(self, device: str) -> Self:
        """Sets the learner's device: auto, cpu, cuda, cuda:1 or mps. Rollout workers act on the CPU."""
        self.device = device
        return self

    @override(AlgorithmConfig)
    def resources(self, **resources: Any) -> Self:
        """Sets RLlib's resources; `num_gpus=0` puts the learner on the CPU, more on the best device (see `learn_on`)."""
        if "num_gpus" in resources:
            self.learn_on(AUTO if resources["num_gpus"] else "cpu")
        return super().resources(**resources)

    def film(self, wanted: bool) -> Self:
        """Sets whether the first episode of each evaluation is filmed, for `evaluator.take_video()`."""
        self.films = wanted
        return self

    def share_demos(self, shared: dict[str, ray.ObjectRef]) -> Self:
        """Demonstrations that lie in the object store, read and encoded, so that the run does not read them: `buffers.Shared`."""
        self.shared_demos = shared
        return self

    @override(AlgorithmConfig)
    def update_from_dict(self, config_dict: Mapping[str, Any]) -> Self:
        """Updates from a dict; unlike with RLlib's method, an unknown key is a ValueError with the nearest name."""
        given = [name for name in config_dict if not name.startswith("__")]  # Tune's notes for itself
        check_names(given, {*self.to_dict(), "trial_info", "num_gpus_per_worker"})
        ours = {name: value for name, value in config_dict.items() if name in names_of(self.options_class)}
        rest = {name: value for name, value in config_dict.items() if name not in (*ours, *OVERRULED)}
        if "num_gpus" in rest and "device" not in rest:
            self.resources(num_gpus=rest["num_gpus"])
        return super().update_from_dict(rest).training(**ours)

    @override(AlgorithmConfig)
    def validate(self) -> None:
        options = options_in(self)
        device_named(self.device)
        self.env_config = options.env_config() | options.deadlines()
        if not self.in_evaluation:
            self._prepare(options)
            self.evaluation_config = {"explore": False, "num_envs_per_env_runner": 1}
        self.evaluation_interval = 1 if options.evaluation.evaluate_every and options.env.env_name else None
        super().validate()

    def _prepare(self, options: HybridOptions) -> None:
        """Adds the part of the config that the evaluation workers must not have."""
        self.env_config |= self._collecting(options)
        if options.schedule.init_from:
            path = checkpoint.checkpoint_of(Path(options.schedule.init_from))
            saved = checkpoint.read_run(path)["options"]
            checkpoint.check_match(path, saved, options)
            self.random_steps = 0
            if options.agent.objective == "sac":
                self.objective = saved["objective"]

    def _collecting(self, options: HybridOptions) -> dict[str, Any]:
        """The part of `env_config` for workers that gather experience."""
        interventions = {"probability": options.collecting.expert_interventions, "noise": options.collecting.expert_noise}
        learned_reward = self.env_config["learned_reward"]
        return {
            "interventions": interventions if options.collecting.expert_interventions else None,
            "learned_reward": learned_reward and learned_reward | {"positives_dir": options.reward.positives_dir},
            "episodes_dir": options.collecting.episodes_dir,
            "frame_stack": 1,  # the collector stacks what it has encoded
        }
