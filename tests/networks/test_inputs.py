"""Observations of all shapes and sizes become what the networks read."""

import numpy as np
import pytest
import torch

from serl_ray.networks.augment import crop, crop_images
from serl_ray.networks.config import EncoderConfig
from serl_ray.networks.encoder import Encoder
from serl_ray.networks.inputs import ObservationSpec, float_tensor, to_tensors
from serl_ray.networks.pretrained import build_trunk
from serl_ray.networks.resnet import resize

CPU = torch.device("cpu")
SIZES = {"front": (32, 32), "wrist": (48, 80)}
CONFIG = EncoderConfig(trunk_width=8, image_size=(32, 32))


def observations(batch_size, frame_stack):
    rng = np.random.default_rng(0)
    return {key: rng.integers(0, 256, (batch_size, frame_stack, *size, 3), np.uint8) for key, size in SIZES.items()}


@pytest.mark.parametrize("frame_stack", [1, 2])
def test_cameras_of_different_sizes_are_encoded_together(frame_stack):
    spec = ObservationSpec(tuple(SIZES), frame_stack)
    tensors, _ = to_tensors(observations(3, frame_stack), spec, CPU)
    trunk = build_trunk("random", 8)
    features = Encoder(CONFIG, spec, trunk).features(tensors)
    for key, images in tensors.items():
        alone = trunk(resize(images.flatten(0, 1), (32, 32)))  # (B * T, 1, 1, C)
        expected = alone.unflatten(0, (3, frame_stack)).permute(0, 2, 3, 1, 4).flatten(3)
        torch.testing.assert_close(features[key], expected, rtol=1e-4, atol=1e-4)


def test_crops_shift_each_image_after_its_resize_by_the_same_pixels_in_all_cameras():
    tensors, _ = to_tensors(
        observations(3, 2) | {"state": np.ones((3, 2, 4))}, ObservationSpec(tuple(SIZES), 2, 4), CPU
    )
    offsets = torch.randint(0, 9, (3, 2, 2), generator=torch.Generator().manual_seed(1))
    cropped = crop_images(tensors, offsets, tuple(SIZES), (32, 32))
    assert torch.equal(cropped["front"], crop(tensors["front"], offsets)) and cropped["front"].dtype == torch.uint8
    small = resize(tensors["wrist"].flatten(0, 1), (32, 32)).unflatten(0, (3, 2))
    assert torch.equal(cropped["wrist"], crop(small, offsets)) and torch.equal(cropped["state"], tensors["state"])


def test_stored_maps_are_not_cropped():
    maps = torch.rand(2, 1, 1, 1, 1, 8).half()
    assert crop_images({"front": maps}, torch.zeros(2, 1, 2, dtype=torch.long), ("front",), (32, 32))["front"] is maps


@pytest.mark.filterwarnings("error")
def test_read_only_arrays_are_copied_and_others_are_not():
    images = np.zeros((4, 4, 3), np.uint8)
    tensors, _ = to_tensors({"front": images}, ObservationSpec(("front",)), CPU)
    assert tensors["front"].data_ptr() == images.ctypes.data
    images.flags.writeable = False
    tensors, _ = to_tensors({"front": images}, ObservationSpec(("front",)), CPU)
    assert tensors["front"].data_ptr() != images.ctypes.data
    assert float_tensor(np.broadcast_to(np.float32(2.0), (3,)), CPU).tolist() == [2.0] * 3
