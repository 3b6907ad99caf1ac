"""`serl train-classifier`: a reward classifier from success and failure images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from serl_ray.classifier.config import ClassifierOptions
from serl_ray.cli.parser import parse_over_file

if TYPE_CHECKING:
    from serl_ray.classifier.train import TrainedClassifier


def main(argv: Sequence[str]) -> None:
    """Trains, and prints the held-out metrics and what the threshold promises."""
    options = parse_over_file("serl train-classifier", ClassifierOptions, argv)

    from serl_ray.classifier.train import check_room, train_classifier
    from serl_ray.cluster.start import start_ray

    check_room(options.save_dir)
    start_ray(options.num_workers)
    print("\n".join(summary(options, train_classifier(options))))


def summary(options: ClassifierOptions, outcome: TrainedClassifier) -> list[str]:
    """Lines on the held-out metrics, the threshold's promise, and where the classifier is."""
    from serl_ray.classifier.report import MOST_WRONG_FILE, REPORT_FILE
    from serl_ray.classifier.scores import MIN_SUCCESSES

    metrics, threshold, folder = outcome.metrics, outcome.threshold, options.save_dir
    lines = [
        f"Held out: AUC {metrics['auc']:.4f}, precision {metrics['precision']:.3f}, recall {metrics['recall']:.3f} of "
        f"{metrics['held_out_successes']:.0f} success images."
    ]
    if metrics["held_out_successes"] < MIN_SUCCESSES:
        lines.append("These success images are too few to know how many the classifier finds: record some hundred.")
    lines.append(
        f"Threshold {threshold.value:.3f}: {threshold.false_positives} of {threshold.failures} failure images pass for "
        f"a success, a rate of at most {threshold.upper_bound:.4f} with 95 % confidence."
    )
    if not threshold.is_promised:
        lines.append(
            f"This is more than --max_false_positive_rate {options.max_false_positive_rate}: {threshold.failures} "
            "held-out failure images are too few to promise it, or too like successes. Look at "
            f"{folder / MOST_WRONG_FILE}; record more."
        )
    return [*lines, f"Classifier {folder}, report {folder / REPORT_FILE}"]
