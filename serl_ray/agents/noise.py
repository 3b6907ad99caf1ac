"""Randomness of an update, drawn before it: for given noise an update is a deterministic function."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from serl_ray.networks.actor_critic import AgentNetworks
from serl_ray.networks.augment import draw_offsets
from serl_ray.networks.config import NetworkConfig
from serl_ray.networks.kernels import dropout_mask


@dataclass
class PolicyNoise:
    """Noise of one pass through the actor.

    Attributes:
        eps: standard-normal noise (B, A).
        keep: dropout masks (B, C * F), one for each camera.
    """

    eps: torch.Tensor
    keep: Sequence[torch.Tensor]


@dataclass
class UpdateNoise:
    """Noise of one update.

    Attributes:
        critic: noise of the next action in the critic's target.
        actor: noise of the action in the actor's loss; None for an update of the critics only.
        temperature: noise of the next action in the temperature's loss; None for an update of the critics only.
        crops: crop offsets of observations and next observations, each (B, T, 2) for all cameras; None for no crops.
        critic_subset: members of the ensemble in the critic's target; None for all.
    """

    critic: PolicyNoise
    actor: PolicyNoise | None = None
    temperature: PolicyNoise | None = None
    crops: tuple[torch.Tensor, torch.Tensor] | None = None
    critic_subset: torch.Tensor | None = None


class NoiseSource:
    """Noise of updates from one generator, so that a restored agent continues with the same random numbers."""

    def __init__(
        self,
        networks: AgentNetworks,
        config: NetworkConfig,
        frame_stack: int,
        action_dim: int,
        generator: torch.Generator,
    ) -> None:
        self._embedding_dims = [head.embedding_dim for _, head in networks.encoder.image_heads()]
        self._config, self._frame_stack = config, frame_stack
        self._action_dim = action_dim
        self._generator = generator

    def eps(self, batch_size: int) -> torch.Tensor:
        """Standard-normal noise (B, A)."""
        return torch.randn((batch_size, self._action_dim), generator=self._generator, device=self._generator.device)

    def policy(self, batch_size: int) -> PolicyNoise:
        """Noise of one pass through the actor in training."""
        dropout = self._config.encoder.dropout
        keep = [dropout_mask(batch_size, dim, dropout, self._generator) for dim in self._embedding_dims]
        return PolicyNoise(self.eps(batch_size), keep)

    def update(self, batch_size: int, full: bool, critic_subsample_size: int | None, augment: bool) -> UpdateNoise:
        """Noise of a full update, or of an update of the critics only."""
        crops = None
        if augment and self._embedding_dims:
            shape = (batch_size, self._frame_stack)
            crops = (draw_offsets(shape, self._generator), draw_offsets(shape, self._generator))
        subset = None
        if critic_subsample_size is not None:  # without replacement; the original draws with (REFERENCE section 10.9)
            members = torch.randperm(self._config.critic_ensemble_size, generator=self._generator, device=self._generator.device)
            subset = members[:critic_subsample_size]
        critic = self.policy(batch_size)
        if not full:
            return UpdateNoise(critic, crops=crops, critic_subset=subset)
        return UpdateNoise(critic, self.policy(batch_size), self.policy(batch_size), crops, subset)
