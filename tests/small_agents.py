"""Small networks, and batches for them."""

from __future__ import annotations

import numpy as np
import torch

from serl_ray.agents.config import SACConfig
from serl_ray.networks.config import EncoderConfig, NetworkConfig
from serl_ray.networks.pretrained import build_trunk

SMALL = EncoderConfig(image_size=(32, 32), trunk_width=8, image_latent_dim=16, proprio_latent_dim=8)


def small_config(**encoder):
    return SACConfig(bfloat16="off", networks=NetworkConfig(encoder=SMALL.replace(**encoder), hidden_dims=(16, 16)))


def observations(rng, batch_size, cameras, stack=()):
    images = {camera: rng.integers(0, 256, (batch_size, *stack, 32, 32, 3), np.uint8) for camera in cameras}
    return {**images, "state": rng.standard_normal((batch_size, *stack, 5)).astype(np.float32)}


def batch(rng, agent, cameras, batch_size=6, stack=()):
    return {
        "observations": observations(rng, batch_size, cameras, stack),
        "next_observations": observations(rng, batch_size, cameras, stack),
        "actions": agent.layout.random(rng, batch_size),
        "rewards": rng.integers(0, 2, batch_size).astype(np.float32),
        "masks": rng.integers(0, 2, batch_size).astype(np.float32),
        "grasp_penalty": np.zeros(batch_size, np.float32),
    }


def with_maps(batch, cameras):
    """The batch with stored maps in place of its frames."""
    trunk = build_trunk("random", width=8)
    for role in ("observations", "next_observations"):
        for key in cameras:
            with torch.inference_mode():
                batch[role][key] = trunk(torch.as_tensor(batch[role][key])).half().unsqueeze(1).numpy()
    return batch


ABOUT = {
    "setup_mode": "single-arm-learned-gripper",
    "state_keys": None,
    "control_hz": 10.0,
    "env_steps": 0,
    "stages": 1,
}
"""What `write_policy` is told of a policy, besides its agent."""
