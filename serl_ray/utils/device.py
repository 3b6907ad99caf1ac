"""Where tensors live: cuda, then mps, then the CPU."""

from __future__ import annotations

import torch


def pick_device() -> torch.device:
    """The best device this machine has: cuda, then mps (Apple), then cpu."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


DEVICE = pick_device()
