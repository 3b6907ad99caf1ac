import io

import numpy as np
import pytest
from PIL import Image

from serl_ray.files.images import decode, encode

RED = Image.fromarray(np.tile(np.array([[[200, 100, 50]]], np.uint8), (8, 12, 1)))


def packed(image, kind="PNG", **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


@pytest.mark.parametrize(
    ("raw", "shape", "pixel"),
    [
        (packed(RED), (8, 12, 3), [200, 100, 50]),
        (packed(RED.quantize(4)), (8, 12, 3), [200, 100, 50]),
        (packed(RED.convert("RGBA")), (8, 12, 4), [200, 100, 50, 255]),
        (packed(RED.convert("L")), (8, 12), 124),
        (packed(RED.convert("1", dither=Image.Dither.NONE)), (8, 12), 0),
        (packed(Image.new("1", (12, 8), 1)), (8, 12), 255),
        (packed(RED.convert("CMYK"), "JPEG"), (8, 12, 3), [200, 100, 50]),
    ],
)
def test_an_image_is_shades_of_grey_or_of_red_green_and_blue(raw, shape, pixel):
    image = decode(raw)
    assert image.shape == shape and image.dtype == np.uint8
    np.testing.assert_allclose(image[4, 4].astype(int), pixel, atol=2)


def test_an_image_is_turned_upright():
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright, and the first row is on the right
    assert decode(packed(RED, "JPEG", exif=exif)).shape == (12, 8, 3)


def test_shades_of_16_bits_stay_so():
    assert decode(packed(Image.fromarray(np.full((4, 4), 3000, np.uint16)))).dtype == np.uint16


def test_what_is_encoded_is_decoded_to_the_bit():
    pixels = np.random.default_rng(0).integers(0, 256, (6, 5, 3), np.uint8)
    np.testing.assert_array_equal(decode(encode(pixels)), pixels)
