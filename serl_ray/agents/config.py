"""Hyper-parameters of an agent."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self, get_args

from annotated_types import Ge, Interval
from pydantic import BeforeValidator, Field, FiniteFloat, model_validator

from serl_ray.networks.config import NetworkConfig
from serl_ray.utils.options import Options, Role

Objective = Literal["sac", "bc", "awac"]
"""The actor's loss on demonstrations: values only (sac), cloning (bc), or advantage-weighted cloning (awac)."""
OBJECTIVES: tuple[str, ...] = get_args(Objective)


def _named_switch(value: Any) -> Any:
    """A switch by its name; older checkpoints and YAML files hold true and false."""
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else value


Discount = Annotated[FiniteFloat, Interval(ge=0.0, le=1.0)]


class AgentOptions(Options):
    """Hyper-parameters of the update and the networks (REFERENCE sections 3 and 4), before the demonstrations are
    known."""

    title: ClassVar[str] = "algorithm"

    lr: Annotated[FiniteFloat, Ge(0.0)] = 3e-4
    """Step size of Adam for every loss."""
    discount: Discount | None = None
    """Discount factor per step (gamma). By default it follows from the demonstrations: a success after their median
    length is worth 0.6 in the first step, within [0.9, 0.998]; without any it is that of init_from, or 0.97."""
    tau: Annotated[FiniteFloat, Interval(ge=0.0, le=1.0)] = 0.005
    """Share of the new parameters in the target networks at each update."""
    objective: Objective = "sac"
    """Actor's loss on demonstrations: sac (critics' values only), bc (clone all), awac (clone the better actions)."""
    max_return: FiniteFloat | None = None
    """Upper bound of the critics' targets, which no return may exceed: 1 if one reward of 1 ends the episode; None, as
    in the original, for no bound."""
    target_entropy: FiniteFloat | None = None
    """Target entropy of the policy; None for minus half of the action dimensions."""
    critic_subsample_size: int | None = None
    """Number of critics drawn for each target (REDQ); None for all."""
    backup_entropy: bool = False
    """Count the entropy of the next action in the critics' targets."""
    reward_bias: FiniteFloat = 0.0
    """Constant added to every reward."""
    compile: bool = False
    """Compile the learner's networks by torch.compile: faster on some machines, after minutes of compilation."""
    bfloat16: Annotated[Literal["auto", "on", "off"], BeforeValidator(_named_switch)] = "auto"
    """Multiply matrices in bfloat16 in the learner; auto does so with cameras, on hardware with instructions for it."""
    augment: Annotated[bool, Role.INTERNAL] = True
    """Crop images randomly in every update; stored maps are cropped already."""
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


class SACConfig(AgentOptions):
    """Hyper-parameters of an agent."""

    discount: Discount = 0.95
    """Discount factor per step (gamma)."""
