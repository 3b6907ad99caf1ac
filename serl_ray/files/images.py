"""PNG and JPEG pictures out of files that may be anyone's."""

from __future__ import annotations

from typing import Any

import imageio.v3 as imageio
import numpy as np

MAGIC = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")
"""What a PNG and a JPEG begin with."""


def decode(raw: Any) -> np.ndarray:
    """The pixels of a PNG or JPEG.

    imageio would take text for the path or URL of a picture, and try every library it knows on bytes of another format.

    Raises:
        ValueError: it is neither, cut off, or too large.
    """
    if not isinstance(raw, bytes) or not raw.startswith(MAGIC):
        raise ValueError(f"not a PNG or JPEG picture, but {raw!r:.40}.")
    try:
        return np.asarray(imageio.imread(raw, plugin="pillow"))
    except Exception as error:  # whatever a decoder raises
        raise ValueError(f"the picture is cut off, broken or too large ({error}).") from error
