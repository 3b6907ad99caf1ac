"""Images that are none, and images that a resize squeezes."""

import numpy as np
import pytest

from serl_ray.data.observations import image_fix, squeezed_cameras

UINT8, FLOAT = np.dtype(np.uint8), np.dtype(np.float32)


@pytest.mark.parametrize(
    ("shape", "dtype", "fix"),
    [
        ((4, 6, 3), UINT8, ""),
        ((4, 6), UINT8, "np.repeat(image[..., None], 3, axis=-1)"),
        ((4, 6, 1), UINT8, "np.repeat(image, 3, axis=-1)"),
        ((4, 6, 1), np.dtype(np.uint16), "Scale depth to bytes"),
        ((4, 6, 1), FLOAT, "Scale depth to bytes"),
        ((4, 6), FLOAT, "np.clip(depth / farthest, 0, 1)"),
        ((4, 6, 4), UINT8, "image[..., :3]"),
        ((4, 6, 2), UINT8, "Give three colour channels"),
        ((3, 4, 6), UINT8, "np.moveaxis(image, 0, -1)"),
        ((4, 6, 3), FLOAT, "(255 * image).astype(np.uint8)"),
        ((1, 4, 6, 3), UINT8, "Give one image"),
        ((), UINT8, "Make a single number a vector"),
        ((7,), FLOAT, "Give an image"),
    ],
)
def test_every_array_has_a_way_to_an_image(shape, dtype, fix):
    found = image_fix(shape, dtype)
    assert fix in found and bool(fix) == bool(found)


def test_cameras_whose_aspect_ratio_changes_are_named():
    assert squeezed_cameras({"front": (64, 64, 3), "stack": (2, 480, 480, 3)}, (128, 128)) is None
    text = squeezed_cameras({"front": (64, 64, 3), "wrist": (2, 480, 640, 3)}, (128, 128))
    assert "wrist 480x640 (height x width) are resized to 128x128" in text and "front" not in text
    assert squeezed_cameras({"wrist": (480, 640, 3)}, (96, 128)) is None
