"""The encoder: one head for each camera on a shared trunk, and a branch for the state (REFERENCE 1.2, 1.4)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import cast

import torch
from torch import nn

from serl_ray.networks.config import EncoderConfig
from serl_ray.networks.inputs import ObservationSpec, Tensors, is_stored_map
from serl_ray.networks.kernels import Tanh, batch_innermost, channels_last_, embed_maps, masked
from serl_ray.networks.mlp import LAYER_NORM_EPS, lecun_normal_, linear
from serl_ray.networks.normaliser import StateNormaliser
from serl_ray.networks.resnet import Trunk, resize


class ImageHead(nn.Module):
    """Spatial embeddings, Dense, LayerNorm and tanh on a feature map (B, h, w, C) -> (B, image_latent_dim)."""

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
        self.tanh = Tanh()
        self.keep_probability = 1.0 - config.dropout

    def forward(self, feature_map: torch.Tensor, keep: torch.Tensor | None = None) -> torch.Tensor:
        return self.latent(self.embed(feature_map), keep)

    def embed(self, feature_map: torch.Tensor) -> torch.Tensor:
        """The map (B, h, w, C) weighted by F spatial embeddings per channel: (B, C * F), channel-major."""
        return embed_maps(feature_map, self.embedding)

    def latent(self, embedded: torch.Tensor, keep: torch.Tensor | None = None) -> torch.Tensor:
        """Latents (B, image_latent_dim) of embeddings (B, C * F).

        Args:
            embedded: embeddings from `embed`.
            keep: dropout mask (B, C * F) bool; None for no dropout.
        """
        condensed = self.dense(embedded) if keep is None else self._dropped(embedded, keep)
        latent: torch.Tensor = self.tanh(self.norm(condensed))
        return latent

    def _dropped(self, embedded: torch.Tensor, keep: torch.Tensor) -> torch.Tensor:
        """The dense layer's output (B, image_latent_dim) with dropout, whose factor is applied after the product."""
        kept = embedded * keep if torch.is_grad_enabled() else masked(embedded, keep)
        return torch.addmm(self.dense.bias, kept, self.dense.weight.t(), alpha=1.0 / self.keep_probability)


class ProprioHead(nn.Sequential):
    """Dense, LayerNorm and tanh on the state: (B, T * D) -> (B, proprio_latent_dim)."""

    def __init__(self, state_dim: int, latent_dim: int) -> None:
        super().__init__(linear(state_dim, latent_dim), nn.LayerNorm(latent_dim, eps=LAYER_NORM_EPS), Tanh())


class Encoder(nn.Module):
    """Encoder of observations in three steps.

    `features` runs the trunk, once per image. `embed` applies the spatial embeddings, once per batch. `latents` applies
    the rest of the heads, once per dropout mask. Without cameras the latent is the state itself.

    Args:
        config: sizes of the encoder.
        spec: cameras, frame stack T and state size D of an observation.
        trunk: trunk of all cameras, images (N, H, W, 3) -> maps (N, h, w, C); None without cameras.

    Attributes:
        normaliser: scale of the state; None without a state or without `normalise_state`.
        latent_dim: size D of a latent.
        embedding_dims: sizes C * F of the cameras' embeddings, and of their dropout masks.

    Raises:
        ValueError: there are cameras but no trunk.
    """

    def __init__(self, config: EncoderConfig, spec: ObservationSpec, trunk: Trunk | None) -> None:
        super().__init__()
        self.image_keys, self.is_frozen, self._image_size = spec.image_keys, config.frozen, config.image_size
        self.trunk = trunk if spec.image_keys else None
        self.proprio: ProprioHead | None = None
        self.normaliser = StateNormaliser(spec.state_dim) if config.normalise_state and spec.state_dim else None
        self.latent_dim = state_dim = spec.frame_stack * spec.state_dim
        heads: list[ImageHead] = []
        if self.trunk is not None:
            height, width, channels = self.trunk.map_shape(config.image_size)
            map_shape = (height, width, spec.frame_stack * channels)
            heads = [ImageHead(map_shape, config) for _ in spec.image_keys]
            self.proprio = ProprioHead(state_dim, config.proprio_latent_dim) if state_dim else None
            self.latent_dim = len(heads) * config.image_latent_dim + (config.proprio_latent_dim if state_dim else 0)
            self.trunk.requires_grad_(not config.frozen)
            if config.frozen:
                channels_last_(self.trunk)
        elif spec.image_keys:
            raise ValueError(f"The cameras {', '.join(spec.image_keys)} need an image trunk; this encoder got none.")
        self.heads = nn.ModuleList(heads)
        self.embedding_dims = [head.embedding_dim for head in heads]

    def features(self, observations: Tensors) -> Tensors:
        """Maps (B, h, w, T * C) of every camera, and the state (B, T * D), normalised where there is a normaliser.

        Args:
            observations: for each camera, images (B, T, H, W, 3) of any size with values in [0, 255], or stored maps of
                N crops (B, T, N, h, w, C) float16, of which the first is used; `state` (B, T, D).
        """
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.is_frozen):
            maps = self._maps({key: observations[key] for key in self.image_keys})
            features = {key: batch_innermost(camera.permute(0, 2, 3, 1, 4).flatten(3)) for key, camera in maps.items()}
        if "state" in observations:
            state = observations["state"]
            features["state"] = (state if self.normaliser is None else self.normaliser(state)).flatten(1)
        return features

    def forward(self, features: Tensors, keep: Sequence[torch.Tensor] | None = None) -> torch.Tensor:
        """Latents (B, D) of the maps and state from `features`."""
        return self.latents(self.embed(features), keep)

    def embed(self, features: Tensors) -> Tensors:
        """Spatial embeddings (B, C * F) of every camera, and the unchanged state."""
        return {**features, **{key: head.embed(features[key]) for key, head in self.image_heads()}}

    def image_heads(self) -> Iterator[tuple[str, ImageHead]]:
        """The cameras with their heads."""
        for key, head in zip(self.image_keys, self.heads, strict=True):
            yield key, cast(ImageHead, head)  # a ModuleList does not know the type of its modules

    def latents(
        self,
        embedded: Tensors,
        keep: Sequence[torch.Tensor] | None = None,
        stop_image_gradient: bool = False,
    ) -> torch.Tensor:
        """Latents (B, D).

        Args:
            embedded: embeddings of the cameras and state, from `embed`.
            keep: one dropout mask (B, C * F) for each camera; None for no dropout.
            stop_image_gradient: whether gradients stop before the image branch, as in the actor's loss; the state's
                branch still learns.
        """
        if not self.image_keys:
            return embedded["state"]
        masks = keep if keep is not None else [None] * len(self.heads)
        with torch.set_grad_enabled(torch.is_grad_enabled() and not stop_image_gradient):
            latents = [
                head.latent(embedded[key], mask) for (key, head), mask in zip(self.image_heads(), masks, strict=True)
            ]
        if self.proprio is not None:
            latents.append(self.proprio(embedded["state"]))
        return torch.cat(latents, dim=-1)

    def _maps(self, images: Tensors) -> Tensors:
        """Maps (B, T, h, w, C) of each camera; the images of all cameras are one batch of the trunk."""
        to_encode = {key: self._resized(camera) for key, camera in images.items() if not is_stored_map(camera)}
        maps = {key: camera[:, :, 0] for key, camera in images.items() if key not in to_encode}
        if to_encode and self.trunk is not None:
            batch_and_time = next(iter(images.values())).shape[:2]
            encoded = self.trunk(torch.cat(list(to_encode.values()))).chunk(len(to_encode))
            maps |= {key: camera.unflatten(0, batch_and_time) for key, camera in zip(to_encode, encoded, strict=True)}
        return maps

    def _resized(self, images: torch.Tensor) -> torch.Tensor:
        """Images (B, T, H, W, 3) at the size of the trunk's input: (B * T, *image_size, 3)."""
        return resize(images.flatten(0, 1), self._image_size)
