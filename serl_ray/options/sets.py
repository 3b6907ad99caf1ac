"""All options of a hybrid and of an offline run, and what follows from them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

from pydantic import Field, model_validator

from serl_ray.agents.config import AgentOptions, SACConfig
from serl_ray.data.observations import STATE
from serl_ray.data.rewards import DEFAULT_BOUND, ReturnBound
from serl_ray.files.paths import absolute
from serl_ray.options.groups import (
    CollectingOptions,
    DemoOptions,
    EnvOptions,
    EvaluationOptions,
    EvaluationProcessOptions,
    HybridDemoOptions,
    HybridLearningOptions,
    HybridRewardOptions,
    HybridScheduleOptions,
    LearningOptions,
    OfflineDemoOptions,
    ProcessOptions,
    RewardOptions,
    RunOptions,
    ScheduleOptions,
)
from serl_ray.options.operator import HubOptions, HybridResetOptions, OperatorOptions
from serl_ray.options.presets import REWARD_DEFAULTS, with_reward_defaults
from serl_ray.types import REMOTE
from serl_ray.utils.options import OptionError, Options, names_of, unused


def _agent(**values: Any) -> AgentOptions:
    """The agent of a run, some of whose defaults are not the original's, since others learn faster: bounded targets and
    more critics against overestimation, values that travel faster, and actions that critics do not overlook beside
    images: these are condensed as much as in DrQ-v2 (arXiv 2107.09645), and those weigh as much as they do."""
    bounded = {"max_return": DEFAULT_BOUND.max_return, "tau": 0.01, "critic_ensemble_size": 4}
    return AgentOptions.of(**bounded, image_latent_dim=50, action_gain=None, **values)


class TrainingOptions(Options):
    """Options of both hybrid and offline training."""

    schedule: ScheduleOptions = Field(default_factory=ScheduleOptions)
    env: EnvOptions = Field(default_factory=EnvOptions)
    demos: DemoOptions = Field(default_factory=DemoOptions)
    reward: RewardOptions = Field(default_factory=RewardOptions)
    learning: LearningOptions = Field(default_factory=LearningOptions)
    agent: AgentOptions = Field(default_factory=_agent)
    evaluation: EvaluationOptions = Field(default_factory=EvaluationOptions)

    @model_validator(mode="after")
    def _check_stage(self) -> Self:
        keys = self.env.state_keys
        if self.reward.stage_classifiers and keys is not None and STATE not in keys:
            raise ValueError(
                f"state_keys is {' '.join(keys) or 'empty'}, and with --stage_classifiers the policy must see {STATE}, "
                f"which ends with the stage: name {STATE} among them."
            )
        return self

    @classmethod
    def of(cls, **values: Any) -> Self:
        """The defaults with some options changed by name, and with what follows from the kind of reward."""
        return super().of(**with_reward_defaults(values, cls))

    def replace(self, **values: Any) -> Self:
        """A copy with some options changed by name.

        Another kind of reward changes the options that still have the value that followed from the old one.
        """
        flat, usual = self.flat(), REWARD_DEFAULTS[self.reward.reward]
        implied = REWARD_DEFAULTS.get(values.get("reward", self.reward.reward), {})
        open_options = {name: value for name, value in implied.items() if flat[name] == usual[name]}
        return super().replace(**{**open_options, **values})

    @property
    def discount(self) -> float:
        """Discount factor per step, given or found by `rllib.discount`.

        Raises:
            OptionError: it is neither.
        """
        if self.agent.discount is None:
            raise OptionError("discount is None, and the demonstrations that decide on it were not looked at: set it.")
        return self.agent.discount

    def agent_config(self) -> SACConfig:
        """The hyper-parameters of the agent, whose discount is known."""
        return SACConfig(**{**dict(self.agent), "discount": self.discount})

    def return_bound(self) -> ReturnBound:
        """The bound that rewards must not contradict."""
        return ReturnBound(self.agent.max_return, self.discount, self.agent.reward_bias)

    def env_config(self) -> dict[str, Any]:
        """The arguments of `envs.make_env`, as a rollout worker gets them."""
        return {
            "env": self.env.env_name,
            "setup_mode": self.env.setup_mode,
            "image_keys": self.env.image_keys,
            "state_keys": self.env.state_keys,
            "env_kwargs": self.env.env_kwargs,
            "frame_stack": self.env.frame_stack,
            "control_hz": self.env.control_hz,
            "max_episode_seconds": self.env.max_episode_seconds,
            "learned_reward": self._learned_reward(),
        }

    def deadlines(self) -> dict[str, float | None]:
        """The arguments of `envs.guard.Guard`, in seconds."""
        return {"step_deadline": self.env.step_deadline, "reset_deadline": self.env.reset_deadline}

    def encoding(self) -> dict[str, Any] | None:
        """The arguments of `FrameEncoder` where the replay stores maps; None where it stores images."""
        encoder, crops = self.agent.networks.encoder, self.learning.augment_crops
        if not (self.env.image_keys and encoder.frozen and crops):
            return None
        return {"image_keys": self.env.image_keys, "trunk": encoder.trunk, "crops": crops}

    def unused(self) -> Iterator[str]:
        """A sentence for each option that nothing uses, because what would use it is not given."""
        names = "stage_classifiers", "success_frames", "success_gate", "positives_dir"
        yield from unused(self.reward, names, self.reward.classifier, "--classifier")

    def _learned_reward(self) -> dict[str, Any] | None:
        reward = self.reward
        if reward.classifier is None:
            return None
        return {
            "classifier": absolute(reward.classifier),
            "success_frames": reward.success_frames,
            "gate": reward.success_gate,
            "stages": tuple(absolute(folder) for folder in reward.stage_classifiers),
        }


class HybridOptions(TrainingOptions):
    """Options of hybrid training."""

    schedule: HybridScheduleOptions = Field(default_factory=HybridScheduleOptions)
    demos: HybridDemoOptions = Field(default_factory=HybridDemoOptions)
    reward: HybridRewardOptions = Field(default_factory=HybridRewardOptions)
    learning: HybridLearningOptions = Field(default_factory=HybridLearningOptions)
    collecting: CollectingOptions = Field(default_factory=CollectingOptions)
    operator: OperatorOptions = Field(default_factory=OperatorOptions)
    resets: HybridResetOptions = Field(default_factory=HybridResetOptions)

    def unused(self) -> Iterator[str]:
        yield from super().unused()
        yield from unused(
            self.collecting, ("expert_noise",), self.collecting.expert_interventions, "--expert_interventions"
        )
        yield from unused(self.resets, ("reset_message",), self.resets.asks, "--reset_by operator")
        yield from unused(self.resets, ("reset_steps",), self.resets.reset_policy, "--reset_policy")

    @property
    def keeps_time(self) -> bool:
        """True if the seconds between env steps matter."""
        env = self.env
        return env.control_hz is not None or env.max_episode_seconds is not None or env.env_name == REMOTE

    @property
    def may_wait(self) -> bool:
        """True if envs may wait for the learner."""
        return self.collecting.max_lead is not None and not self.keeps_time


class OfflineOptions(TrainingOptions):
    """Options of offline training: the same algorithm without rollout workers, and by default without an env."""

    schedule: ScheduleOptions = Field(
        default_factory=lambda: ScheduleOptions(max_steps=50_000, steps_per_iteration=500)
    )
    env: EnvOptions = Field(default_factory=lambda: EnvOptions(env_name=None))
    demos: OfflineDemoOptions = Field(default_factory=OfflineDemoOptions)
    learning: LearningOptions = Field(default_factory=lambda: LearningOptions(cta_ratio=1, n_step=1))
    agent: AgentOptions = Field(default_factory=lambda: _agent(objective="bc", normalise_state=True))
    evaluation: EvaluationOptions = Field(default_factory=lambda: EvaluationOptions(evaluate_every=5000))


class HybridRun(HybridOptions):
    """A hybrid run: its training, its folder and its processes."""

    run: RunOptions = Field(default_factory=lambda: RunOptions(save_dir=Path("hybrid_ckpt")))
    evaluating: EvaluationProcessOptions = Field(default_factory=EvaluationProcessOptions)
    processes: ProcessOptions = Field(default_factory=ProcessOptions)

    def unused(self) -> Iterator[str]:
        yield from super().unused()
        yield from unused(self.operator, ("attended", *names_of(HubOptions)), self.operator.operated, "--operator")
        yield from unused(self.processes, ("env_runner_resources",), self.processes.num_workers, "--num_workers")
        yield from unused(self.evaluating, ("evaluation_workers",), self.evaluation.evaluate_every, "--evaluate_every")

    @model_validator(mode="after")
    def _check(self) -> Self:
        _refuse_unused(self)
        return self


class OfflineRun(OfflineOptions):
    """An offline run: its training and its folder."""

    run: RunOptions = Field(default_factory=lambda: RunOptions(save_dir=Path("offline_ckpt")))
    evaluating: EvaluationProcessOptions = Field(default_factory=EvaluationProcessOptions)

    def unused(self) -> Iterator[str]:
        yield from super().unused()
        workers = ("evaluation_workers",)
        yield from unused(self.evaluating, workers, self.evaluation.evaluate_every, "--evaluate_every")
        yield from unused(self.evaluating, workers, self.env.env_name, "--env_name")

    @model_validator(mode="after")
    def _check(self) -> Self:
        _refuse_unused(self)
        return self


def _refuse_unused(options: HybridRun | OfflineRun) -> None:
    """Raises ValueError for an option that nothing uses, where a run begins.

    One that is resumed goes on with the options with which an older release let it begin; `runs.warnings.doubts` says
    which have no effect.
    """
    for sentence in () if options.run.resume else options.unused():
        raise ValueError(sentence)


def options_in(config: Mapping[str, Any]) -> TrainingOptions:
    """The options among the keys of an algorithm's config, which names their class.

    Raises:
        OptionError: a value is wrong.
    """
    options: type[TrainingOptions] = config["options_class"]
    return options.of(**{name: config[name] for name in names_of(options)})
