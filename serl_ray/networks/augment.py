"""Random crops, the only augmentation of the original (REFERENCE section 5)."""

from __future__ import annotations

import torch

from serl_ray.networks.inputs import Tensors

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


def crop_images(observations: Tensors, offsets: torch.Tensor) -> Tensors:
    """Observations with images cropped at offsets (B, T, 2), the same for all cameras; stored maps stay."""
    cameras = {key: images for key, images in observations.items() if images.dtype == torch.uint8}
    return observations | {key: crop(images, offsets) for key, images in cameras.items()}


def _source_indices(size: int, offsets: torch.Tensor) -> torch.Tensor:
    return (torch.arange(size, device=offsets.device) + offsets[:, None] - CROP_PADDING).clamp(0, size - 1)
