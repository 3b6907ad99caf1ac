"""Choice of the learner's arithmetic: matrix products in bfloat16 where that is faster, otherwise in float32."""

from __future__ import annotations

import logging

import torch

from serl_ray.agents.config import SACConfig
from serl_ray.utils.device import multiplies_bfloat16

logger = logging.getLogger(__name__)


def with_arithmetic(config: SACConfig, device: torch.device, has_cameras: bool) -> SACConfig:
    """The config with `bfloat16` as on or off, where it was auto.

    Networks without cameras are too small for a gain.
    """
    if config.bfloat16 != "auto":
        return config
    return config.replace(bfloat16="on" if has_cameras and multiplies_bfloat16(device) else "off")


def with_arithmetic_of(config: SACConfig, begun: SACConfig, device: torch.device) -> SACConfig:
    """The config with the arithmetic of the agent that a run begun elsewhere goes on with.

    Where bfloat16 was chosen and is slow on this device, the config keeps its own, with a warning.
    """
    if begun.bfloat16 == "on" and config.bfloat16 == "off" and not multiplies_bfloat16(device):
        logger.warning(
            "The run began with matrix products in bfloat16, for which this machine's %s has no instructions: "
            "it goes on in float32. --bfloat16 on keeps bfloat16.",
            device.type,
        )
        return config
    return config.replace(bfloat16=begun.bfloat16)


def described_arithmetic(config: SACConfig) -> str:
    """The learner's arithmetic in a sentence, for the start of a run."""
    if config.bfloat16 == "on":
        return "The learner multiplies matrices in bfloat16 (--bfloat16 off: in float32)."
    return "The learner computes in float32."
