"""What the losses read of a batch, on the device."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from serl_ray.types import ActionLayout, Batch

Tensors = dict[str, torch.Tensor]


@dataclass
class Encoded:
    """A batch in the encoder. Embedded is what every dropout mask starts from; latents (B, D) are without dropout."""

    embedded: Tensors
    next_embedded: Tensors
    latents: torch.Tensor
    next_target_latents: torch.Tensor


def transition_tensors(batch: Batch, layout: ActionLayout, reward_bias: float, device: torch.device) -> Tensors:
    """`actions` (B, A + G), and `rewards`, `masks`, `is_demo` (1 where the batch does not say) and, where there are grippers,
    `grasp_penalty`, each (B,), all float32.

    Raises:
        ValueError: something is missing, or the actions are not of this layout.
    """
    keys = ["actions", "rewards", "masks"]
    if missing := [key for key in keys if key not in batch]:
        raise ValueError(f"The batch has no {', '.join(missing)}; it holds {', '.join(batch)}.")
    if layout.num_grippers:
        keys.append("grasp_penalty")
        if "grasp_penalty" not in batch:
            raise ValueError("The batch has no grasp_penalty, which learned grippers need (zeros where the env has none).")
    tensors = {key: torch.as_tensor(batch[key], dtype=torch.float32, device=device) for key in keys}
    tensors["rewards"] = tensors["rewards"] + reward_bias
    is_demo = batch.get("is_demo", np.ones(len(tensors["rewards"]), np.float32))
    tensors["is_demo"] = torch.as_tensor(is_demo, dtype=torch.float32, device=device)
    if tensors["actions"].shape[-1] != layout.action_dim:
        raise ValueError(f"The batch's actions have {tensors['actions'].shape[-1]} dimensions, the agent's {layout.action_dim}.")
    return tensors
