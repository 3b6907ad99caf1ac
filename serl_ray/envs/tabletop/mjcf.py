"""Small pieces of MJCF."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

Vector = Sequence[float]


def numbers(values: Vector) -> str:
    """The values as MJCF writes them: `0.1 0 0.2`."""
    return " ".join(f"{value:.6g}" for value in values)


def box(
    size: Vector,
    color: str,
    pos: Vector = (0, 0, 0),
    *,
    name: str = "",
    collides_as: str = "visual",
    mass: float = 0.0,
    pitch: float = 0.0,
) -> str:
    """A box geom.

    Args:
        size: half-sizes (3,), metres.
        color: red, green and blue in [0, 1].
        pos: its centre (3,) in the body's frame, metres.
        name: of the geom, if it has to be found again.
        collides_as: a class of `scene.build_model`; `visual` collides with nothing.
        mass: kg.
        pitch: degrees that it is turned about y.
    """
    named = f'name="{name}" ' if name else ""
    look = f'rgba="{color} 1" mass="{mass}" euler="0 {pitch} 0"'
    return f'<geom {named}type="box" class="{collides_as}" size="{numbers(size)}" pos="{numbers(pos)}" {look}/>'


def look_at(name: str, position: Vector, target: Vector, fovy: float) -> str:
    """A camera at `position` that looks at `target` (both in the parent's frame, metres), upright; `fovy` in degrees."""
    forward = np.subtract(target, position) / np.linalg.norm(np.subtract(target, position))
    right = np.cross(forward, (0.0, 0.0, 1.0))
    right /= np.linalg.norm(right)
    axes = numbers([*right, *np.cross(right, forward)])
    return f'<camera name="{name}" pos="{numbers(position)}" xyaxes="{axes}" fovy="{fovy}"/>'
