"""Faster arithmetic for the update, where a machine gains by it: compiled networks, bfloat16."""

from __future__ import annotations

import torch
from torch import nn

from serl_ray.networks.actor_critic import AgentNetworks


def compile_networks(*networks: AgentNetworks) -> None:
    """Compiles what runs in every update, in place: names of tensors stay. The first updates then take minutes on a CPU."""
    # The losses' gradients are taken one after the other, over graphs that they share.
    torch._functorch.config.donated_buffer = False
    for network in networks:
        parts: list[nn.Module | None] = [network.actor, network.critic, network.grasp_critic, *network.encoder.heads]
        for part in parts:
            if part is not None:
                part.compile()


def autocast(device: torch.device, bfloat16: bool) -> torch.autocast:
    """The context of an update's forward passes: matrix products in bfloat16, or all in float32."""
    return torch.autocast(device.type, torch.bfloat16, enabled=bfloat16)
