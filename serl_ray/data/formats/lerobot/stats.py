"""Statistics of the columns of a LeRobot data set, in the form of its metadata."""

from __future__ import annotations

from typing import Any

import numpy as np

Stats = dict[str, dict[str, np.ndarray]]
MAX_FRAMES = 100
"""Number of measured images of an episode, evenly spaced."""


def measure(columns: dict[str, np.ndarray], images: set[str]) -> Stats:
    """Minimum, maximum, mean, standard deviation and count of an episode's columns (n, ...).

    Statistics of images are per channel, (C, 1, 1), in [0, 1]; those of other columns have the shape of a row.
    """
    return {name: _image_stats(rows) if name in images else _row_stats(rows) for name, rows in columns.items()}


def merge(total: Stats | None, episode: Stats) -> Stats:
    """The statistics of all episodes so far and one more."""
    if total is None:
        return episode
    return {name: _merge(total[name], stats) for name, stats in episode.items()}


def to_json(stats: Stats) -> dict[str, Any]:
    """Statistics as lists of numbers."""
    return {name: {measure: value.tolist() for measure, value in values.items()} for name, values in stats.items()}


def _image_stats(images: np.ndarray) -> dict[str, np.ndarray]:
    """Statistics of images (n, H, W, C) uint8 from their histograms: exact, with one image in memory at a time."""
    chosen = np.linspace(0, len(images) - 1, min(len(images), MAX_FRAMES)).round().astype(int)
    counts = np.zeros((images.shape[-1], 256), np.int64)
    for t in chosen:
        counts += _histogram(images[t])
    shades, occurs = np.arange(256) / 255.0, counts > 0
    shares = counts / counts.sum(axis=1, keepdims=True)
    mean = shares @ shades
    values = {
        "min": shades[occurs.argmax(axis=1)],
        "max": shades[255 - occurs[:, ::-1].argmax(axis=1)],
        "mean": mean,
        "std": np.sqrt((shares * (shades - mean[:, None]) ** 2).sum(axis=1)),
    }
    return {name: value[:, None, None] for name, value in values.items()} | {"count": np.array([len(chosen)])}


def _histogram(image: np.ndarray) -> np.ndarray:
    """Counts (C, 256) of the shades in each channel of an image (H, W, C) uint8."""
    return np.stack([np.bincount(image[..., channel].ravel(), minlength=256) for channel in range(image.shape[-1])])


def _row_stats(rows: np.ndarray) -> dict[str, np.ndarray]:
    """Statistics of rows (n, ...) of numbers."""
    numbers = (rows[:, None] if rows.ndim == 1 else rows).astype(np.float64)
    return {
        "min": numbers.min(axis=0),
        "max": numbers.max(axis=0),
        "mean": numbers.mean(axis=0),
        "std": numbers.std(axis=0),
        "count": np.array([len(rows)]),
    }


def _merge(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Statistics of the union of two samples."""
    share = other["count"] / (one["count"] + other["count"])
    share = share.reshape((1,) * one["mean"].ndim)
    mean = (1 - share) * one["mean"] + share * other["mean"]
    variance = (1 - share) * (one["std"] ** 2 + (one["mean"] - mean) ** 2) + share * (
        other["std"] ** 2 + (other["mean"] - mean) ** 2
    )
    return {
        "min": np.minimum(one["min"], other["min"]),
        "max": np.maximum(one["max"], other["max"]),
        "mean": mean,
        "std": np.sqrt(variance),
        "count": one["count"] + other["count"],
    }
