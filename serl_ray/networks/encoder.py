"""From an observation to one latent: a head a camera on a shared trunk, and the proprio branch (REFERENCE 1.2, 1.4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from serl_ray.networks.mlp import LAYER_NORM_EPS, lecun_normal_, linear
from serl_ray.networks.resnet import resize


@dataclass(frozen=True)
class EncoderConfig:
    """Sizes of the encoder; the defaults are the original's.

    Attributes:
        image_keys: cameras, in the order in which their latents are joined. None: the latent is the state itself.
        image_size: (H, W) in pixels at which the trunk sees a frame; others are resized.
        frame_stack: T, frames an observation holds; the trunk sees them one by one and their maps are joined by channel.
        trunk: "random" (ResNet-10, fixed seed), "imagenet" (torchvision's ResNet-18), or the path of a weights file.
        frozen: whether the trunk keeps its weights; otherwise the critics train it.
    """

    image_keys: tuple[str, ...] = ()
    image_size: tuple[int, int] = (128, 128)
    frame_stack: int = 1
    trunk: str = "random"
    trunk_width: int = 64
    frozen: bool = True
    spatial_features: int = 8
    image_latent_dim: int = 256
    proprio_latent_dim: int = 64
    dropout: float = 0.1


class ImageHead(nn.Module):
    """Learned spatial embeddings of a feature map, then Dense, LayerNorm and tanh: (B, h, w, C) -> (B, image_latent_dim)."""

    def __init__(self, map_shape: tuple[int, int, int], config: EncoderConfig) -> None:
        super().__init__()
        height, width, channels = map_shape
        self.embedding = nn.Parameter(torch.empty(height, width, channels, config.spatial_features))
        lecun_normal_(self.embedding, fan_in=height * width * channels)
        self.embedding_dim = channels * config.spatial_features
        self.dense = nn.Linear(self.embedding_dim, config.image_latent_dim)
        lecun_normal_(self.dense.weight, fan_in=self.embedding_dim)
        nn.init.zeros_(self.dense.bias)
        self.norm = nn.LayerNorm(config.image_latent_dim, eps=LAYER_NORM_EPS)
        self.keep_probability = 1.0 - config.dropout

    def forward(self, feature_map: torch.Tensor, keep: torch.Tensor | None = None) -> torch.Tensor:
        """Latents (B, image_latent_dim); `keep` (B, C * F) bool is the dropout mask, None for none."""
        x = torch.einsum("bhwc,hwcf->bcf", feature_map, self.embedding).flatten(1)  # (B, C * F), channel-major
        if keep is not None:
            x = x * keep / self.keep_probability
        return torch.tanh(self.norm(self.dense(x)))


class ProprioHead(nn.Sequential):
    """Dense, LayerNorm and tanh on the state: (B, T * D) -> (B, proprio_latent_dim)."""

    def __init__(self, state_dim: int, latent_dim: int) -> None:
        super().__init__(linear(state_dim, latent_dim), nn.LayerNorm(latent_dim, eps=LAYER_NORM_EPS), nn.Tanh())


class Encoder(nn.Module):
    """Observations to latents in two steps: `features` runs the trunk (once a frame), `forward` the heads (once a loss).

    Args:
        trunk: frames (N, H, W, 3) -> maps (N, h, w, C); shared by the cameras; None without cameras.
        state_dim: D of the proprio state; 0 without one.
    """

    def __init__(self, config: EncoderConfig, trunk: nn.Module | None, state_dim: int) -> None:
        super().__init__()
        self.config = config
        self.trunk = trunk
        self.heads = nn.ModuleList()
        self.proprio: nn.Module | None = None
        proprio_dim = config.frame_stack * state_dim
        if not config.image_keys:
            self.latent_dim = proprio_dim
            return
        height, width = (-(-size // 32) for size in config.image_size)
        map_shape = (height, width, config.frame_stack * trunk.channels)
        self.heads.extend(ImageHead(map_shape, config) for _ in config.image_keys)
        self.latent_dim = len(config.image_keys) * config.image_latent_dim
        if state_dim:
            self.proprio = ProprioHead(proprio_dim, config.proprio_latent_dim)
            self.latent_dim += config.proprio_latent_dim
        trunk.requires_grad_(not config.frozen)

    def features(self, observations: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Runs the trunk: cameras (B, T, H, W, 3) become maps (B, h, w, T * C), the state (B, T, D) becomes (B, T * D)."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.config.frozen):
            features = {key: self._map(observations[key]) for key in self.config.image_keys}
        if "state" in observations:
            features["state"] = observations["state"].flatten(1)
        return features

    def forward(
        self, features: dict[str, torch.Tensor], keep: Sequence[torch.Tensor] | None = None, stop_image_gradient: bool = False
    ) -> torch.Tensor:
        """Latents (B, D).

        Args:
            features: what `features` returns.
            keep: one dropout mask (B, C * F) a camera; None for no dropout.
            stop_image_gradient: keep gradients out of the image branch (the actor's loss); the proprio branch still learns.
        """
        if not self.config.image_keys:
            return features["state"]
        masks = keep if keep is not None else [None] * len(self.heads)
        with torch.set_grad_enabled(torch.is_grad_enabled() and not stop_image_gradient):
            latents = [
                head(features[key], mask) for key, head, mask in zip(self.config.image_keys, self.heads, masks, strict=True)
            ]
        if self.proprio is not None:
            latents.append(self.proprio(features["state"]))
        return torch.cat(latents, dim=-1)

    def _map(self, frames: torch.Tensor) -> torch.Tensor:
        batch_size, stack = frames.shape[:2]
        frames = frames.flatten(0, 1)  # (B * T, H, W, 3)
        if frames.shape[1:3] != self.config.image_size:
            frames = resize(frames, self.config.image_size)
        maps = self.trunk(frames).unflatten(0, (batch_size, stack))  # (B, T, h, w, C)
        return maps.permute(0, 2, 3, 1, 4).flatten(3)  # (B, h, w, T * C)
