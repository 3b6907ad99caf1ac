"""Held-out scores: a split by episode, a threshold with a promised false-positive rate, and metrics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold

CLASSIFIER_METRICS = (
    "auc",
    "average_precision",
    "precision",
    "recall",
    "false_positive_rate",
    "false_positive_rate_upper_bound",
)
"""Metrics of `held_out_metrics` that measure the quality of a classifier."""
MIN_SUCCESSES = 15
"""Number of held-out success images below which recall and AUC are hardly known."""
CONFIDENCE = 0.95
"""Confidence of the upper bound of a threshold's false-positive rate."""


def held_out_episodes(labels: np.ndarray, episodes: Sequence[str], share: float, seed: int) -> frozenset[str]:
    """Episodes with about `share` of the images, chosen so that both sides of the split have every class.

    Args:
        labels: class (n,) of each image.
        episodes: episode of each image.
        share: share of the images to hold out, in (0, 1).
        seed: seed of the split.

    Raises:
        ValueError: all images of a class are from one episode.
    """
    names = np.asarray(episodes)
    for label in np.unique(labels):
        own = np.unique(names[labels == label])
        if len(own) < 2:
            raise ValueError(
                f"All images of class {label} are of one episode ({own[0]}): at least two are needed, because one is "
                "held out. Record more, or give each episode its own file."
            )
    folds = StratifiedGroupKFold(min(max(round(1 / share), 2), len(np.unique(names))), shuffle=True, random_state=seed)
    for train, held_out in folds.split(labels, labels, names):
        if np.array_equal(np.unique(labels[train]), np.unique(labels[held_out])):
            return frozenset(names[held_out])
    raise ValueError(
        f"{len(np.unique(names))} episodes cannot be split so that every class is on both sides. Record more."
    )


@dataclass(frozen=True)
class Threshold:
    """A threshold of the probability of success, and its promised false-positive rate.

    Attributes:
        value: probability in [0, 1] from which an image counts as a success.
        false_positives: number of held-out failures at or above the threshold.
        failures: number of held-out failures.
        upper_bound: upper bound of the false-positive rate with `CONFIDENCE` (Clopper and Pearson 1934), for
            independent images.
        is_promised: whether `upper_bound` is at most the requested rate.
    """

    value: float
    false_positives: int
    failures: int
    upper_bound: float
    is_promised: bool


def choose_threshold(probabilities: np.ndarray, is_success: np.ndarray, max_false_positive_rate: float) -> Threshold:
    """The threshold that finds most successes within the false-positive rate; the strictest one if none is within it.

    It is half way between a failure that must be refused and the next success above it. Failures with probability 1
    cannot be refused, and count as false positives.

    Args:
        probabilities: probabilities of success (n,) of held-out images.
        is_success: true classes (n,), bool.
        max_false_positive_rate: largest false-positive rate, in (0, 1).
    """
    failures = np.sort(probabilities[~is_success])[::-1]
    allowed = 0
    while allowed < len(failures) and _upper_bound(allowed + 1, len(failures)) <= max_false_positive_rate:
        allowed += 1
    refused = failures[allowed] if allowed < len(failures) else 0.0
    above = probabilities[is_success & (probabilities > refused)]
    least = np.nextafter(refused, 1.0)  # there is no float half way between two neighbours
    value = float(max((refused + above.min()) / 2, least) if len(above) else least)
    false_positives = int((failures >= value).sum())
    bound = _upper_bound(false_positives, len(failures))
    return Threshold(value, false_positives, len(failures), bound, bound <= max_false_positive_rate)


def held_out_metrics(probabilities: np.ndarray, is_success: np.ndarray, threshold: Threshold) -> dict[str, float]:
    """AUC, average precision, and results of the threshold on the held-out images."""
    called = probabilities >= threshold.value
    true_positives = int((called & is_success).sum())
    return {
        "auc": float(roc_auc_score(is_success, probabilities)),
        "average_precision": float(average_precision_score(is_success, probabilities)),
        "precision": true_positives / max(int(called.sum()), 1),
        "recall": true_positives / int(is_success.sum()),
        "false_positive_rate": threshold.false_positives / threshold.failures,
        "false_positive_rate_upper_bound": threshold.upper_bound,
        "held_out_successes": float(is_success.sum()),
        "held_out_failures": float(threshold.failures),
    }


def _upper_bound(false_positives: int, failures: int) -> float:
    """One-sided upper bound of the rate, from a two-sided interval that leaves out twice as much."""
    interval = binomtest(false_positives, failures).proportion_ci(2 * CONFIDENCE - 1, method="exact")
    return float(interval.high)
