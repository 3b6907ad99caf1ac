"""Hyper-parameters of an agent."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

from serl_ray.networks.actor_critic import NetworkConfig

Objective = Literal["sac", "bc", "awac"]
"""What the actor learns from demonstrations: nothing but what critics make of them; to do the same; to do the better of it."""
OBJECTIVES: tuple[str, ...] = get_args(Objective)


@dataclass(frozen=True)
class SACConfig:
    """Hyper-parameters of the update, and the sizes of the networks.

    Attributes:
        lr: Adam's step size, the same for every loss.
        discount: of the next state's value, a step.
        tau: share of the new parameters in the target's, an update.
        target_entropy: None for -(all action dimensions, the grippers' too) / 2.
        critic_subsample_size: members of the ensemble in the target; None for all.
        backup_entropy: whether the target counts the next action's entropy.
        reward_bias: added to every reward.
        max_return: no target is greater; 1 where the only reward is a 1 that ends the episode, None for no bound (the original).
        objective: sac, or what the actor imitates besides, as far as `SACAgent.imitation_share` says (`agents.imitation`).
        augment: whether frames are randomly cropped.
        compile: whether the updates run networks that torch.compile has made.
        bfloat16: whether the updates multiply matrices in bfloat16.
    """

    lr: float = 3e-4
    discount: float = 0.95
    tau: float = 0.005
    target_entropy: float | None = None
    critic_subsample_size: int | None = None
    backup_entropy: bool = False
    reward_bias: float = 0.0
    max_return: float | None = None
    objective: Objective = "sac"
    augment: bool = True
    compile: bool = False
    bfloat16: bool = False
    networks: NetworkConfig = field(default_factory=NetworkConfig)
