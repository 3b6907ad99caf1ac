"""The image trunk: a group-normalised ResNet-10 that maps an image to a grid of features (REFERENCE section 1.1)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class Trunk(nn.Module):
    """An image trunk: images (N, H, W, 3) uint8 -> feature maps (N, H/stride, W/stride, channels) float32.

    Attributes:
        stride: pixels of an image per cell of its feature map, in height and width.
        channels: numbers of a cell.
    """

    stride: int
    channels: int

    def map_shape(self, image_size: tuple[int, int]) -> tuple[int, int, int]:
        """Shape (h, w, C) of the map of an image of this height and width."""
        height, width = (-(-size // self.stride) for size in image_size)
        return height, width, self.channels


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Padding (before, after) for ceil(size / stride) outputs; an odd pixel goes after, unlike in torch."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def pad_same(x: torch.Tensor, kernel: int, stride: int, value: float = 0.0) -> torch.Tensor:
    """Pads maps (N, C, H, W) as flax's "SAME" does."""
    top, bottom = same_padding(x.shape[-2], kernel, stride)
    left, right = same_padding(x.shape[-1], kernel, stride)
    return F.pad(x, (left, right, top, bottom), value=value)


class Convolution(nn.Conv2d):
    """A square convolution, by default without bias.

    By itself a processor's kernel lays the weights out anew in every pass, which takes as long as an image. `pack` has
    it do so once, for weights that nobody changes any more; results are equal.
    """

    _packs = False
    _packed: torch.Tensor | None = None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int,
        groups: int = 1,
        bias: bool = False,
        padding: int = 0,
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, groups=groups, bias=bias)

    def pack(self) -> None:
        """Keeps the weights as the next pass lays them out, where PyTorch can; gradients are no longer possible.

        Weights of groups are small, and stay as they are.
        """
        self._packs, self._packed = can_pack() and self.groups == 1, None

    def _conv_forward(self, input: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        result: torch.Tensor
        if not self._packs:
            result = super()._conv_forward(input, weight, bias)
            return result
        onednn: Any = torch._C._nn
        geometry = self.padding, self.stride, self.dilation, self.groups
        if self._packed is None:
            self._packed = onednn.mkldnn_reorder_conv2d_weight(weight.to_mkldnn(), *geometry, input.shape)
        result = torch.ops.mkldnn._convolution_pointwise(input, self._packed, bias, *geometry, "none", [], "")
        return result


def can_pack() -> bool:
    """True where `Convolution.pack` has an effect: on processors for which PyTorch computes convolutions by oneDNN."""
    has_onednn: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return has_onednn and "AVX" in torch.backends.cpu.get_cpu_capability()


class SameConv2d(Convolution):
    """A square convolution with "SAME" padding."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(pad_same(x, self.kernel_size[0], self.stride[0]))


class SameMaxPool2d(nn.Module):
    """A square max-pool with "SAME" padding."""

    def __init__(self, size: int, step: int) -> None:
        super().__init__()
        self.size, self.step = size, step

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        padded = pad_same(x, self.size, self.step, value=-torch.inf)
        return torch.max_pool2d(padded, self.size, self.step)


def normalise(images: torch.Tensor) -> torch.Tensor:
    """Images (N, H, W, 3) uint8 as ImageNet-normalised float32 (N, 3, H, W).

    The arithmetic is on whole rows, since the triples of a pixel are too short to be computed fast.
    """
    width = images.shape[2]
    mean = torch.tensor(IMAGENET_MEAN, device=images.device).mul(255.0).repeat(width)
    std = torch.tensor(IMAGENET_STD, device=images.device).mul(255.0).repeat(width)
    rows = images.float().flatten(2)  # (N, H, W * 3)
    normalised: torch.Tensor = (rows - mean) / std
    return normalised.view(images.shape).permute(0, 3, 1, 2)


def resize(images: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Images (N, *size, C): unchanged, or resized to float32 by bilinear interpolation, antialiased when they shrink.

    The aspect ratio of the images is not kept.

    Args:
        images: images (N, H, W, C) of any dtype.
        size: height and width in pixels of the result.
    """
    if images.shape[1:3] == size:
        return images
    scaled = F.interpolate(
        images.permute(0, 3, 1, 2).float(), size, mode="bilinear", antialias=True, align_corners=False
    )
    return scaled.permute(0, 2, 3, 1)


class Block(nn.Module):
    """Two 3x3 convolutions beside a shortcut. The weights have the names of torchvision's BasicBlock, whose import
    takes seconds.

    Args:
        in_channels: channels of the maps that come in.
        channels: channels of the maps that go out.
        stride: factor by which the maps shrink.
        norm: makes a normalisation for a number of channels.
        convolution: makes the first convolution where the maps shrink: (channels in, channels out, kernel size,
            stride).
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        stride: int,
        norm: Callable[[int], nn.Module],
        convolution: Callable[[int, int, int, int], nn.Conv2d],
    ) -> None:
        super().__init__()
        make = convolution if stride > 1 else _centred_conv
        self.conv1, self.bn1 = make(in_channels, channels, 3, stride), norm(channels)
        self.conv2, self.bn2 = _centred_conv(channels, channels, 3, 1), norm(channels)
        self.downsample: nn.Module | None = None
        if stride > 1 or in_channels != channels:
            self.downsample = nn.Sequential(_centred_conv(in_channels, channels, 1, stride), norm(channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)
        x = self.bn2(self.conv2(x))
        x += shortcut
        return F.relu(x, inplace=True)


class ResNet(Trunk):
    """A ResNet of Blocks in four stages, up to its last feature map: 4x4x512 for a 128x128 image."""

    stride = 32

    def __init__(
        self,
        width: int,
        blocks: int,
        norm: Callable[[int], nn.Module],
        maxpool: nn.Module,
        convolution: Callable[[int, int, int, int], nn.Conv2d],
    ) -> None:
        super().__init__()
        self.conv1, self.bn1, self.maxpool = _centred_conv(3, width, 7, 2), norm(width), maxpool
        widths = [width, *(width * 2**stage for stage in range(4))]
        stages = []
        for stage, (in_channels, channels) in enumerate(pairwise(widths)):
            first = Block(in_channels, channels, 1 if stage == 0 else 2, norm, convolution)
            others = [Block(channels, channels, 1, norm, convolution) for _ in range(blocks - 1)]
            stages.append(nn.Sequential(first, *others))
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.channels = 8 * width

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x: torch.Tensor = self.maxpool(F.relu(self.bn1(self.conv1(normalise(images))), inplace=True))
        for layer in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = layer(x)
        return x.permute(0, 2, 3, 1)  # (N, H/32, W/32, 8 * width)


class ResNet10(ResNet):
    """The original's ResNet of four Blocks, with its group norm and padding."""

    def __init__(self, width: int = 64, num_groups: int = 4) -> None:
        super().__init__(width, 1, partial(_group_norm, num_groups), SameMaxPool2d(size=3, step=2), SameConv2d)


class ImageNetResNet18(ResNet):
    """torchvision's ResNet-18 with batch norm as trained. It must be frozen."""

    def __init__(self) -> None:
        super().__init__(64, 2, nn.BatchNorm2d, nn.MaxPool2d(kernel_size=3, stride=2, padding=1), _centred_conv)

    def train(self, mode: bool = True) -> ImageNetResNet18:
        super().train(False)
        return self


def _group_norm(num_groups: int, channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(num_groups, channels, eps=1e-5)


def _centred_conv(in_channels: int, out_channels: int, kernel_size: int, stride: int) -> nn.Conv2d:
    """A square convolution without bias and with equal padding on all sides."""
    return Convolution(in_channels, out_channels, kernel_size, stride, padding=kernel_size // 2)
