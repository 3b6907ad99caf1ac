"""PNG and JPEG images from untrusted files."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image, ImageOps

IMAGE_MAGIC = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")
"""First bytes of a PNG and of a JPEG."""
FORMATS = ("PNG", "JPEG")


def decode(raw: Any) -> np.ndarray:
    """The pixels (H, W) or (H, W, C) of a PNG or JPEG, upright, as grey shades or RGB, with alpha where the file has
    it.

    Only these two decoders are tried; Pillow knows many more.

    Raises:
        ValueError: the bytes are neither, cut off, or too large.
    """
    if not isinstance(raw, bytes) or not raw.startswith(IMAGE_MAGIC):
        raise ValueError(f"not a PNG or JPEG image, but {raw!r:.40}.")
    try:
        image = ImageOps.exif_transpose(Image.open(io.BytesIO(raw), formats=FORMATS))
        return np.asarray(_to_shades(image))
    except Exception as error:  # whatever a decoder raises
        raise ValueError(f"the image is cut off, broken or too large ({error}).") from error


def _to_shades(image: Image.Image) -> Image.Image:
    """An image whose numbers are shades of grey or of red, green and blue."""
    if image.mode == "P":
        return image.convert()
    if image.mode == "1":
        return image.convert("L")
    return image.convert("RGB") if image.mode in ("CMYK", "YCbCr", "LAB", "HSV") else image


def encode(image: np.ndarray) -> bytes:
    """An image (H, W, 3) or (H, W) uint8 as PNG."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, format="PNG")
    return file.getvalue()
