"""EfficientNet-Lite0 as an image trunk: the first eleven blocks, with the weights of ImageNet (arXiv 1905.11946)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from serl_ray.networks.resnet import SameConv2d, Trunk

STEM_CHANNELS = 32
STAGES = ((1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112))
"""Blocks, kernel size, stride of the first block, expansion and channels of each stage up to a stride of 16."""
MEAN, DEVIATION = 127.0, 128.0
"""Normalisation of the values of an image, as in training."""
NORM_EPS = 1e-3
NORMS = {"conv_stem": "bn0", "expand_conv": "bn0", "depthwise_conv": "bn1", "project_conv": "bn2"}
"""The batch norm behind each convolution."""


class InvertedBottleneck(nn.Module):
    """Expansion, depthwise convolution and projection, beside a shortcut where the maps keep their shape.

    Args:
        in_channels: channels of the maps that come in.
        channels: channels of the maps that go out.
        expansion: factor of the channels in between; 1 for no expansion.
        kernel_size: size of the depthwise convolution.
        stride: factor by which the maps shrink.
    """

    def __init__(self, in_channels: int, channels: int, expansion: int, kernel_size: int, stride: int) -> None:
        super().__init__()
        hidden = expansion * in_channels
        self.has_shortcut = stride == 1 and in_channels == channels
        self.expand_conv = _conv(in_channels, hidden, 1, 1) if expansion > 1 else None
        self.depthwise_conv = _conv(hidden, hidden, kernel_size, stride, groups=hidden)
        self.project_conv = _conv(hidden, channels, 1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = x if self.expand_conv is None else F.relu6(self.expand_conv(x), inplace=True)
        projected: torch.Tensor = self.project_conv(F.relu6(self.depthwise_conv(hidden), inplace=True))
        return projected + x if self.has_shortcut else projected


class EfficientNetLite(Trunk):
    """EfficientNet-Lite0 up to its last map at a stride of 16: 8x8x112 for a 128x128 image.

    It has no batch norms: those of the trained network are a part of its convolutions.
    """

    stride, channels = 16, STAGES[-1][-1]

    def __init__(self) -> None:
        super().__init__()
        self.conv_stem = _conv(3, STEM_CHANNELS, 3, 2)
        blocks, in_channels = [], STEM_CHANNELS
        for repeats, kernel_size, stride, expansion, channels in STAGES:
            for index in range(repeats):
                first_stride = stride if index == 0 else 1
                blocks.append(InvertedBottleneck(in_channels, channels, expansion, kernel_size, first_stride))
                in_channels = channels
        self.blocks = nn.Sequential(*blocks)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        normalised = (images.permute(0, 3, 1, 2).float() - MEAN) / DEVIATION
        x: torch.Tensor = self.blocks(F.relu6(self.conv_stem(normalised), inplace=True))
        return x.permute(0, 2, 3, 1)  # (N, H/16, W/16, 112)


def folded_state(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The tensors of an EfficientNetLite from those of the whole network with its batch norms.

    Args:
        state: tensors by the names of efficientnet_lite_pytorch, such as `_blocks.3._expand_conv.weight`.
    """
    theirs = {name.replace("._", ".").removeprefix("_"): tensor for name, tensor in state.items()}
    folded: dict[str, torch.Tensor] = {}
    for name in [name.removesuffix(".weight") for name in EfficientNetLite().state_dict() if name.endswith(".weight")]:
        path, dot, convolution = name.rpartition(".")
        norm = path + dot + NORMS[convolution]
        weight, bias = fuse_conv_bn_weights(
            theirs[f"{name}.weight"],
            None,
            theirs[f"{norm}.running_mean"],
            theirs[f"{norm}.running_var"],
            NORM_EPS,
            theirs[f"{norm}.weight"],
            theirs[f"{norm}.bias"],
        )
        folded |= {f"{name}.weight": weight.detach(), f"{name}.bias": bias.detach()}
    return folded


def _conv(in_channels: int, out_channels: int, kernel_size: int, stride: int, groups: int = 1) -> nn.Conv2d:
    """A square convolution with a bias and with "SAME" padding."""
    if stride > 1:
        return SameConv2d(in_channels, out_channels, kernel_size, stride, groups, bias=True)
    return nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2, groups=groups)
