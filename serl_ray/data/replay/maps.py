"""Stored maps: what a frozen trunk makes of a frame, computed once, where the frame is first seen."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any
from zlib import crc32

import numpy as np
import torch
from torch import nn

from serl_ray.networks.augment import CROP_PADDING, crop, draw_offsets
from serl_ray.networks.pretrained import build_trunk
from serl_ray.networks.resnet import resize

CHUNK = 32
"""Frames the trunk sees at once; more would only need more memory."""


class FrameEncoder:
    """Cameras as maps: frames (n, H, W, 3) uint8 become (n, N, h, w, C) float16, one map for each of N crops.

    The first crop is the whole frame, which the policy acts on; the others are random, drawn for each frame anew and the same in
    all cameras, as the crops of the original are (REFERENCE section 5).

    Args:
        image_keys: the cameras.
        trunk: as of `build_trunk`.
        crops: N, at least 1.
        image_size: (H, W) at which the trunk sees a frame.
        seed: of the crops.
    """

    def __init__(
        self, image_keys: Sequence[str], trunk: str, crops: int, image_size: tuple[int, int] = (128, 128), seed: int = 0
    ) -> None:
        self.image_keys, self._trunk, self._crops, self._image_size = tuple(image_keys), trunk, crops, image_size
        self._generator = torch.Generator().manual_seed(seed)

    @property
    def map_shape(self) -> tuple[int, int, int, int]:
        """(N, h, w, C) of one stored frame."""
        height, width = (-(-size // 32) for size in self._image_size)
        return (self._crops, height, width, frozen_trunk(self._trunk).channels)

    @torch.inference_mode()
    def __call__(self, observations: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The observations (n, ...) with maps in place of the frames."""
        frames = torch.from_numpy(np.stack([observations[key] for key in self.image_keys]))  # (cameras, n, H, W, 3)
        frames = frames.unsqueeze(2).expand(-1, -1, self._crops, -1, -1, -1)
        crops = crop(frames, self._draw(frames.shape[1]).expand(*frames.shape[:3], 2))  # (cameras, n, N, H, W, 3)
        maps = torch.cat([self._encode(chunk) for chunk in crops.flatten(0, 2).split(CHUNK)])
        by_camera = maps.unflatten(0, crops.shape[:3]).numpy()
        return {**observations, **dict(zip(self.image_keys, by_camera, strict=True))}

    def _draw(self, num_frames: int) -> torch.Tensor:
        """Crop offsets (n, N, 2)."""
        offsets = draw_offsets((num_frames, self._crops), self._generator)
        offsets[:, 0] = CROP_PADDING
        return offsets

    def _encode(self, frames: torch.Tensor) -> torch.Tensor:
        if frames.shape[1:3] != self._image_size:
            frames = resize(frames, self._image_size)
        return frozen_trunk(self._trunk)(frames).half()


def select_maps(
    observations: dict[str, np.ndarray], select: Callable[..., dict[str, np.ndarray]], encoding: dict[str, Any]
) -> dict[str, np.ndarray]:
    """What the agent sees of recorded observations (n, ...), encoded where they are frames: a `select` for `read_demos`.

    Their crops are drawn from the frames: other ones in every demonstration, the same whenever and wherever one is read.
    """
    selected = select(observations)
    frames = tuple(key for key in encoding["image_keys"] if selected[key].dtype == np.uint8)
    if not frames:
        return selected
    seed = crc32(np.ascontiguousarray(selected[frames[0]]))
    return FrameEncoder(**{**encoding, "image_keys": frames}, seed=seed)(selected)


@cache
def frozen_trunk(source: str) -> nn.Module:
    """The trunk of this process: the envs of a worker and the tasks that read demonstrations share it."""
    return build_trunk(source).eval().requires_grad_(False).to(memory_format=torch.channels_last)
