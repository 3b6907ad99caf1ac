"""Every option of training, once: the attributes of the algorithms' configs, the flags of the scripts, the keys of a sweep."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal

from serl_ray.agents.config import Objective, SACConfig
from serl_ray.networks.actor_critic import NetworkConfig
from serl_ray.networks.encoder import EncoderConfig
from serl_ray.option_types import check_least, check_types
from serl_ray.types import SETUP_MODES


@dataclass
class TrainingSettings:
    """What hybrid and offline training share. The defaults are DESIGN's, section 6; `PRESETS` has the original's."""

    at_least: ClassVar[dict[str, float]] = {
        "lr": 0.0, "batch_size": 2, "critic_ensemble_size": 1, "init_temperature": 1e-8, "cta_ratio": 1, "image_latent_dim": 1,
        "augment_crops": 0, "frame_stack": 1, "max_steps": 1, "steps_per_iteration": 1, "evaluate_every": 0,
        "evaluation_episodes": 1, "hidden_dims": 1, "success_frames": 1,
    }  # fmt: skip
    shares: ClassVar[tuple[str, ...]] = ("discount", "tau")

    env_name: str | None = "tabletop"
    """tabletop, gym-hil, or package.module:Class for an env of your own."""
    setup_mode: Literal[SETUP_MODES] = "single-arm-learned-gripper"
    """How many arms there are, and whether their grippers are learned."""
    image_keys: tuple[str, ...] = ()
    """Cameras the policy sees; none to learn from the state."""
    state_keys: tuple[str, ...] | None = None
    """Vectors the policy's state is joined from; by default `state`, and without cameras `object_state` too."""
    env_kwargs: dict[str, bool | int | float | str] | None = None
    """Arguments of the env's constructor."""
    control_hz: float | None = None
    """Steps a second that the env is held to; None for as many as there are, as for an env that keeps time itself."""
    step_deadline: float | None = 30.0
    """Seconds an env may take for a step, before its episode is dropped; None for as long as it takes."""
    reset_deadline: float | None = 600.0
    """Likewise for a reset, in which a person may put the scene in order."""
    demo_paths: tuple[str, ...] = ()
    """Demonstrations: pickles of HIL-SERL, Parquet files, folders, patterns and URIs of such, LeRobot data sets."""
    skip_bad: bool = False
    """Whether demonstrations in which something is wrong are left out, by whole episodes, and counted."""

    classifier: str | None = None
    """Folder or URI of a reward classifier, whose verdict is the reward; None for the env's own reward."""
    success_frames: int = 1
    """Frames in a row that the classifier must call a success."""
    success_gate: str | None = None
    """What proprioception must say of a success, too: "state[6] > 0.04"."""

    objective: Objective = "sac"
    """sac: what critics make of the data. bc: to do what demonstrations do. awac: to do the better of what they do."""
    lr: float = 3e-4
    """Adam's step size, for every loss."""
    batch_size: int = 256
    """Transitions an update."""
    discount: float = 0.95
    """Of the next state's value, a step."""
    tau: float = 0.005
    """Share of the new parameters in the target networks', an update."""
    critic_ensemble_size: int = 2
    """Critics."""
    critic_subsample_size: int | None = None
    """Critics drawn for each target; by default all."""
    target_entropy: float | None = None
    """By default minus half of the action dimensions."""
    init_temperature: float = 1e-2
    """Entropy temperature at the start."""
    backup_entropy: bool = False
    """Whether the critic's target counts the next action's entropy."""
    reward_bias: float = 0.0
    """Added to every reward."""
    max_return: float | None = 1.0
    """No target value is greater: 1 where the only reward is a 1 that ends the episode. None for no bound, as the original."""
    cta_ratio: int = 2
    """Critic updates a learner step, the last of them together with actor and temperature."""

    hidden_dims: tuple[int, ...] = (256, 256)
    """Hidden layers of actor, critics and grasp critic."""
    trunk: str = "random"
    """Image trunk: random, imagenet, or a weights file (the original's resnet10_params.pkl, .safetensors, .pt)."""
    frozen: bool = True
    """Whether the trunk keeps its weights; otherwise the critics train it, and imitation where there is some."""
    image_latent_dim: int = 256
    """Numbers that a camera's image is condensed to, before they meet the action in the critics."""
    augment_crops: int = 4
    """Crops of a frame that a frozen trunk encodes, once, and that the replay keeps; 1 for the whole frame alone; 0 to keep the
    frames themselves, and to crop and encode them anew in every update (as is done where the trunk is trained)."""
    frame_stack: int = 1
    """Frames and states an observation holds."""

    compile: bool = False
    """Whether the learner runs networks that torch.compile has made, which takes minutes first and a C++ compiler on a CPU."""
    bfloat16: bool = False
    """Whether the learner multiplies matrices in bfloat16, for machines that do so faster."""

    max_steps: int = 100_000
    """Steps of the whole run: env steps, or learner steps where there is no env to step."""
    steps_per_iteration: int = 250
    """Of them between two results."""
    evaluate_every: int = 1000
    """Of them between evaluations, each at the end of an iteration; 0 for none."""
    evaluation_episodes: int = 20
    """Deterministic episodes an evaluation."""

    def check(self) -> None:
        """Raises ValueError with the option, the value, the limit and the mend."""
        check_types(self)
        check_least(self, self.at_least)
        for name in self.shares:
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"{name} is {getattr(self, name)}; it must lie in [0, 1].")
        for name, unit in (("control_hz", "steps a second"), ("step_deadline", "seconds"), ("reset_deadline", "seconds")):
            if getattr(self, name) is not None and not getattr(self, name) > 0.0:
                raise ValueError(f"{name} is {getattr(self, name)}; choose {unit} above 0, or None for no limit.")
        if self.critic_subsample_size is not None and not 1 <= self.critic_subsample_size <= self.critic_ensemble_size:
            raise ValueError(
                f"critic_subsample_size is {self.critic_subsample_size} of an ensemble of {self.critic_ensemble_size}: "
                "choose a number from 1 to critic_ensemble_size, or None for all."
            )

    def sac_config(self) -> SACConfig:
        """What of this the agent needs."""
        networks = NetworkConfig(
            self._among(EncoderConfig), tuple(self.hidden_dims), self.critic_ensemble_size, init_temperature=self.init_temperature
        )
        return self._among(SACConfig, networks=networks)

    def _among(self, config: type[Any], **others: Any) -> Any:
        """A config whose fields are named as the options are."""
        shared = {field.name for field in fields(config)} & {field.name for field in fields(self)}
        return config(**{name: getattr(self, name) for name in shared}, **others)

    def env_config(self) -> dict[str, Any]:
        """The arguments of `envs.make_env`, as a rollout worker gets them."""
        return {
            "env": self.env_name,
            "setup_mode": self.setup_mode,
            "image_keys": tuple(self.image_keys),
            "state_keys": self.state_keys,
            "env_kwargs": self.env_kwargs,
            "frame_stack": self.frame_stack,
            "control_hz": self.control_hz,
            "learned_reward": self._learned_reward(),
        }

    def deadlines(self) -> dict[str, float | None]:
        """The arguments of `envs.guard.Guard`."""
        return {"step_deadline": self.step_deadline, "reset_deadline": self.reset_deadline}

    def _learned_reward(self) -> dict[str, Any] | None:
        if self.classifier is None:
            return None
        return {"classifier": self.classifier, "success_frames": self.success_frames, "gate": self.success_gate}

    def encoding(self) -> dict[str, Any] | None:
        """The arguments of `FrameEncoder` where the replay holds maps in place of frames; None where it holds the frames."""
        if not (self.image_keys and self.frozen and self.augment_crops):
            return None
        return {"image_keys": tuple(self.image_keys), "trunk": self.trunk, "crops": self.augment_crops}


@dataclass
class HybridSettings(TrainingSettings):
    """Options of hybrid training."""

    at_least = TrainingSettings.at_least | {
        "utd_ratio": 0.0, "training_starts": 1, "random_steps": 0, "capacity": 2, "demo_capacity": 2, "fragment_length": 1,
        "expert_noise": 0.0, "warmup_steps": 1, "max_lead": 0, "max_faults": 0,
    }  # fmt: skip
    shares = (*TrainingSettings.shares, "demo_fraction", "expert_interventions")

    init_from: str | None = None
    """A run that was trained offline, its folder or the URI of its mirror: its policy acts from the first step on, in place of
    random actions. What it has learnt by imitation it goes on learning, less and less, over the warm-up."""
    warmup_steps: int = 1000
    """Env steps, after training has started, over which imitation fades and SAC takes its place, where there is imitation."""
    utd_ratio: float = 1.0
    """Learner steps an env step."""
    training_starts: int = 1000
    """Online transitions before the first learner step."""
    random_steps: int = 1000
    """Env steps with uniformly random actions at the start; none where there is a policy to start from."""
    capacity: int = 200_000
    """Observations the online replay keeps, at most; a run of fewer steps allocates fewer."""
    demo_capacity: int = 50_000
    """Observations the demo buffer has room for beside the demonstrations: the interventions."""
    demo_fraction: float = 0.5
    """Share of demonstrations and interventions in every batch."""
    episodes_dir: str | None = None
    """Folder for every episode, as Parquet, with all that the env lets be seen: to learn from other cameras or state vectors or
    with another trunk later, or to train a classifier. On a cluster, one that every rollout worker sees."""
    positives_dir: str | None = None
    """Folder for the frames of every step that the classifier called a success while gathering experience, for review."""
    fragment_length: int = 10
    """Steps of each of its envs that a remote rollout worker hands over at once."""
    max_lead: int | None = 100
    """Env steps that remote rollout workers may be ahead of the learner before they wait for it; None, and wherever `control_hz`
    is set: as many as it comes to, since a robot must not wait."""
    max_faults: int = 5
    """Episodes in a row that an env may spoil (it raises, is late, returns what is no number or of a wrong shape) before the run
    ends; each is dropped, counted and reported."""
    expert_interventions: float = 0.0
    """Chance at each step that the env's scripted expert takes over, in a person's place; for simulators."""
    expert_noise: float = 0.2
    """Noise of that expert, as a share of full scale."""

    @property
    def may_wait(self) -> bool:
        """Whether envs may stand still until the learner has caught up."""
        return self.max_lead is not None and self.control_hz is None


@dataclass
class OfflineSettings(TrainingSettings):
    """Options of offline training: the same algorithm without rollout workers."""

    at_least = TrainingSettings.at_least | {"window": 2, "memory_gb": 0.0}
    shares = (*TrainingSettings.shares, "held_out")

    env_name: str | None = None
    """A simulator to evaluate in: tabletop, gym-hil, package.module:Class; None where there is none, as for a robot."""
    objective: Objective = "awac"
    cta_ratio: int = 1
    max_steps: int = 50_000
    steps_per_iteration: int = 500
    evaluate_every: int = 5000
    held_out: float = 0.1
    """Share of the episodes that are not learned from, but on which actions and values are judged."""
    streaming: bool = False
    """Whether demonstrations stream through a window, as they do in any case where memory for all of them is not there."""
    memory_gb: float | None = None
    """Memory that demonstrations may take; by default half of what is free. Where they need more, they stream."""
    window: int = 20_000
    """Observations that are in memory at a time where demonstrations stream; it is made smaller where memory is not there."""


PRESETS: dict[str, dict[str, Any]] = {
    "hil-serl": {"discount": 0.97, "training_starts": 100, "random_steps": 0, "max_return": None},
    "tabletop": {
        "tau": 0.01,
        "batch_size": 128,
        "critic_ensemble_size": 4,
        "training_starts": 100,
        "random_steps": 0,
        "image_latent_dim": 50,
        "augment_crops": 2,
        "fragment_length": 30,
    },  # fmt: skip
}
"""Departures from the defaults, by name. hil-serl: the original's (REFERENCE section 7). tabletop: for the simulator's
short tasks and its fast steps: more critics against overestimation, values that travel faster, images condensed as much as in
DrQ-v2 (arXiv 2107.09645), so that critics do not overlook the action beside them, crops that one core can encode, and fewer
requests."""


def preset(name: str, settings: type[TrainingSettings]) -> dict[str, Any]:
    """What a preset says of these settings' options; nothing where there is no such preset."""
    return {option: value for option, value in PRESETS.get(name, {}).items() if option in names_of(settings)}


def names_of(settings: type[TrainingSettings]) -> tuple[str, ...]:
    """The names of all options."""
    return tuple(field.name for field in fields(settings))


def check_names(given: Iterable[str], known: Iterable[str], kind: str = "option") -> None:
    """Raises ValueError for the first name that is not known, with the one it resembles most."""
    known = sorted(known)
    for name in given:
        if name not in known:
            nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.0)
            raise ValueError(f"There is no {kind} {name!r}. Did you mean {nearest[0]!r}?")


def settings_of(config: Any) -> TrainingSettings:
    """The settings among the keys of an algorithm's config, which names their class."""
    settings = config["settings_class"]
    return settings(**{name: config[name] for name in names_of(settings)})
