"""Helpers that write MJCF."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

Vector = Sequence[float]


def numbers(values: Vector) -> str:
    """The values in the form of MJCF, such as `0.1 0 0.2`."""
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
        pos: centre (3,) in the body's frame, metres.
        name: name of the geom; empty for none.
        collides_as: collision class of `scene.build_model`; `visual` collides with nothing.
        mass: mass, kg.
        pitch: rotation about y, degrees.
    """
    named = f'name="{name}" ' if name else ""
    look = f'rgba="{color} 1" mass="{mass}" euler="0 {pitch} 0"'
    return f'<geom {named}type="box" class="{collides_as}" size="{numbers(size)}" pos="{numbers(pos)}" {look}/>'


def look_at(name: str, position: Vector, target: Vector, fovy: float) -> str:
    """An upright camera at `position` that looks at `target`, both in the parent's frame, metres; `fovy` in degrees."""
    forward = np.subtract(target, position) / np.linalg.norm(np.subtract(target, position))
    right = np.cross(forward, (0.0, 0.0, 1.0))
    right /= np.linalg.norm(right)
    axes = numbers([*right, *np.cross(right, forward)])
    return f'<camera name="{name}" pos="{numbers(position)}" xyaxes="{axes}" fovy="{fovy}"/>'
