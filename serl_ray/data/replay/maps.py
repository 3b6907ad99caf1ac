"""Stored maps: a frozen trunk's feature maps of images, computed once when an image is first seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any
from zlib import crc32

import numpy as np
import torch

from serl_ray.networks.augment import CROP_PADDING, crop, draw_offsets
from serl_ray.networks.inputs import as_tensor
from serl_ray.networks.kernels import channels_last_, pack_
from serl_ray.networks.pretrained import build_trunk
from serl_ray.networks.resnet import Trunk, resize

TRUNK_BATCH = 4
"""Number of images in one batch of the trunk: with 8, what a pass frees goes back to the system and comes anew in the
next."""


class FrameEncoder:
    """Encoder of images (n, H, W, 3) uint8 to maps (n, N, h, w, C) float16, one map for each of N crops.

    The first crop is the whole image, on which the policy acts. The others are random, and the same for all cameras of
    a step, as in the original (REFERENCE section 5). Images are resized first, and may be of another size in each
    camera.

    Args:
        image_keys: cameras to encode.
        trunk: source of the trunk; see `build_trunk`.
        crops: number N of crops, at least 1.
        image_size: size (H, W) of the trunk's input.
        seed: seed of the crops.
    """

    def __init__(
        self, image_keys: Sequence[str], trunk: str, crops: int, image_size: tuple[int, int] = (128, 128), seed: int = 0
    ) -> None:
        self.image_keys, self._trunk, self._crops, self._image_size = tuple(image_keys), trunk, crops, image_size
        self._generator = torch.Generator().manual_seed(seed)

    @property
    def map_shape(self) -> tuple[int, int, int, int]:
        """Shape (N, h, w, C) of the maps of one image."""
        return (self._crops, *frozen_trunk(self._trunk).map_shape(self._image_size))

    @torch.inference_mode()
    def __call__(self, observations: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The observations (n, ...) with maps in place of the images."""
        images = self._resized(observations)  # (cameras * n, *image_size, 3)
        cameras, number = len(self.image_keys), len(images) // len(self.image_keys)
        offsets = self._draw(number).expand(cameras, -1, -1, -1).flatten(0, 2)  # (cameras * n * N, 2)
        rows = torch.arange(len(images)).repeat_interleave(self._crops)
        chunks = zip(torch.split(rows, TRUNK_BATCH), torch.split(offsets, TRUNK_BATCH), strict=True)
        maps = torch.cat([self._encode(crop(images[chunk], shifts)) for chunk, shifts in chunks])
        by_camera = maps.reshape(cameras, number, self._crops, *maps.shape[1:]).numpy()
        return {**observations, **dict(zip(self.image_keys, by_camera, strict=True))}

    def _resized(self, observations: Mapping[str, np.ndarray]) -> torch.Tensor:
        """Images of all cameras, one after the other, at the size of the trunk's input."""
        images = [as_tensor(observations[key]) for key in self.image_keys]
        return torch.cat(
            [resize(chunk, self._image_size) for camera in images for chunk in torch.split(camera, TRUNK_BATCH)]
        )

    def _draw(self, num_images: int) -> torch.Tensor:
        """Crop offsets (n, N, 2)."""
        offsets = draw_offsets((num_images, self._crops), self._generator)
        offsets[:, 0] = CROP_PADDING
        return offsets

    def _encode(self, images: torch.Tensor) -> torch.Tensor:
        maps: torch.Tensor = frozen_trunk(self._trunk)(images)
        return maps.half()


def encode_demo(observations: dict[str, np.ndarray], encoding: dict[str, Any]) -> dict[str, np.ndarray]:
    """The agent's observations (n, ...) of a demonstration with images encoded as maps; those that are maps stay.

    The seed of the crops comes from the images, so it differs between demonstrations and is the same in every reading.
    """
    image_keys = tuple(key for key in encoding["image_keys"] if observations[key].dtype == np.uint8)
    if not image_keys:
        return observations
    seed = crc32(np.ascontiguousarray(observations[image_keys[0]]).data)
    return FrameEncoder(**{**encoding, "image_keys": image_keys}, seed=seed)(observations)


@cache
def frozen_trunk(source: str) -> Trunk:
    """The frozen trunk of this process, shared by the envs of a worker and the tasks that read demonstrations."""
    trunk = build_trunk(source)
    channels_last_(trunk.eval().requires_grad_(False))
    pack_(trunk)
    return trunk
