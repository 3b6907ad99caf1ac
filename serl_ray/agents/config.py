"""Hyper-parameters of an agent."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self, get_args

from annotated_types import Ge, Interval
from pydantic import Field, FiniteFloat, model_validator

from serl_ray.networks.config import NetworkConfig
from serl_ray.utils.options import Options, Role

Objective = Literal["sac", "bc", "awac"]
"""What the actor learns from demonstrations: only what critics make of them (sac), to repeat them (bc), to do the better of them
(awac)."""
OBJECTIVES: tuple[str, ...] = get_args(Objective)


class SACConfig(Options):
    """Hyper-parameters of the update, and the networks (REFERENCE sections 3 and 4)."""

    title: ClassVar[str] = "algorithm"

    lr: Annotated[FiniteFloat, Ge(0.0)] = 3e-4
    """Step size of Adam, the same for every loss."""
    discount: Annotated[FiniteFloat, Interval(ge=0.0, le=1.0)] = 0.95
    """Discount factor per step (gamma)."""
    tau: Annotated[FiniteFloat, Interval(ge=0.0, le=1.0)] = 0.005
    """Share of the new parameters that the target networks take over in each update."""
    objective: Objective = "sac"
    """Actor's loss on demonstrations: sac (the critics' verdict), bc (repeat them), awac (repeat the better ones)."""
    max_return: FiniteFloat | None = None
    """Upper bound of the critics' targets: 1 where a single reward of 1 ends the episode; None for no bound, as in the
    original."""
    target_entropy: FiniteFloat | None = None
    """Entropy that the temperature holds the policy to; None for minus half of the action dimensions."""
    critic_subsample_size: int | None = None
    """Critics drawn for each target (REDQ); None for all of them."""
    backup_entropy: bool = False
    """Count the entropy of the next action in the critics' targets."""
    reward_bias: FiniteFloat = 0.0
    """Constant added to every reward."""
    compile: bool = False
    """Run the learner's networks through torch.compile: faster on some machines, after minutes of compilation."""
    bfloat16: bool = False
    """Multiply matrices in bfloat16 in the learner, for processors and GPUs that do so faster."""
    augment: Annotated[bool, Role.INTERNAL] = True
    """Crop images randomly in every update; stored maps bring their crops along."""
    networks: NetworkConfig = Field(default_factory=NetworkConfig)

    @model_validator(mode="after")
    def _check_subsample(self) -> Self:
        size, ensemble = self.critic_subsample_size, self.networks.critic_ensemble_size
        if size is not None and not 1 <= size <= ensemble:
            raise ValueError(
                f"critic_subsample_size is {size} of an ensemble of {ensemble}: "
                "choose a number from 1 to critic_ensemble_size, or None for all."
            )
        return self
