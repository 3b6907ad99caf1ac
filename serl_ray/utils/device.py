"""The device of tensors: cuda, then mps, then the CPU."""

from __future__ import annotations

import torch

AUTO = "auto"
"""Value of the option that chooses the best device."""


def pick_device() -> torch.device:
    """The best device this machine has: cuda, then mps (Apple), then cpu."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def device_named(name: str) -> torch.device:
    """The device that an option names: auto (see `pick_device`), cpu, cuda, cuda:1 or mps.

    Raises:
        ValueError: the name is none of these, or this machine has no such device.
    """
    if name == AUTO:
        return pick_device()
    counts = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
    kind, _, number = name.partition(":")
    if kind not in counts or (":" in name and not (number.isascii() and number.isdecimal())):
        raise ValueError(f"device is {name!r}; choose auto, cpu, cuda, the number of a GPU as in cuda:1, or mps.")
    if int(number or 0) >= counts[kind]:
        found = [
            f"{each}:{index}" if each == "cuda" else each for each, count in counts.items() for index in range(count)
        ]
        raise ValueError(
            f"device is {name!r}, which PyTorch does not find here; it finds {', '.join(found)}. Choose one of these."
        )
    return torch.device(name)


def multiplies_bfloat16(device: torch.device) -> bool:
    """True where matrix products are faster in bfloat16: on a GPU of compute capability 8 or more, and on a processor
    with AVX-512's instructions for them. Apple's GPUs gain nothing."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device)[0] >= 8
    return device.type == "cpu" and torch.cpu._is_avx512_bf16_supported()


DEVICE = pick_device()
