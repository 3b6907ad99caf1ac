"""The success classifier's network: cameras to "did it work?" (REFERENCE section 8)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from serl_ray.networks.encoder import Encoder, EncoderConfig
from serl_ray.networks.mlp import LAYER_NORM_EPS, lecun_normal_
from serl_ray.networks.observation import ObservationSpec, to_tensors
from serl_ray.networks.pretrained import build_trunk
from serl_ray.utils.device import DEVICE


class ClassifierNetwork(nn.Module):
    """Encoder without proprio -> Dense -> Dropout -> LayerNorm -> ReLU -> logits (B, 1), (B, num_classes) for more than two."""

    def __init__(self, config: EncoderConfig, num_classes: int, hidden_dim: int, trunk: nn.Module) -> None:
        super().__init__()
        self.encoder = Encoder(config, trunk, state_dim=0)
        self.hidden = nn.Linear(self.encoder.latent_dim, hidden_dim)
        self.norm = nn.LayerNorm(hidden_dim, eps=LAYER_NORM_EPS)
        self.logits = nn.Linear(hidden_dim, 1 if num_classes == 2 else num_classes)
        self.keep_probability = 1.0 - config.dropout
        for layer in (self.hidden, self.logits):
            lecun_normal_(layer.weight, fan_in=layer.in_features)
            nn.init.zeros_(layer.bias)

    def forward(self, features: dict[str, torch.Tensor], keep: Sequence[torch.Tensor] | None = None) -> torch.Tensor:
        """Logits.

        Args:
            features: maps (B, h, w, C) as `encoder.features` returns them.
            keep: dropout masks in training: one (B, C * F) a camera, then one (B, hidden_dim).
        """
        latents = self.encoder(features, keep=None if keep is None else keep[:-1])
        hidden = self.hidden(latents)
        if keep is not None:
            hidden = hidden * keep[-1] / self.keep_probability
        return self.logits(torch.relu(self.norm(hidden)))


class RewardClassifier:
    """Says of camera frames whether the task has succeeded.

    Args:
        image_keys: cameras it looks at.
        threshold: probability above which a frame counts as success.
        num_classes: 2 for failure and success; more for an N-way classifier, whose last class is success.
        encoder: sizes and trunk; the original's by default. Its image_keys are those given here.
    """

    def __init__(
        self,
        image_keys: Sequence[str],
        threshold: float = 0.5,
        num_classes: int = 2,
        hidden_dim: int = 256,
        encoder: EncoderConfig | None = None,
        device: torch.device | str = DEVICE,
    ) -> None:
        if not image_keys:
            raise ValueError("A reward classifier needs at least one camera: image_keys is empty.")
        if not 0.0 <= threshold <= 1.0:
            raise ValueError(f"threshold is a probability in [0, 1], not {threshold}.")
        self.image_keys = tuple(image_keys)
        self.threshold = threshold
        self.device = torch.device(device)
        config = replace(encoder or EncoderConfig(), image_keys=self.image_keys)
        self.spec = ObservationSpec(self.image_keys, config.frame_stack, state_dim=0)
        trunk = build_trunk(config.trunk, config.trunk_width)
        self.network = ClassifierNetwork(config, num_classes, hidden_dim, trunk).to(self.device)

    @torch.no_grad()
    def logits(self, observations: Mapping[str, Any]) -> torch.Tensor:
        """Logits (B, 1) or (B, N) of a batch of observations, (1,) or (N,) of a single one."""
        batch, is_single = to_tensors(observations, self.spec, self.device)
        logits = self.network(self.network.encoder.features(batch))
        return logits[0] if is_single else logits

    def predict_success(self, observations: Mapping[str, Any]) -> tuple[Any, Any]:
        """Success probabilities and verdicts: a float and a bool for one observation, numpy arrays (B,) for a batch."""
        logits = self.logits(observations)
        probability = logits[..., 0].sigmoid() if logits.shape[-1] == 1 else logits.softmax(-1)[..., -1]
        probability = probability.cpu().numpy()
        if probability.ndim == 0:
            return float(probability), bool(probability >= self.threshold)
        return probability, probability >= self.threshold
