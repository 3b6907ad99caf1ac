"""Plots of a classifier's results on held-out images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.metrics import precision_recall_curve

REPORT_FILE = "report.png"
MOST_WRONG_FILE = "most_wrong.png"
MOST_WRONG = 20
_COLUMNS = 5


def plot_report(
    path: Path, probabilities: np.ndarray, is_success: np.ndarray, threshold: float, history: Sequence[dict[str, float]]
) -> None:
    """Writes a PNG of precision and recall, scores, the confusion at the threshold, and the losses.

    Args:
        path: path of the PNG.
        probabilities: probabilities of success (n,) of the held-out images.
        is_success: true classes (n,), bool.
        threshold: threshold of the probability.
        history: `train_loss` and `held_out_loss` of each epoch.
    """
    figure = Figure(figsize=(11, 8), layout="constrained")
    panels = figure.subplots(2, 2).flatten()
    _precision_recall(panels[0], probabilities, is_success, threshold)
    _histogram(panels[1], probabilities, is_success, threshold)
    _confusion(panels[2], probabilities >= threshold, is_success)
    for name in ("train_loss", "held_out_loss"):
        panels[3].plot([epoch[name] for epoch in history], label=name.replace("_", " "))
    panels[3].set(title="loss", xlabel="epoch", yscale="log")
    panels[3].legend()
    figure.savefig(path, dpi=110)


def most_wrong(probabilities: np.ndarray, is_success: np.ndarray) -> np.ndarray:
    """Indices of at most `MOST_WRONG` held-out images with the largest errors in probability, the worst first."""
    return np.argsort(-np.abs(probabilities - is_success), kind="stable")[:MOST_WRONG]


def plot_most_wrong(
    path: Path, rows: Sequence[dict[str, Any]], probabilities: Sequence[float], image_keys: Sequence[str]
) -> None:
    """Writes a PNG of images, cameras side by side, with their classes, probabilities of success and sources."""
    num_rows = -(-len(rows) // _COLUMNS)
    figure = Figure(figsize=(3 * _COLUMNS * max(len(image_keys) * 0.7, 1), 3.2 * num_rows), layout="constrained")
    panels = figure.subplots(num_rows, _COLUMNS, squeeze=False).flatten()
    for axes in panels:
        axes.axis("off")
    for axes, row, probability in zip(panels, rows, probabilities, strict=False):
        axes.imshow(side_by_side([row[key] for key in image_keys]))
        source = row["_source"]
        axes.set_title(
            f"class {row['_label']}, p(success) {probability:.3f}\n{source[-38:]}", fontsize=7, parse_math=False
        )
    figure.savefig(path, dpi=110)


def side_by_side(images: Sequence[np.ndarray]) -> np.ndarray:
    """One image (H, W, 3) of several (h, w, 3), black below those that are less tall."""
    height = max(len(image) for image in images)
    return np.concatenate([np.pad(image, ((0, height - len(image)), (0, 0), (0, 0))) for image in images], axis=1)


def _precision_recall(axes: Axes, probabilities: np.ndarray, is_success: np.ndarray, threshold: float) -> None:
    precision, recall, _ = precision_recall_curve(is_success, probabilities)
    axes.plot(recall, precision)
    called = probabilities >= threshold
    if called.any():
        axes.plot(
            is_success[called].sum() / is_success.sum(),
            is_success[called].mean(),
            "o",
            label=f"threshold {threshold:.3f}",
        )
        axes.legend()
    axes.set(title="precision and recall", xlabel="recall", ylabel="precision", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    axes.grid(alpha=0.3)


def _histogram(axes: Axes, probabilities: np.ndarray, is_success: np.ndarray, threshold: float) -> None:
    bins = np.linspace(0.0, 1.0, 41)
    for value, label in ((False, "failure"), (True, "success")):
        axes.hist(probabilities[is_success == value], bins.tolist(), alpha=0.6, label=label)
    axes.axvline(threshold, color="black", linewidth=1)
    axes.set(title="held-out images by score", xlabel="p(success)", yscale="log")
    axes.legend()


def _confusion(axes: Axes, called: np.ndarray, is_success: np.ndarray) -> None:
    counts = np.array(
        [[(called[is_success == truth] == verdict).sum() for verdict in (False, True)] for truth in (False, True)]
    )
    axes.imshow(counts / counts.sum(axis=1, keepdims=True), cmap="Blues", vmin=0.0, vmax=1.0)
    for (row, column), count in np.ndenumerate(counts):
        axes.text(column, row, str(count), ha="center", va="center")
    names = ["failure", "success"]
    axes.set(title="confusion at the threshold", xlabel="called", ylabel="is", xticks=(0, 1), yticks=(0, 1))
    axes.set_xticklabels(names)
    axes.set_yticklabels(names)
