"""The deterministic policy of an agent as one function of plain arrays, for export."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import nn

from serl_ray.agents.agent import Agent
from serl_ray.types import GRIPPER_CHOICES


class ActingGraph(nn.Module):
    """The deterministic policy of an agent, without anything that only training needs.

    Takes, in the order of `inputs`, the images (B, T, H, W, 3) uint8 of each camera and the state (B, T, D) float32,
    and gives actions (B, A + G) float32 in the units of the robot: the continuous numbers, and -1, 0 or 1 for each
    learned gripper.

    Args:
        agent: agent on the CPU.
        image_shapes: height and width in pixels of each camera's images.

    Attributes:
        inputs: names of the inputs in their order.
        image_shapes: height and width of the images of each camera in their order.
    """

    limits: torch.Tensor
    offsets: torch.Tensor

    def __init__(self, agent: Agent, image_shapes: Mapping[str, tuple[int, int]]) -> None:
        super().__init__()
        networks, layout = agent.networks, agent.layout
        self.encoder, self.actor, self.grasp_critic = networks.encoder, networks.actor, networks.grasp_critic
        self.image_keys = agent.spec.image_keys
        self.inputs = (*self.image_keys, *(["state"] if agent.spec.state_dim else []))
        size = agent.config.networks.encoder.image_size
        self.image_shapes = [image_shapes[key] for key in self.image_keys]
        self.resizers = nn.ModuleList(Resizer(image_shapes[key], size) for key in self.image_keys)
        self.num_grippers = layout.num_grippers
        order = [*layout.continuous_indices, *layout.gripper_indices]
        self.places = [order.index(index) for index in range(layout.action_dim)]
        scale = agent.action_scale
        limits = [1.0] * layout.action_dim if scale is None else list(scale.limits)
        offsets = [0.0] * layout.action_dim if scale is None else list(scale.offsets)
        self.register_buffer("limits", torch.tensor(limits))
        self.register_buffer("offsets", torch.tensor(offsets))

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        by_name = dict(zip(self.inputs, inputs, strict=True))
        latents = self._latents(by_name)
        parts = [self.actor(latents).mode, *self._gripper_commands(latents)]
        actions = torch.cat(parts, dim=-1)[:, self.places]
        return actions * self.limits + self.offsets

    def _latents(self, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Latents (B, D), as `Encoder` makes them."""
        encoder, state = self.encoder, None
        if "state" in inputs:
            scaled = inputs["state"] if encoder.normaliser is None else encoder.normaliser(inputs["state"])
            state = scaled.flatten(1)
        if encoder.trunk is None:
            assert state is not None, "an agent without cameras has a state"
            return state
        latents = []
        for (key, head), resizer in zip(encoder.image_heads(), self.resizers, strict=True):
            images = inputs[key]
            maps = encoder.trunk(resizer(images.flatten(0, 1)))
            by_time = maps.unflatten(0, (-1, images.shape[1]))  # (B, T, h, w, C)
            latents.append(head(by_time.permute(0, 2, 3, 1, 4).flatten(3)))
        if encoder.proprio is not None and state is not None:
            latents.append(encoder.proprio(state))
        return torch.cat(latents, dim=-1)

    def _gripper_commands(self, latents: torch.Tensor) -> list[torch.Tensor]:
        """The command (B, 1) of each learned gripper; the first gripper is the major digit of the choice."""
        if self.grasp_critic is None:
            return []
        choices = self.grasp_critic(latents).argmax(-1, keepdim=True)
        places = reversed(range(self.num_grippers))
        return [((choices // GRIPPER_CHOICES**place) % GRIPPER_CHOICES - 1).float() for place in places]


class Resizer(nn.Module):
    """Bilinear, antialiased resizing of images (N, H, W, 3) uint8 to (N, *size, 3) float32, as two matrix products.

    Interpolation along an axis is linear in its pixels, so its matrix is what becomes of the identity.

    Args:
        shape: height and width of the images in pixels.
        size: height and width of the result.
    """

    rows: torch.Tensor
    columns: torch.Tensor

    def __init__(self, shape: tuple[int, int], size: tuple[int, int]) -> None:
        super().__init__()
        self.is_needed = shape != size
        self.register_buffer("rows", _interpolation(shape[0], size[0]))
        self.register_buffer("columns", _interpolation(shape[1], size[1]))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if not self.is_needed:
            return images
        channels_first = images.permute(0, 3, 1, 2).float()
        return (self.rows @ channels_first @ self.columns.T).permute(0, 2, 3, 1)


def _interpolation(size: int, new_size: int) -> torch.Tensor:
    """The matrix (new_size, size) of interpolation along an axis."""
    identity = torch.eye(size)[None, None]  # its columns are the unit vectors
    resized = F.interpolate(identity, (new_size, size), mode="bilinear", antialias=True, align_corners=False)
    return resized[0, 0]
