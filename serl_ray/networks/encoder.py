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
        frozen: whether the trunk keeps its weights; otherwise the critics train it, and imitation where there is some.
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
        return self.latent(self.embed(feature_map), keep)

    def embed(self, feature_map: torch.Tensor) -> torch.Tensor:
        """The map (B, h, w, C) weighed by F spatial embeddings a channel: (B, C * F), channel-major."""
        maps = feature_map.flatten(1, 2).permute(2, 1, 0).contiguous()  # (C, h * w, B)
        embedding = self.embedding.flatten(0, 1).permute(1, 2, 0).contiguous()  # (C, F, h * w)
        return torch.bmm(embedding, maps).permute(2, 0, 1).flatten(1)

    def latent(self, embedded: torch.Tensor, keep: torch.Tensor | None = None) -> torch.Tensor:
        """Latents (B, image_latent_dim) of what `embed` returns; `keep` (B, C * F) bool is the dropout mask, None for none."""
        if keep is None:
            hidden = self.dense(embedded)
        else:  # what is kept is scaled up after the product, where there is less of it
            hidden = torch.addmm(self.dense.bias, embedded * keep, self.dense.weight.t(), alpha=1.0 / self.keep_probability)
        return torch.tanh(self.norm(hidden))


class ProprioHead(nn.Sequential):
    """Dense, LayerNorm and tanh on the state: (B, T * D) -> (B, proprio_latent_dim)."""

    def __init__(self, state_dim: int, latent_dim: int) -> None:
        super().__init__(linear(state_dim, latent_dim), nn.LayerNorm(latent_dim, eps=LAYER_NORM_EPS), nn.Tanh())


class Encoder(nn.Module):
    """Observations to latents in three steps: `features` runs the trunk (once a frame), `embed` the spatial embeddings (once a
    batch), `latents` the rest of the heads (once a dropout mask).

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
        if config.frozen:
            trunk.to(memory_format=torch.channels_last)  # in which its frames lie

    def features(self, observations: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Runs the trunk where it has not run yet: cameras become maps (B, h, w, T * C), the state (B, T, D) becomes (B, T * D).

        Cameras are frames (B, T, H, W, 3) uint8, or the stored maps of N crops (B, T, N, h, w, C) float16, the first of which
        is used.
        """
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.config.frozen):
            maps = self._maps({key: observations[key] for key in self.config.image_keys})
            features = {key: _batch_innermost(camera.permute(0, 2, 3, 1, 4).flatten(3)) for key, camera in maps.items()}
        if "state" in observations:
            features["state"] = observations["state"].flatten(1)
        return features

    def forward(self, features: dict[str, torch.Tensor], keep: Sequence[torch.Tensor] | None = None) -> torch.Tensor:
        """Latents (B, D) of what `features` returns."""
        return self.latents(self.embed(features), keep)

    def embed(self, features: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Each camera's spatial embeddings (B, C * F), and the state as it is."""
        cameras = zip(self.config.image_keys, self.heads, strict=True)
        return {**features, **{key: head.embed(features[key]) for key, head in cameras}}

    def latents(
        self, embedded: dict[str, torch.Tensor], keep: Sequence[torch.Tensor] | None = None, stop_image_gradient: bool = False
    ) -> torch.Tensor:
        """Latents (B, D).

        Args:
            embedded: what `embed` returns.
            keep: one dropout mask (B, C * F) a camera; None for no dropout.
            stop_image_gradient: keep gradients out of the image branch (the actor's loss); the proprio branch still learns.
        """
        if not self.config.image_keys:
            return embedded["state"]
        masks = keep if keep is not None else [None] * len(self.heads)
        cameras = zip(self.config.image_keys, self.heads, masks, strict=True)
        with torch.set_grad_enabled(torch.is_grad_enabled() and not stop_image_gradient):
            latents = [head.latent(embedded[key], mask) for key, head, mask in cameras]
        if self.proprio is not None:
            latents.append(self.proprio(embedded["state"]))
        return torch.cat(latents, dim=-1)

    def _maps(self, images: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Maps (B, T, h, w, C) of each camera; the frames of all cameras are one batch of the trunk."""
        frames = {key: self._resized(camera) for key, camera in images.items() if camera.dtype == torch.uint8}
        maps = {key: camera[:, :, 0] for key, camera in images.items() if key not in frames}
        if frames:
            batch_and_time = next(iter(images.values())).shape[:2]
            encoded = self.trunk(torch.cat(list(frames.values()))).chunk(len(frames))
            maps |= {key: camera.unflatten(0, batch_and_time) for key, camera in zip(frames, encoded, strict=True)}
        return maps

    def _resized(self, frames: torch.Tensor) -> torch.Tensor:
        """Frames (B, T, H, W, 3) as the trunk sees them: (B * T, *image_size, 3)."""
        frames = frames.flatten(0, 1)
        return frames if frames.shape[1:3] == self.config.image_size else resize(frames, self.config.image_size)


def _batch_innermost(maps: torch.Tensor) -> torch.Tensor:
    """The same maps (B, h, w, C) as float32, laid out in memory as (C, h, w, B): `ImageHead.embed` multiplies them as they lie.

    The one transposition of a matrix, before halves are widened, is cheaper than a permutation of four axes.
    """
    batch_size, height, width, channels = maps.shape
    rows = maps.permute(1, 2, 0, 3).reshape(-1, channels)  # (h * w * B, C)
    return rows.t().contiguous().float().view(channels, height, width, batch_size).permute(3, 1, 2, 0)
