"""Random crops, the only augmentation of the original (REFERENCE section 5).

Images are cropped at the size of the trunk's input, as in the original, so a crop shifts small and large images alike.
"""

from __future__ import annotations

from collections.abc import Collection

import torch

from serl_ray.networks.inputs import Tensors, is_stored_map
from serl_ray.networks.resnet import resize

CROP_PADDING = 4
"""Pixels of edge padding; an offset of CROP_PADDING in both directions leaves an image unchanged."""


def draw_offsets(shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
    """Uniform crop offsets (*shape, 2) as (y, x), each in {0 .. 2 * CROP_PADDING}."""
    return torch.randint(0, 2 * CROP_PADDING + 1, (*shape, 2), generator=generator, device=generator.device)


def crop(images: torch.Tensor, offsets: torch.Tensor) -> torch.Tensor:
    """Pads images by repeating their edge, and crops them back to size at the offsets.

    Args:
        images: images (..., H, W, C) of any dtype.
        offsets: crop offsets (..., 2) as (y, x) in the padded image, one for each image.

    Returns:
        Images of the same shape and dtype, shifted by whole pixels.
    """
    height, width, channels = images.shape[-3:]
    flat, offsets = images.reshape(-1, height, width, channels), offsets.reshape(-1, 2)
    rows = _source_indices(height, offsets[:, 0])  # (N, H)
    columns = _source_indices(width, offsets[:, 1])  # (N, W)
    each = torch.arange(len(flat), device=images.device)[:, None, None]
    return flat[each, rows[:, :, None], columns[:, None, :]].reshape(images.shape)


def crop_images(
    observations: Tensors, offsets: torch.Tensor, image_keys: Collection[str], size: tuple[int, int]
) -> Tensors:
    """Observations with images at the trunk's size, cropped; stored maps stay.

    Args:
        observations: images (B, T, H, W, 3) uint8 or stored maps by camera, and the state.
        offsets: crop offsets (B, T, 2), the same for all cameras.
        image_keys: cameras among the observations.
        size: height and width in pixels of the trunk's input.
    """
    cropped: Tensors = {}
    for key in image_keys:
        if not is_stored_map(images := observations[key]):
            cropped[key] = crop(resize(images.flatten(0, 1), size).reshape(*offsets.shape[:2], *size, -1), offsets)
    return observations | cropped


def _source_indices(size: int, offsets: torch.Tensor) -> torch.Tensor:
    return (torch.arange(size, device=offsets.device) + offsets[:, None] - CROP_PADDING).clamp(0, size - 1)
