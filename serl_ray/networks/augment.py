"""Random crops: the one augmentation of the original (REFERENCE section 5)."""

from __future__ import annotations

import torch

CROP_PADDING = 4
"""Pixels of edge padding; an offset of CROP_PADDING in both directions leaves a frame as it was."""


def draw_offsets(shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
    """Uniform crop offsets (*shape, 2) as (y, x), each in {0 .. 2 * CROP_PADDING}."""
    return torch.randint(0, 2 * CROP_PADDING + 1, (*shape, 2), generator=generator, device=generator.device)


def crop(images: torch.Tensor, offsets: torch.Tensor) -> torch.Tensor:
    """Pads frames by repeating their edge, and cuts them back to size at the offsets.

    Args:
        images: (..., H, W, C), any dtype.
        offsets: (..., 2), (y, x) of the cut in the padded frame; one for each frame.

    Returns:
        Frames of the same shape and dtype, shifted by whole pixels.
    """
    height, width, channels = images.shape[-3:]
    frames, offsets = images.reshape(-1, height, width, channels), offsets.reshape(-1, 2)
    rows = _source_indices(height, offsets[:, 0])  # (N, H)
    columns = _source_indices(width, offsets[:, 1])  # (N, W)
    each = torch.arange(len(frames), device=images.device)[:, None, None]
    return frames[each, rows[:, :, None], columns[:, None, :]].reshape(images.shape)


def crop_frames(observations: dict[str, torch.Tensor], offsets: torch.Tensor) -> dict[str, torch.Tensor]:
    """Observations whose frames are cropped, all cameras at the same offsets (B, T, 2); stored maps have been, and stay."""
    frames = {key: images for key, images in observations.items() if images.dtype == torch.uint8}
    return observations | {key: crop(images, offsets) for key, images in frames.items()}


def _source_indices(size: int, offsets: torch.Tensor) -> torch.Tensor:
    return (torch.arange(size, device=offsets.device) + offsets[:, None] - CROP_PADDING).clamp(0, size - 1)
