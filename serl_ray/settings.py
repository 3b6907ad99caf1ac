"""Every option of hybrid training, once: the attributes of `SERLConfig`, the flags of the scripts, the keys of a sweep."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from serl_ray.agents.config import SACConfig
from serl_ray.networks.actor_critic import NetworkConfig
from serl_ray.networks.encoder import EncoderConfig
from serl_ray.types import SETUP_MODES


@dataclass
class HybridSettings:
    """Options of hybrid training. The defaults are DESIGN's, section 6; `PRESETS` has the original's."""

    env_name: str = "tabletop"
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
    demo_paths: tuple[str, ...] = ()
    """Demonstrations: pickles of HIL-SERL, Parquet files, folders or patterns of them."""

    classifier: str | None = None
    """Folder of a reward classifier, whose verdict is the reward; None for the env's own reward."""
    success_frames: int = 1
    """Frames in a row that the classifier must call a success."""
    success_gate: str | None = None
    """What proprioception must say of a success, too: "state[6] > 0.04"."""
    positives_dir: str | None = None
    """Folder for the frames of every step that the classifier called a success while gathering experience, for review."""

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
    utd_ratio: float = 1.0
    """Learner steps an env step."""

    training_starts: int = 1000
    """Online transitions before the first learner step."""
    random_steps: int = 1000
    """Env steps with uniformly random actions at the start."""
    capacity: int = 200_000
    """Observations the online replay keeps, at most; a run of fewer steps allocates fewer."""
    demo_capacity: int = 50_000
    """Observations the demo buffer has room for beside the demonstrations: the interventions."""
    demo_fraction: float = 0.5
    """Share of demonstrations and interventions in every batch."""

    hidden_dims: tuple[int, ...] = (256, 256)
    """Hidden layers of actor, critics and grasp critic."""
    trunk: str = "random"
    """Image trunk: random, imagenet, or a weights file (the original's resnet10_params.pkl, .safetensors, .pt)."""
    frozen: bool = True
    """Whether the trunk keeps its weights; otherwise the critics train it."""
    image_latent_dim: int = 256
    """Numbers that a camera's image is condensed to, before they meet the action in the critics."""
    augment_crops: int = 4
    """Crops of a frame that a frozen trunk encodes, once, and that the replay keeps; 1 for the whole frame alone; 0 to keep the
    frames themselves, and to crop and encode them anew in every update (as is done where the trunk is trained)."""
    episodes_dir: str | None = None
    """Folder for the frames, states and actions of every episode, as Parquet: to change trunk or cameras later, or to train a
    classifier. On a cluster, one that every rollout worker sees."""
    frame_stack: int = 1
    """Frames and states an observation holds."""

    compile: bool = False
    """Whether the learner runs networks that torch.compile has made, which takes minutes first and a C++ compiler on a CPU."""
    bfloat16: bool = False
    """Whether the learner multiplies matrices in bfloat16, for machines that do so faster."""

    max_steps: int = 100_000
    """Env steps of the whole run."""
    steps_per_iteration: int = 250
    """Env steps between two results."""
    fragment_length: int = 10
    """Steps of each of its envs that a remote rollout worker hands over at once."""
    max_lead: int | None = 100
    """Env steps that remote rollout workers may be ahead of the learner; None on a robot, which must not wait."""
    expert_interventions: float = 0.0
    """Chance at each step that the env's scripted expert takes over, in a person's place; for simulators."""
    expert_noise: float = 0.2
    """Noise of that expert, as a share of full scale."""
    evaluate_every: int = 1000
    """Env steps between evaluations; 0 for none."""
    evaluation_episodes: int = 20
    """Deterministic episodes an evaluation."""

    def check(self) -> None:
        """Raises ValueError with the option, the value, the limit and the mend."""
        at_least = {
            "lr": 0.0, "batch_size": 2, "critic_ensemble_size": 1, "init_temperature": 1e-8, "cta_ratio": 1, "utd_ratio": 0.0,
            "training_starts": 1, "random_steps": 0, "capacity": 2, "demo_capacity": 2, "image_latent_dim": 1, "augment_crops": 0,
            "frame_stack": 1,
            "max_steps": 1, "steps_per_iteration": 1, "fragment_length": 1, "expert_noise": 0.0, "evaluate_every": 0,
            "evaluation_episodes": 1,
        }  # fmt: skip
        for name, least in at_least.items():
            if getattr(self, name) < least:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least {least}.")
        for name in ("discount", "tau", "demo_fraction", "expert_interventions"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"{name} is {getattr(self, name)}; it must lie in [0, 1].")
        if self.control_hz is not None and not self.control_hz > 0.0:
            raise ValueError(f"control_hz is {self.control_hz}; choose steps a second above 0, or None for no limit.")
        if self.setup_mode not in SETUP_MODES:
            raise ValueError(f"setup_mode is {self.setup_mode!r}; choose one of {', '.join(SETUP_MODES)}.")
        if self.critic_subsample_size is not None and not 1 <= self.critic_subsample_size <= self.critic_ensemble_size:
            raise ValueError(
                f"critic_subsample_size is {self.critic_subsample_size} of an ensemble of {self.critic_ensemble_size}: "
                "choose a number from 1 to critic_ensemble_size, or None for all."
            )

    def sac_config(self) -> SACConfig:
        """What of this the agent needs."""
        encoder = EncoderConfig(
            tuple(self.image_keys),
            frame_stack=self.frame_stack,
            trunk=self.trunk,
            frozen=self.frozen,
            image_latent_dim=self.image_latent_dim,
        )
        networks = NetworkConfig(
            encoder, tuple(self.hidden_dims), self.critic_ensemble_size, init_temperature=self.init_temperature
        )
        return SACConfig(
            self.lr,
            self.discount,
            self.tau,
            self.target_entropy,
            self.critic_subsample_size,
            self.backup_entropy,
            self.reward_bias,
            self.max_return,
            compile=self.compile,
            bfloat16=self.bfloat16,
            networks=networks,
        )

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

    def _learned_reward(self) -> dict[str, Any] | None:
        if self.classifier is None:
            return None
        return {"classifier": self.classifier, "success_frames": self.success_frames, "gate": self.success_gate}

    def encoding(self) -> dict[str, Any] | None:
        """The arguments of `FrameEncoder` where the replay holds maps in place of frames; None where it holds the frames."""
        if not (self.image_keys and self.frozen and self.augment_crops):
            return None
        return {"image_keys": tuple(self.image_keys), "trunk": self.trunk, "crops": self.augment_crops}


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

NAMES = tuple(field.name for field in fields(HybridSettings))


def check_names(given: Iterable[str], known: Iterable[str]) -> None:
    """Raises ValueError for the first name that is not known, with the one it resembles most."""
    known = sorted(known)
    for name in given:
        if name not in known:
            nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.0)
            raise ValueError(f"There is no option {name!r}. Did you mean {nearest[0]!r}?")


def settings_of(config: Any) -> HybridSettings:
    """The settings among the keys of a config."""
    return HybridSettings(**{name: config[name] for name in NAMES})


def defaults() -> dict[str, Any]:
    """Every option with its default."""
    return asdict(HybridSettings())
