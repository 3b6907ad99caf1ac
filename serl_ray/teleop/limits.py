"""Limits of a person's motion."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from serl_ray.types import ActionLayout

AXES = 3
"""Axes of a translation and of a rotation, which are limited as vectors."""


@dataclass(frozen=True)
class Limits:
    """Limits of the continuous part of a person's actions, whose full scale is 1.

    Attributes:
        norm: greatest Euclidean norm of a translation and of a rotation, each of three numbers; where the numbers of
            an action are not made of threes, of all together.
        slew: greatest change of a number from one step to the next; a takeover and a hold begin at rest. A vector keeps
            the direction of its change, since its numbers limited one by one could lead beyond the norm.
    """

    norm: float = 1.0
    slew: float = 0.5

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not value > 0.0:
                raise ValueError(f"The limit {name} is {value}; it must be above 0.")

    def limited(self, action: np.ndarray, previous: np.ndarray, layout: ActionLayout) -> np.ndarray:
        """The action (A + G,), float32, within the limits, and with grippers that hold.

        Args:
            action: action (A + G,) of a device, of finite numbers.
            previous: executed action (A + G,) of the step before; zeros after rest.
            layout: layout of both.
        """
        continuous = list(layout.continuous_indices)
        rest = action[continuous].astype(np.float64).clip(-1.0, 1.0)
        vectors = rest.reshape(-1, AXES if len(rest) % AXES == 0 else len(rest))
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        vectors = vectors * np.minimum(1.0, self.norm / np.maximum(norms, 1e-9))
        before = previous[continuous].astype(np.float64).reshape(vectors.shape)
        changes = vectors - before
        greatest = np.abs(changes).max(axis=1, keepdims=True)
        slower = before + changes * np.minimum(1.0, self.slew / np.maximum(greatest, 1e-9))
        vectors = np.where(greatest > self.slew, slower, vectors)  # a sum would round the numbers that are within it
        limited = np.zeros(layout.action_dim, np.float32)
        limited[continuous] = vectors.ravel().clip(-1.0, 1.0)
        return limited
