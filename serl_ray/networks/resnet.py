"""The image trunk: a group-normalised ResNet-10 that maps an image to a grid of features (REFERENCE section 1.1)."""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from torch import nn
from torchvision.models.resnet import BasicBlock, ResNet

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
STRIDE = 32
"""Pixels of an image per cell of its feature map, in height and width."""


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Padding (before, after) for ceil(size / stride) outputs; an odd pixel goes after, unlike in torch."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def pad_same(x: torch.Tensor, kernel: int, stride: int, value: float = 0.0) -> torch.Tensor:
    """Pads maps (N, C, H, W) as flax's "SAME" does."""
    top, bottom = same_padding(x.shape[-2], kernel, stride)
    left, right = same_padding(x.shape[-1], kernel, stride)
    return F.pad(x, (left, right, top, bottom), value=value)


class SameConv2d(nn.Conv2d):
    """A square convolution without bias and with "SAME" padding."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, stride: int) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride, bias=False)

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
    """Images (N, H, W, 3) uint8 as ImageNet-normalised float32 (N, 3, H, W)."""
    mean = torch.tensor(IMAGENET_MEAN, device=images.device) * 255.0
    std = torch.tensor(IMAGENET_STD, device=images.device) * 255.0
    return ((images.float() - mean) / std).permute(0, 3, 1, 2)


def resize(images: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Images (N, *size, C): unchanged, or resized to float32 by bilinear interpolation, antialiased when they shrink.

    The aspect ratio of the images is not kept.

    Args:
        images: images (N, H, W, C) of any dtype.
        size: height and width in pixels of the result.
    """
    if images.shape[1:3] == size:
        return images
    scaled = F.interpolate(images.permute(0, 3, 1, 2).float(), size, mode="bilinear", antialias=True, align_corners=False)
    return scaled.permute(0, 2, 3, 1)


class ResNet10(ResNet):
    """torchvision's ResNet of four BasicBlocks with the original's group norm and padding.

    Images (N, H, W, 3) uint8 -> feature maps (N, H/32, W/32, 8 * width) float32: 4x4x512 for a 128x128 image.
    """

    channels: int

    def __init__(self, width: int = 64, num_groups: int = 4) -> None:
        nn.Module.__init__(self)
        self._norm_layer = partial(_group_norm, num_groups)
        self.inplanes, self.dilation, self.groups, self.base_width = width, 1, 1, 64
        self.conv1 = nn.Conv2d(3, width, kernel_size=7, stride=2, padding=3, bias=False)
        self.bn1 = self._norm_layer(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = SameMaxPool2d(size=3, step=2)
        for stage in range(4):
            layer = self._make_layer(BasicBlock, width * 2**stage, 1, stride=1 if stage == 0 else 2)
            if stage > 0:
                layer[0].conv1 = SameConv2d(layer[0].conv1.in_channels, layer[0].conv1.out_channels, 3, stride=2)
            setattr(self, f"layer{stage + 1}", layer)
        self.channels = 8 * width

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x: torch.Tensor = self.maxpool(self.relu(self.bn1(self.conv1(normalise(images)))))
        for layer in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = layer(x)
        return x.permute(0, 2, 3, 1)  # (N, H/32, W/32, 8 * width)


class ImageNetResNet18(ResNet):
    """torchvision's ResNet-18 up to its last feature map, with batch norm as trained. Shapes are those of `ResNet10`.

    It must be frozen.
    """

    channels = 512

    def __init__(self) -> None:
        super().__init__(BasicBlock, [2, 2, 2, 2])
        del self.avgpool, self.fc

    def train(self, mode: bool = True) -> ImageNetResNet18:
        super().train(False)
        return self

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x: torch.Tensor = self.maxpool(self.relu(self.bn1(self.conv1(normalise(images)))))
        for layer in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = layer(x)
        return x.permute(0, 2, 3, 1)


Trunk = ResNet10 | ImageNetResNet18


def _group_norm(num_groups: int, channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(num_groups, channels, eps=1e-5)
