"""Vectors whose numbers differ in scale so much that the network hardly sees some of them."""

from __future__ import annotations

import numpy as np

UNEVEN_SCALES = 1000.0
"""Ratio of the range of a vector's widest number to another one's from which that is hardly seen beside it."""
STILL_NUMBER = 0.01
"""Range below which such a number counts as unused by itself: arms that do not tilt jitter by less."""
UNEVEN_SHARE = 0.3
"""Share of a vector's numbers that are hardly seen, from which they count however small they are. The bundled tasks
have up to 0.25, all of them of hands that do not tilt."""


def uneven_scales(key: str, low: np.ndarray, high: np.ndarray) -> str | None:
    """Warning about a vector whose numbers differ by `UNEVEN_SCALES` in scale, by their ends (D,)."""
    ranges = high - low
    widest = int(ranges.argmax()) if ranges.size else 0
    hidden = np.flatnonzero((ranges > 0) & (ranges * UNEVEN_SCALES <= ranges.max(initial=0.0)))
    if len(hidden) <= UNEVEN_SHARE * len(ranges) and not (ranges[hidden] >= STILL_NUMBER).any():
        return None
    names = ", ".join(f"`{key}[{one}]`" for one in hidden)
    return (
        f"{names} vary by {ranges[hidden].max():.2g} at most, and `{key}[{widest}]` by {ranges[widest]:.3g}, "
        f"{UNEVEN_SCALES:g} times as much or more, so that the network hardly sees them: add --normalise_state, which "
        "takes their scale from the demonstrations, or scale each number to about 1 in the env."
    )
