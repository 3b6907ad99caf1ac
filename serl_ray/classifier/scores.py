"""What held-out scores are worth: a split by episode, a threshold with a promise, and metrics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold

METRICS = ("auc", "average_precision", "precision", "recall", "false_positive_rate", "false_positive_rate_upper_bound")
"""Those of `held_out_metrics` that say how good a classifier is."""
CONFIDENCE = 0.95
"""Of the promise that a threshold's false-positive rate is kept."""


def held_out_episodes(labels: np.ndarray, episodes: Sequence[str], share: float, seed: int) -> frozenset[str]:
    """Episodes with about `share` of the frames, so chosen that every class is on both sides of the split.

    Args:
        labels: class of each frame (n,).
        episodes: of each frame.

    Raises:
        ValueError: a class has frames of one episode only.
    """
    names = np.asarray(episodes)
    for label in np.unique(labels):
        own = np.unique(names[labels == label])
        if len(own) < 2:
            raise ValueError(
                f"All frames of class {label} are of one episode ({own[0]}): at least two are needed, since one is held out. "
                "Record more, or give each episode a file of its own."
            )
    folds = StratifiedGroupKFold(min(max(round(1 / share), 2), len(np.unique(names))), shuffle=True, random_state=seed)
    for train, held_out in folds.split(labels, labels, names):
        if np.array_equal(np.unique(labels[train]), np.unique(labels[held_out])):
            return frozenset(names[held_out])
    raise ValueError(f"{len(np.unique(names))} episodes cannot be split so that every class is on both sides. Record more.")


@dataclass(frozen=True)
class Threshold:
    """A threshold on the probability of success, and what it promises.

    Attributes:
        value: in [0, 1]; from it on a frame counts as success.
        false_positives: held-out failures at or above it.
        failures: held-out failures in all.
        upper_bound: of the false-positive rate, with `CONFIDENCE` (Clopper and Pearson 1934), as if frames were independent.
        is_promised: whether `upper_bound` is within the rate that was asked for.
    """

    value: float
    false_positives: int
    failures: int
    upper_bound: float
    is_promised: bool


def choose_threshold(probabilities: np.ndarray, is_success: np.ndarray, max_false_positive_rate: float) -> Threshold:
    """The threshold that finds most successes while its false-positive rate keeps the promise; the strictest where none does.

    It lies half way between a failure that it must refuse and the next success above that. Failures scored exactly 1 cannot be
    refused; they count against the promise.

    Args:
        probabilities: of success, for held-out frames (n,).
        is_success: (n,) bool.
        max_false_positive_rate: the promise, in (0, 1).
    """
    failures = np.sort(probabilities[~is_success])[::-1]
    allowed = 0
    while allowed < len(failures) and _upper_bound(allowed + 1, len(failures)) <= max_false_positive_rate:
        allowed += 1
    refused = failures[allowed] if allowed < len(failures) else 0.0
    above = probabilities[is_success & (probabilities > refused)]
    least = np.nextafter(refused, 1.0)  # between two neighbours there is no half way
    value = float(max((refused + above.min()) / 2, least) if len(above) else least)
    false_positives = int((failures >= value).sum())
    bound = _upper_bound(false_positives, len(failures))
    return Threshold(value, false_positives, len(failures), bound, bound <= max_false_positive_rate)


def held_out_metrics(probabilities: np.ndarray, is_success: np.ndarray, threshold: Threshold) -> dict[str, float]:
    """AUC, average precision, and what the threshold makes of the held-out frames."""
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
    """One-sided, so with the confidence of a two-sided interval that leaves out twice as much."""
    interval = binomtest(false_positives, failures).proportion_ci(2 * CONFIDENCE - 1, method="exact")
    return float(interval.high)
