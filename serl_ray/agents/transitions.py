"""Tensors of a batch on the device, as input of the losses."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from serl_ray.agents.config import SACConfig
from serl_ray.networks.inputs import Tensors, float_tensor
from serl_ray.types import ActionLayout, Batch


@dataclass
class Encoded:
    """Results of the encoder for a batch.

    Attributes:
        embedded: embeddings of the observations, before dropout.
        next_embedded: embeddings of the next observations, before dropout.
        latents: latents (B, D) of the observations, without dropout.
        next_target_latents: latents (B, D) of the next observations by the target encoder, without dropout.
    """

    embedded: Tensors
    next_embedded: Tensors
    latents: torch.Tensor
    next_target_latents: torch.Tensor


def transition_tensors(batch: Batch, layout: ActionLayout, config: SACConfig, device: torch.device) -> Tensors:
    """The float32 fields of a batch without its observations.

    Returns:
        `actions` (B, A + G), and `rewards`, `masks`, `is_demo` (by default 1), `discounts` of the next values and, with
        grippers, `grasp_penalty`, each (B,). A transition spans the batch's `steps`, by default one.

    Raises:
        ValueError: a field is missing, or the actions do not fit the layout.
    """
    keys = ["actions", "rewards", "masks"]
    if missing := [key for key in keys if key not in batch]:
        raise ValueError(f"The batch has no {', '.join(missing)}; it holds {', '.join(batch)}.")
    if layout.num_grippers:
        keys.append("grasp_penalty")
        if "grasp_penalty" not in batch:
            raise ValueError(
                "The batch has no grasp_penalty, which learned grippers need. Use zeros if the env has none."
            )
    tensors = {key: float_tensor(batch[key], device) for key in keys}
    steps = float_tensor(batch.get("steps", np.ones(len(tensors["rewards"]))), device)
    discount = torch.tensor(config.discount, device=device)
    tensors["discounts"] = discount**steps
    biases = steps if config.discount == 1.0 else (1.0 - tensors["discounts"]) / (1.0 - discount)
    tensors["rewards"] = tensors["rewards"] + config.reward_bias * biases
    is_demo = batch.get("is_demo", np.ones(len(tensors["rewards"]), np.float32))
    tensors["is_demo"] = float_tensor(is_demo, device)
    if tensors["actions"].shape[-1] != layout.action_dim:
        raise ValueError(
            f"The batch's actions have {tensors['actions'].shape[-1]} dimensions, the agent's {layout.action_dim}."
        )
    return tensors
