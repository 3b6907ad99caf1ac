"""The configuration of `SERL`, in RLlib's accent."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import ray
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.utils.annotations import override

from serl_ray.rllib import checkpoint
from serl_ray.rllib.sampling import MAX_IN_FLIGHT, RolloutEnv
from serl_ray.settings import HybridSettings, TrainingSettings, check_names, names_of, settings_of

WITHOUT_A_SAY = ("model", "optimizer", "replay_buffer_config")
"""RLlib's own options of what is made here from the settings; a whole config, as Tune has it, brings them along."""


class SERLConfig(AlgorithmConfig):
    """`HybridSettings` as attributes beside RLlib's own.

        config = SERLConfig().training(setup_mode="single-arm-learned-gripper", demo_paths=("demos.pkl",)).debugging(seed=1)
        algorithm = config.build_algo()

    Rollout workers are RLlib's (`.env_runners(num_env_runners=2)`); with none, the env steps in this process, and runs of one
    seed are equal.
    """

    settings_class: type[TrainingSettings] = HybridSettings

    def __init__(self, algo_class: type | None = None) -> None:
        from serl_ray.rllib.algorithm import SERL

        super().__init__(algo_class=algo_class or SERL)
        self.settings_class = type(self).settings_class
        for name, value in vars(self.settings_class()).items():
            setattr(self, name, value)
        self.replay_dir: str | None = None
        self.films = False
        self.shared_demos: dict[str, ray.ObjectRef] | None = None
        self.exploration_config = {"type": "StochasticSampling"}
        self.api_stack(enable_rl_module_and_learner=False, enable_env_runner_and_connector_v2=False)
        self.framework("torch").debugging(log_sys_usage=False)
        self.environment(env=RolloutEnv, disable_env_checking=True)
        self.env_runners(num_env_runners=0, max_requests_in_flight_per_env_runner=MAX_IN_FLIGHT)
        self.env_runners(validate_env_runners_after_construction=False)  # a worker may wait for its node while others work
        self.env_runners(create_local_env_runner=False)  # where there are workers, the robot is theirs alone
        self.fault_tolerance(restart_failed_env_runners=True, delay_between_env_runner_restarts_s=0.0)
        self.evaluation(evaluation_interval=None, evaluation_num_env_runners=0)
        self.experimental(_disable_preprocessor_api=True)

    @override(AlgorithmConfig)
    def training(self, **settings: Any) -> Self:
        """Sets options of the settings by name; ValueError for an unknown one, with the nearest."""
        check_names(settings, names_of(self.settings_class))
        for name, value in settings.items():
            setattr(self, name, tuple(value) if isinstance(value, list) else value)
        return self

    def keep_replay(self, folder: Path) -> Self:
        """Where the run's experience is written as it comes; by default in the folder that RLlib makes for the run."""
        self.replay_dir = str(folder)
        return self

    def film(self, wanted: bool) -> Self:
        """Whether the first episode of each evaluation is filmed, which `evaluator.take_video()` then has."""
        self.films = wanted
        return self

    def share_demos(self, shared: dict[str, ray.ObjectRef]) -> Self:
        """Demonstrations that lie in the object store, read and encoded, so that the run does not read them: `buffers.Shared`."""
        self.shared_demos = shared
        return self

    @override(AlgorithmConfig)
    def update_from_dict(self, config_dict: Mapping[str, Any]) -> Self:
        """As RLlib's, but an unknown key is a ValueError with the nearest name."""
        given = [name for name in config_dict if not name.startswith("__")]  # Tune's notes for itself
        check_names(given, {*self.to_dict(), "trial_info", "num_gpus_per_worker"})
        ours = {name: value for name, value in config_dict.items() if name in names_of(self.settings_class)}
        rest = {name: value for name, value in config_dict.items() if name not in (*ours, *WITHOUT_A_SAY)}
        return super().update_from_dict(rest).training(**ours)

    @override(AlgorithmConfig)
    def validate(self) -> None:
        settings = settings_of(self)
        settings.check()
        self.env_config = settings.env_config() | settings.deadlines()
        if not self.in_evaluation:
            self._prepare(settings)
            self.evaluation_config = {"explore": False, "num_envs_per_env_runner": 1}
        self.evaluation_interval = 1 if settings.evaluate_every and settings.env_name else None
        super().validate()

    def _prepare(self, settings: HybridSettings) -> None:
        """What a run has, and its evaluation has not."""
        self.env_config |= self._collecting(settings)
        if settings.init_from:
            path = checkpoint.checkpoint_of(Path(settings.init_from))
            saved = checkpoint.read_run(path)["settings"]
            checkpoint.check_match(path, saved, settings)
            self.random_steps = 0
            if settings.objective == "sac":
                self.objective = saved["objective"]

    def _collecting(self, settings: HybridSettings) -> dict[str, Any]:
        """What the env of a worker that gathers experience has beside the one that evaluates."""
        interventions = {"probability": settings.expert_interventions, "noise": settings.expert_noise}
        learned_reward = self.env_config["learned_reward"]
        return {
            "interventions": interventions if settings.expert_interventions else None,
            "learned_reward": learned_reward and learned_reward | {"positives_dir": settings.positives_dir},
            "episodes_dir": settings.episodes_dir,
            "frame_stack": 1,  # the collector stacks what it has encoded
        }
