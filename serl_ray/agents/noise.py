"""Randomness of an update, drawn before it: for given noise an update is a deterministic function."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from serl_ray.agents.config import SACConfig
from serl_ray.networks.augment import draw_offsets
from serl_ray.networks.kernels import dropout_mask

HALVED_PER_ACTION, FEWEST_ACTIONS = 100, 6
"""Hidden units per continuous action dimension, of at least six, with which dropout removes half of a layer. It removes
0.3 of 256 units for one arm, 0.18 for two, whose twice as many dimensions leave fewer units to spare, and 0.05 of 32.
The sums in the next layer are then disturbed by as much whatever the size, so small networks, which learn little by
heart, still learn fast."""


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
        imitation: factors (B, hidden size) of dropout in the imitation losses, for each hidden layer; empty for no
            dropout.
    """

    critic: PolicyNoise
    actor: PolicyNoise | None = None
    temperature: PolicyNoise | None = None
    crops: tuple[torch.Tensor, torch.Tensor] | None = None
    critic_subset: torch.Tensor | None = None
    imitation: Sequence[torch.Tensor] = ()


class NoiseSource:
    """Noise of updates from one generator, so that a restored agent continues with the same random numbers.

    Args:
        config: hyper-parameters of the agent.
        frame_stack: number T of images in an observation.
        action_dim: number A of continuous action dimensions.
        embedding_dims: sizes C * F of the cameras' embeddings.
        generator: random generator on the networks' device.
    """

    def __init__(
        self,
        config: SACConfig,
        frame_stack: int,
        action_dim: int,
        embedding_dims: Sequence[int],
        generator: torch.Generator,
    ) -> None:
        self._config, self._frame_stack, self._action_dim = config, frame_stack, action_dim
        self._embedding_dims, self._generator = embedding_dims, generator

    def eps(self, batch_size: int) -> torch.Tensor:
        """Standard-normal noise (B, A)."""
        return torch.randn((batch_size, self._action_dim), generator=self._generator, device=self._generator.device)

    def policy(self, batch_size: int) -> PolicyNoise:
        """Noise of one pass through the actor in training."""
        eps, dropout = self.eps(batch_size), self._config.networks.encoder.dropout
        return PolicyNoise(
            eps, [dropout_mask(batch_size, dim, dropout, self._generator) for dim in self._embedding_dims]
        )

    def update(self, batch_size: int, critics_only: bool = False, imitates: bool = False) -> UpdateNoise:
        """Noise of a full update, or of an update of the critics only; with dropout where the update `imitates`."""
        crops = None
        if self._config.augment and self._embedding_dims:
            shape = (batch_size, self._frame_stack)
            crops = (draw_offsets(shape, self._generator), draw_offsets(shape, self._generator))
        subset = self._critic_subset()
        critic = self.policy(batch_size)
        imitation = self._imitation(batch_size) if imitates else []
        if critics_only:
            return UpdateNoise(critic, crops=crops, critic_subset=subset, imitation=imitation)
        return UpdateNoise(critic, self.policy(batch_size), self.policy(batch_size), crops, subset, imitation)

    def _imitation(self, batch_size: int) -> list[torch.Tensor]:
        """Factors (B, hidden size) of dropout by hidden layer: 0 for removed units, and the other units make up for
        them."""
        scales, halved = [], HALVED_PER_ACTION * max(self._action_dim, FEWEST_ACTIONS)
        for size in self._config.networks.hidden_dims:
            dropout = size / (size + halved)
            scales.append(dropout_mask(batch_size, size, dropout, self._generator) / (1.0 - dropout))
        return scales

    def _critic_subset(self) -> torch.Tensor | None:
        """Members of the ensemble, drawn without replacement; the original draws with it (REFERENCE section 10.9)."""
        size = self._config.critic_subsample_size
        if size is None:
            return None
        num_critics, device = self._config.networks.critic_ensemble_size, self._generator.device
        return torch.randperm(num_critics, generator=self._generator, device=device)[:size]
