"""Images that a run stored for review."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from serl_ray.data.positives import PositivesWriter

CAMERAS = ("front", "wrist")
LEVELS = [0, 1, 2, 3, 4, 5]
"""Levels of grey of the images that `write_positives` writes, in the order of review."""
EPISODES: tuple[dict[int, tuple[float, int]], ...] = (
    {7: (0.9, 5), 9: (0.6, 3)},
    {2: (0.95, 0), 3: (0.97, 1)},
    {1: (0.8, 4), 4: (0.1, 2)},
)
"""Probability and level of the steps of each episode."""


def write_positives(folder: Path, size: int = 8) -> None:
    """Three episodes: one of which nobody said anything, one that was vetoed, and one in which an operator labelled a
    success that the classifier had not seen."""
    writer = PositivesWriter(folder, CAMERAS)
    for number, steps in enumerate(EPISODES, start=1):
        writer.begin()
        writer.number(number)
        for step, (probability, level) in steps.items():
            images = dict.fromkeys(CAMERAS, np.full((size, size, 3), level, np.uint8))
            writer.add(step, images, probability, probability > 0.5)
        if number == 2:
            writer.label(2, 3, "veto")
    writer.label(3, 4, "success")
