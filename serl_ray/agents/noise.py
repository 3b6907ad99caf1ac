"""All randomness of one update, drawn before it: given its noise, an update is a deterministic function."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from serl_ray.networks.actor_critic import AgentNetworks, NetworkConfig
from serl_ray.networks.augment import draw_offsets

INT64 = (-(2**63), 2**63 - 1)


@dataclass
class PolicyNoise:
    """What one pass through the actor needs.

    Attributes:
        eps: standard-normal noise (B, A).
        keep: one image dropout mask (B, C * F) a camera.
    """

    eps: torch.Tensor
    keep: Sequence[torch.Tensor]


@dataclass
class UpdateNoise:
    """What one update needs.

    Attributes:
        critic: the next action in the critic's target.
        actor: the action in the actor's loss.
        temperature: the next action in the temperature's loss.
        crops: crop offsets of observations and next observations, each (B, T, 2) and the same for all cameras; None for no crops.
        critic_subset: members of the ensemble in the critic's target; None for all.
    """

    critic: PolicyNoise
    actor: PolicyNoise | None = None
    temperature: PolicyNoise | None = None
    crops: tuple[torch.Tensor, torch.Tensor] | None = None
    critic_subset: torch.Tensor | None = None


class NoiseSource:
    """Draws an update's noise from one generator, so that a restored agent goes on with the same numbers."""

    def __init__(self, networks: AgentNetworks, config: NetworkConfig, action_dim: int, generator: torch.Generator) -> None:
        self._embedding_dims = [head.embedding_dim for head in networks.encoder.heads]
        self._config = config
        self._action_dim = action_dim
        self._generator = generator

    def eps(self, batch_size: int) -> torch.Tensor:
        """Standard-normal noise (B, A)."""
        return torch.randn((batch_size, self._action_dim), generator=self._generator, device=self._generator.device)

    def policy(self, batch_size: int) -> PolicyNoise:
        """Noise for one pass through the actor in training."""
        return PolicyNoise(self.eps(batch_size), [self._keep(batch_size, dim) for dim in self._embedding_dims])

    def update(self, batch_size: int, full: bool, critic_subsample_size: int | None, augment: bool) -> UpdateNoise:
        """Noise for a full update, or for one of the critics alone."""
        crops = None
        if augment and self._embedding_dims:
            shape = (batch_size, self._config.encoder.frame_stack)
            crops = (draw_offsets(shape, self._generator), draw_offsets(shape, self._generator))
        subset = None
        if critic_subsample_size is not None:  # without replacement, where the original draws with (REFERENCE section 10.9)
            members = torch.randperm(self._config.critic_ensemble_size, generator=self._generator, device=self._generator.device)
            subset = members[:critic_subsample_size]
        critic = self.policy(batch_size)
        if not full:
            return UpdateNoise(critic, crops=crops, critic_subset=subset)
        return UpdateNoise(critic, self.policy(batch_size), self.policy(batch_size), crops, subset)

    def _keep(self, batch_size: int, dim: int) -> torch.Tensor:
        """A dropout mask (B, dim), batch innermost in memory as the embeddings are.

        On a CPU an entry has 16 random bits, four from one draw: drawing is what a mask costs there.
        """
        device, dropout = self._generator.device, self._config.encoder.dropout
        if device.type != "cpu":
            return torch.rand((dim, batch_size), generator=self._generator, device=device).t() >= dropout
        draws = torch.randint(*INT64, (-(-batch_size * dim // 4),), generator=self._generator)
        bits = draws.view(torch.int16)[: batch_size * dim].view(dim, batch_size).t()
        return bits >= round(dropout * 2**16) - 2**15
