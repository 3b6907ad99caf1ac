"""Normalisation of states by their mean and deviation over the demonstrations."""

from __future__ import annotations

import torch
from torch import nn

SMALLEST_DEVIATION = 1e-4
"""Deviation below which a number of the state counts as constant and is only centred."""
LIMIT = 10.0
"""Bound of normalised states, in deviations: a number that hardly varied in the demonstrations may jump later."""


class StateNormaliser(nn.Module):
    """Scales every number of a state to mean 0 and deviation 1: (..., D) -> (..., D), at most `LIMIT` deviations.

    It changes nothing until `fit`. Mean and deviation are buffers, so they are saved and sent with the encoder.
    """

    mean: torch.Tensor
    deviation: torch.Tensor

    def __init__(self, state_dim: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(state_dim))
        self.register_buffer("deviation", torch.ones(state_dim))

    @torch.no_grad()
    def fit(self, states: torch.Tensor) -> None:
        """Takes mean and deviation from states (N, D)."""
        deviation = states.std(dim=0, correction=0)
        self.mean.copy_(states.mean(dim=0))
        self.deviation.copy_(torch.where(deviation < SMALLEST_DEVIATION, torch.ones_like(deviation), deviation))

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        return ((states - self.mean) / self.deviation).clamp(-LIMIT, LIMIT)
