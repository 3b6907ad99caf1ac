"""Sizes and bounds of the networks; the defaults are the original's (REFERENCE section 2)."""

from __future__ import annotations

from typing import Annotated, ClassVar

from annotated_types import Ge, Gt, Interval
from pydantic import Field, FiniteFloat

from serl_ray.utils.options import Options, Role

TRUNKS = ("random", "efficientnet", "imagenet")
"""Image trunks that no file holds."""


class EncoderConfig(Options):
    """Image trunk, heads of the cameras, and branch of the state."""

    title: ClassVar[str] = "networks"

    trunk: Annotated[str, Role.DATA] = "random"
    """Image trunk: random, efficientnet, imagenet, or a file with weights (the original's resnet10_params.pkl,
    .safetensors, .pt)."""
    frozen: Annotated[bool, Role.DATA] = True
    """Keep the weights of the image trunk; otherwise critics and imitation train it."""
    normalise_state: Annotated[bool, Role.MUST_MATCH] = False
    """Scale every number of the state to mean 0 and deviation 1 over the demonstrations."""
    image_latent_dim: Annotated[int, Ge(1), Role.MUST_MATCH] = 256
    """Size of the latent vector of each camera's image."""
    image_size: Annotated[tuple[int, int], Role.INTERNAL] = (128, 128)
    """Height and width in pixels of the trunk's input; other images are resized."""
    trunk_width: Annotated[int, Role.INTERNAL] = 64
    """Channels of the trunk's first stage."""
    spatial_features: Annotated[int, Role.INTERNAL] = 8
    """Spatial embeddings per channel of the feature map."""
    proprio_latent_dim: Annotated[int, Role.INTERNAL] = 64
    """Size of the state's latent vector if there are cameras."""
    dropout: Annotated[float, Interval(ge=0.0, lt=1.0), Role.INTERNAL] = 0.1
    """Share of an image's embedding that dropout removes in training."""


class NetworkConfig(Options):
    """Actor, critics, grasp critic and temperature."""

    title: ClassVar[str] = "networks"

    hidden_dims: Annotated[tuple[Annotated[int, Ge(1)], ...], Role.MUST_MATCH] = (256, 256)
    """Sizes of the hidden layers of actor, critics and grasp critic."""
    critic_ensemble_size: Annotated[int, Ge(1), Role.MUST_MATCH] = 2
    """Number of critics."""
    action_gain: Annotated[Annotated[FiniteFloat, Gt(0.0)] | None, Role.FIXED] = 1.0
    """Factor of the initial weights of actions in the critics' first layer: 1, as in the original, or None for a factor
    with which all actions weigh as much as all latents. It counts where new networks are made, not on resume."""
    init_temperature: Annotated[float, Gt(0.0)] = 1e-2
    """Initial entropy temperature."""
    std_min: Annotated[float, Role.INTERNAL] = 1e-5
    """Smallest standard deviation of the policy before tanh; the gradient is zero at the bound."""
    std_max: Annotated[float, Role.INTERNAL] = 5.0
    """Largest standard deviation of the policy before tanh; the gradient is zero at the bound."""
    encoder: EncoderConfig = Field(default_factory=EncoderConfig)
