"""Dense blocks of linear layer, layer norm and tanh, single or as a batched ensemble (REFERENCE section 2)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import cast

import torch
import torch.nn.functional as F
from torch import nn

from serl_ray.networks.kernels import Tanh

LAYER_NORM_EPS = 1e-6  # flax's default; torch's is 1e-5


def linear(in_dim: int, out_dim: int) -> nn.Linear:
    """A linear layer with Xavier-uniform weights and zero bias."""
    layer = nn.Linear(in_dim, out_dim)
    nn.init.xavier_uniform_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def lecun_normal_(weight: torch.Tensor, fan_in: int) -> torch.Tensor:
    """Fills a tensor with a normal of variance 1 / fan_in, truncated at two deviations (flax's default for kernels)."""
    std = fan_in**-0.5 / 0.87962566103423978
    return nn.init.trunc_normal_(weight, std=std, a=-2 * std, b=2 * std)


class MLP(nn.Sequential):
    """Linear -> LayerNorm -> tanh for each hidden size; without `activate_final` the last block is only linear."""

    def __init__(self, in_dim: int, hidden_dims: Sequence[int], activate_final: bool = True) -> None:
        layers: list[nn.Module] = []
        sizes = [in_dim, *hidden_dims]
        for i, (size, next_size) in enumerate(pairwise(sizes)):
            layers.append(linear(size, next_size))
            if activate_final or i + 1 < len(hidden_dims):
                layers += [nn.LayerNorm(next_size, eps=LAYER_NORM_EPS), Tanh()]
        super().__init__(*layers)

    def forward(self, x: torch.Tensor, scales: Sequence[torch.Tensor] = ()) -> torch.Tensor:
        """Outputs (B, hidden_dims[-1]); `scales` (B, hidden size) are the factors of dropout after each tanh."""
        left = iter(scales)
        for layer in self:
            x = layer(x)
            if isinstance(layer, nn.Tanh) and (scale := next(left, None)) is not None:
                x = x * scale
        return x


class EnsembleLinear(nn.Module):
    """E linear layers in one batched product: (E, B, in) -> (E, B, out)."""

    def __init__(self, ensemble_size: int, in_dim: int, out_dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(ensemble_size, in_dim, out_dim))
        self.bias = nn.Parameter(torch.zeros(ensemble_size, 1, out_dim))
        bound = math.sqrt(6.0 / (in_dim + out_dim))  # Xavier's, for each member
        nn.init.uniform_(self.weight, -bound, bound)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.baddbmm(self.bias, x, self.weight)


class EnsembleLayerNorm(nn.Module):
    """Layer norm over the last axis of (E, B, D) with a scale and a bias for each member."""

    def __init__(self, ensemble_size: int, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(ensemble_size, 1, dim))
        self.bias = nn.Parameter(torch.zeros(ensemble_size, 1, dim))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.addcmul(self.bias, F.layer_norm(x, x.shape[-1:], eps=LAYER_NORM_EPS), self.weight)


class EnsembleMLP(nn.Sequential):
    """E independent MLPs: (B, in) -> (E, B, hidden_dims[-1])."""

    def __init__(self, ensemble_size: int, in_dim: int, hidden_dims: Sequence[int]) -> None:
        layers: list[nn.Module] = []
        sizes = [in_dim, *hidden_dims]
        for size, next_size in pairwise(sizes):
            layers += [
                EnsembleLinear(ensemble_size, size, next_size),
                EnsembleLayerNorm(ensemble_size, next_size),
                Tanh(),
            ]
        super().__init__(*layers)
        self.ensemble_size = ensemble_size

    @torch.no_grad()
    def scale_inputs(self, first: int, gain: float) -> None:
        """Multiplies the weights of the inputs from the one at index `first` on."""
        cast(EnsembleLinear, self[0]).weight[:, first:] *= gain

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.expand(self.ensemble_size, *x.shape)
        for layer in self:
            x = layer(x)
        return x
