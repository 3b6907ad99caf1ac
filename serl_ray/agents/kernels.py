"""Faster updates: compiled networks, fused Adam, bfloat16, and freed memory that is kept."""

from __future__ import annotations

import ctypes
import platform

import torch
from torch import nn

from serl_ray.networks.actor_critic import AgentNetworks

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3  # mallopt(3)


def compile_networks(*networks: AgentNetworks) -> None:
    """Compiles the networks in place, without new tensor names. The first updates then take minutes on a CPU."""
    # Several losses share a graph, and their gradients are taken one after the other.
    torch._functorch.config.donated_buffer = False
    for network in networks:
        for part in (network.actor, network.critic, network.grasp_critic):
            if part is not None:
                part.compile()
        for step in ("embed", "latents"):
            setattr(network.encoder, step, torch.compile(getattr(network.encoder, step)))


def adam(parameters: list[nn.Parameter], lr: float) -> torch.optim.Adam:
    """Adam with one fused kernel per step. Its moments exist at once, so all checkpoints have the same tensors."""
    optimiser = torch.optim.Adam(parameters, lr=lr, fused=True)
    for parameter in parameters:
        moments = {name: torch.zeros_like(parameter, requires_grad=False) for name in ("exp_avg", "exp_avg_sq")}
        optimiser.state[parameter] = {"step": torch.zeros((), device=parameter.device), **moments}
    return optimiser


def autocast(device: torch.device, bfloat16: bool) -> torch.autocast:
    """The autocast context of an update's forward passes: matrix products in bfloat16, or everything in float32."""
    return torch.autocast(device.type, torch.bfloat16, enabled=bfloat16)


def keep_freed_memory() -> None:
    """Makes glibc keep up to 256 MB of freed memory for the next update, because new pages take time."""
    if platform.libc_ver()[0] != "glibc":
        return
    libc = ctypes.CDLL(None)
    for option, value in ((M_MMAP_THRESHOLD, 2**25), (M_TRIM_THRESHOLD, 2**28), (M_TOP_PAD, 2**26)):
        libc.mallopt(option, value)
